"""A running job in the process that runs it: plain attributes, written by the task, read by the reporter."""

import time
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from datetime import datetime
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from celery.exceptions import Ignore
from django.utils import timezone
from django.utils.translation import gettext as _

from status import clean, conf
from status.events import JobEvent, Line
from status.events import Step as StepEvent
from status.outbox import Membership
from status.states import State

MOST_STEPS = 100
LONGEST_LINE = 2000
NO_JOB = UUID(int=0)


class JobCancelled(Ignore):
    """Raised inside a task by `track()` and `update()` when its job was cancelled.

    Clean up in `finally`, or catch it and raise it again. Celery's `Ignore` is its base, so that
    `autoretry_for=(Exception,)` does not retry what was cancelled.
    """


class LiveJob:
    """A running job in the process that runs it: written by the task, read by the reporter."""

    __slots__ = (
        "attempt",
        "attention",
        "cancel_requested_at",
        "dropped",
        "eager",
        "explicit",
        "fenced",
        "file_count",
        "id",
        "in_body",
        "line_count",
        "lines",
        "loose",
        "member",
        "polls",
        "refused",
        "sent_next",
        "seq",
        "stack",
        "started_at",
        "steps",
        "stoppable",
        "wake",
        "worker",
        "written",
    )

    def __init__(
        self,
        job_id: UUID = NO_JOB,
        *,
        attempt: int = 1,
        worker: str = "",
        eager: bool = False,
        member: Membership | None = None,
        stoppable: bool = False,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self.id = job_id
        self.attempt, self.worker = attempt, worker
        self.polls = self.seq = 0
        self.started_at: datetime = timezone.now()
        self.written: dict[str, Any] = {}
        """What the row is known to hold of the reported columns."""
        self.cancel_requested_at: datetime | None = None
        self.fenced = False
        """Another attempt, or an ending, has overtaken this one."""
        self.refused = False
        """It may not run at all: the job ended before it began."""
        self.eager, self.stoppable, self.member = eager, stoppable, member
        self.in_body = False
        """The task's own code runs now, and not Celery's before or after it."""
        self.sent_next = False
        """It has sent a message under its own id: that of the next attempt."""
        self.steps: list[Step] = []
        self.stack: list[Step] = []
        self.loose: Step | None = None
        self.explicit = False
        self.lines, self.wake = deque[Line](), wake
        self.line_count = self.dropped = self.file_count = 0
        # The one flag that the hot path looks at: somebody wants to be told, or has something to tell.
        self.attention = False

    @property
    def tries(self) -> int:
        """The attempt as people count: a poll goes on with the attempt before it."""
        return self.attempt - self.polls

    def resume(self, event: JobEvent, idle_seconds: float) -> None:
        """Go on where the poll before this one stood, `idle_seconds` after it had ended."""
        self.steps = [Step.resumed(self, step, idle_seconds) for step in event.steps]
        self.line_count, self.file_count = event.line_count, event.file_count
        self.started_at = event.started_at or self.started_at
        self.loose = next((step for step in self.steps if step.state == "running"), None)

    def attend(self) -> None:
        """What `update` and `track` do when `attention` is set: stop the task, or wake the reporter.

        Raises:
            JobCancelled: the job was asked to end, or another attempt has taken over.
        """
        if self.cancel_requested_at is not None:
            raise JobCancelled(_("The job was cancelled."))
        if self.fenced:
            raise JobCancelled(_("The job ended elsewhere, or runs there again."))
        self.nudge()

    def nudge(self) -> None:
        """Wake the reporter; unless the task shall stop, `attention` goes down until the next quiet tick."""
        if self.cancel_requested_at is None and not self.fenced:
            self.attention = False
        self.wake()

    def check(self) -> None:
        """Raise JobCancelled if the job shall end; for code with no progress to report."""
        if self.attention:
            self.attend()

    def begin_step(self, step: "Step") -> None:
        """Put `step` below the innermost one that is open."""
        if self.loose is not None and not self.stack:
            self.loose.end()
        if self.stack:
            self.stack[-1].child = step
        elif step not in self.steps:
            if len(self.steps) >= MOST_STEPS:
                self.steps.pop(0)
            self.steps.append(step)
        self.nudge()

    def planned(self, name: str) -> "Step | None":
        """The step of that name at the level where a new one would begin."""
        if self.stack:
            return None
        return next((step for step in self.steps if step.name == name), None)

    def fraction(self) -> float | None:
        """The whole's part done.

        With weights (from `plan`, or given inline) the weighted mean over all steps. Without, there is no
        telling how much is still to come, so it is the part of the current step.
        """
        steps = list(self.steps)
        if not steps:
            return None
        if self.explicit:
            weights = [clean.number(step.weight) or 0 for step in steps]
            done = sum(weight * (step.fraction() or 0.0) for weight, step in zip(weights, steps, strict=True))
            return done / sum(weights) if any(weights) else None
        running = [step for step in steps if step.state == "running"]
        return (running or steps)[-1].fraction()

    def active(self) -> "Step | None":
        """The innermost step that runs."""
        step = next((step for step in reversed(self.steps) if step.state == "running"), None)
        while step is not None and step.total is None and step.child is not None:
            if step.child.state != "running":
                break
            step = step.child
        return step

    def event(
        self,
        state: str = State.RUNNING,
        *,
        rate: float | None = None,
        time_left_seconds: float | None = None,
        failure: str = "",
        finished_at: datetime | None = None,
        next_at: datetime | None = None,
        poll_at: datetime | None = None,
        lines: tuple[Line, ...] = (),
    ) -> JobEvent:
        """A snapshot under the current sequence number."""
        return JobEvent(
            job=self.id,
            attempt=self.attempt,
            seq=self.seq,
            state=state,
            failure=failure,
            steps=tuple(step.event() for step in list(self.steps)),
            progress=self.fraction(),
            rate=rate,
            time_left_seconds=time_left_seconds,
            worker=self.worker,
            stoppable=self.stoppable,
            started_at=self.started_at,
            finished_at=finished_at,
            next_at=next_at,
            cancel_requested_at=self.cancel_requested_at,
            line_count=self.line_count,
            file_count=self.file_count,
            polls=self.polls,
            poll_at=poll_at,
            lines=lines,
        )

    def add_line(self, level: int, text: str) -> None:
        """Queue a log line for the reporter; when it cannot write, the oldest waiting lines go."""
        self.line_count += 1
        text = clean.text(text)
        if len(text) > LONGEST_LINE:
            text = text[: LONGEST_LINE - 1] + "…"
        now = timezone.now()
        self.lines.append(Line(number=self.line_count, attempt=self.tries, at=now, level=level, text=text))
        if len(self.lines) > conf.current().log_buffer:
            self.lines.popleft()
            self.dropped += 1
        if self.attention:
            self.nudge()


_current: ContextVar[LiveJob | None] = ContextVar("status_job", default=None)
_detached = LiveJob()


def current_job() -> LiveJob | None:
    """The job of the running task; None outside a job."""
    return _current.get()


def set_current(job: LiveJob | None) -> None:
    """Make `job` the ambient one of this thread (or greenlet)."""
    _current.set(job)


class Step:
    """A named part of a job's work; a context manager, or begun by its first `update`."""

    __slots__ = (
        "begun",
        "child",
        "current",
        "job",
        "name",
        "seconds",
        "since",
        "state",
        "total",
        "unit",
        "weight",
    )

    def __init__(self, name: clean.Text, *, weight: float = 1.0, unit: clean.Text = "") -> None:
        self.name = str(name)
        # Here, and not where it is shown: the task's language is that of who started the job.
        self.weight, self.unit = weight, str(unit)
        self.state = "pending"
        self.begun = False
        self.current: float = 0
        self.total: float | None = None
        self.child: Step | None = None
        self.since: float | None = None
        self.seconds: float | None = None
        self.job = _detached

    @classmethod
    def resumed(cls, job: LiveJob, event: StepEvent, idle_seconds: float) -> Self:
        """The step as `event` shows it, in `job`, `idle_seconds` later."""
        step = cls(event.name, weight=event.weight, unit=event.unit)
        step.job, step.state, step.begun = job, event.state, event.state != "pending"
        step.seconds = event.seconds
        if event.state == "running":
            step.since, step.seconds = time.monotonic() - (event.seconds or 0.0) - idle_seconds, None
        counts = step
        if event.detail:
            counts = step.child = cls(event.detail, unit=event.unit)
            counts.job, counts.state, counts.begun = job, step.state, True
        counts.current, counts.total = event.current, event.total
        return step

    def update(
        self, current: float | None = None, total: float | None = None, unit: clean.Text | None = None
    ) -> None:
        """Say how far the step is.

        Costs nanoseconds, does no I/O, and raises nothing but `JobCancelled`.

        Args:
            current: units done so far.
            total: units in all; leave it out while unknown.
            unit: what is counted: "rows", "bytes".

        Raises:
            JobCancelled: someone cancelled the job.

        Example:
            >>> step("Render").update(12, total=240, unit="frames")
        """
        if current is not None:
            self.current = current
        if total is not None:
            self.total = total
        if unit is not None:
            self.unit = str(unit)
        if not self.begun:
            self.begin(loose=True)
        if self.job.attention:
            self.job.attend()

    def advance(self, count: float = 1) -> None:
        """Add `count` units to those done; raises JobCancelled like `update`."""
        self.current += count
        if not self.begun:
            self.begin(loose=True)
        if self.job.attention:
            self.job.attend()

    def begin(self, *, loose: bool = False) -> None:
        """Start the step: from now on it is the one that runs."""
        job = _current.get()
        self.begun = True
        if self.state != "running" or self.since is None:
            self.since = time.monotonic()
        self.state = "running"
        if job is None:
            return
        self.job = job
        job.begin_step(self)
        if loose and not job.stack:
            job.loose = self

    def end(self) -> None:
        """The step is done; a known total is thereby reached."""
        if self.state != "running":
            return
        self.state = "done"
        self.seconds = time.monotonic() - (self.since or 0.0)
        if self.job.loose is self:
            self.job.loose = None

    def fraction(self) -> float | None:
        """Its part done, 0 to 1; from the step inside it when it counts nothing itself."""
        if self.state == "done":
            return 1.0
        total = clean.number(self.total)
        if total:
            return min(max((clean.number(self.current) or 0) / total, 0.0), 1.0)
        if self.state == "pending":
            return 0.0
        return self.child.fraction() if self.child is not None else None

    def event(self) -> StepEvent:
        """A snapshot; numbers are those of the step inside when it counts nothing itself."""
        counts, detail = self, ""
        while counts.total is None and not counts.current and counts.child is not None:
            counts = counts.child
            detail = counts.name
        seconds = self.seconds
        if seconds is None and self.since is not None:
            seconds = time.monotonic() - self.since
        return StepEvent(
            name=clean.text(self.name),
            weight=clean.number(self.weight) or 0,
            state=self.state,
            current=clean.number(counts.current) or 0,
            total=clean.number(counts.total),
            unit=clean.text(counts.unit),
            detail=clean.text(detail),
            seconds=seconds,
        )

    def __enter__(self) -> Self:
        if self.state == "done":
            self.current, self.total, self.child, self.seconds = 0, None, None, None
        self.begin()
        self.job.check()
        if self.job is not _detached:
            self.job.stack.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self in self.job.stack:
            self.job.stack.remove(self)
        # A step that was left by an error is where the job stands; it is not done. A loop over track() that
        # was left is told of that alone, not why: what comes next decides, another step or the job's end.
        if kind is None:
            self.end()
        elif kind is GeneratorExit and not self.job.stack:
            self.job.loose = self
