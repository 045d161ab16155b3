"""Remote jobs: work that goes on at another server, which a task asks about from time to time.

One poll is one execution of the task. Between two polls the job is only a row, with the time of its next poll
and the signature to send then; beat sends what is due. A message with a countdown would do as well for a few
jobs, but a worker takes every such message out of the queue at once, whatever its prefetch limit, and holds it
in memory: ten thousand of them with the first worker that starts, and gone for an hour if it dies.
"""

import logging
import random
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from functools import wraps
from typing import Any

from celery import Task, shared_task, signals
from celery.canvas import Signature
from celery.exceptions import Ignore
from django.db import DatabaseError, InterfaceError
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from status import clean, conf, jobs, outbox
from status.call_off import add_postscript, call_off, called_off_by
from status.headers import POLL_HEADER, header
from status.live import LiveJob, current_job
from status.models import Job
from status.outbox import as_json
from status.progress import log
from status.reporter import reporter
from status.sources.timetable import every
from status.spelling import figure
from status.states import State
from status.watch import Ending

NAME = "status.polls"
LONGEST_PAUSE_SECONDS = 300.0
AT_ONCE = 500
RESEND_SECONDS = 60.0
"""A poll that has not begun so long after its message was sent is sent again."""


class PollAgain(Ignore):
    """Raised by a task to end this poll and have the next one: `raise poll_again(self, after=2)`.

    Celery's `Ignore` is its base: the execution counts neither as a success nor as a failure, its links and
    its chord wait, and `autoretry_for=(Exception,)` leaves it alone.
    """

    def __init__(
        self, at: datetime, signature: Any = None, on_cancel: Any = None, waits_for: str = ""
    ) -> None:
        # It is pickled on its way out of a prefork pool: the arguments must be those of the constructor.
        super().__init__(at, signature, on_cancel, waits_for)
        self.at = at
        self.signature = signature
        self.on_cancel = on_cancel
        self.waits_for = waits_for

    def __str__(self) -> str:
        return f"The next poll is at {self.at:%H:%M:%S} UTC"


class DeadlinePassed(Exception):
    """Raised by a task whose remote work was not finished when its deadline came; the job fails as a timeout."""

    def __init__(self, deadline: float) -> None:
        super().__init__(deadline)

    def __str__(self) -> str:
        return str(_("The remote work was not finished at its deadline, after %s s.") % figure(self.args[0]))


def poll_again(
    task: "Task[Any, Any]",
    *,
    after: float,
    deadline: float | None = None,
    error: BaseException | None = None,
    kwargs: dict[str, Any] | None = None,
    on_cancel: Signature | None = None,
    waits_for: str = "",
    longest: float = LONGEST_PAUSE_SECONDS,
) -> Exception:
    """What a task raises to be executed once more, as the same job, to see how remote work goes on.

    No worker is held until then: the job is `waiting`, with its steps, its log and the time of the next poll.
    The next execution goes on with them, so the page never goes back to 0. A poll that is delivered twice is
    executed once. It goes to the queue that this execution came from, to the second (beat sends it).

    In a worker, but outside a job, it is a retry of Celery's. Called directly, as in a test, the task raises
    `PollAgain`; its attribute `at` says when it wants to be called again.

    Args:
        task: the bound task, `self`.
        after: seconds until the next poll.
        deadline: seconds since the first poll, after which the job has failed as a timeout. The last poll is made
            at the deadline. Default: none.
        error: why this poll failed. The pause then doubles with each failure on end, with full jitter; the
            failure is a WARNING in the job's log. The next poll without one is `after` seconds away again.
        kwargs: keyword arguments of the next poll, where they differ from this one's.
        on_cancel: a task that cancels the remote work. It is sent once, when the job is cancelled or passes its
            deadline; how it went is a line in the job's log. Once given, it holds for all later polls.
        waits_for: what a person is to do before the work goes on ("approve the draft"). The job's page says so
            while it waits. The job's owner is told, and its log, when the wait begins: by the first poll that says
            so, or says something else than the one before. Default: it waits for nobody.
        longest: seconds; the longest pause after failures.

    Returns:
        The exception to raise: `PollAgain`; `DeadlinePassed` when it is too late; Celery's `Retry` outside a job.

    Raises:
        TypeError: an argument of the next poll, or of `on_cancel`, cannot be written as JSON.

    Example:
        >>> if not state["finished"]:
        ...     raise poll_again(self, after=2, deadline=3600, on_cancel=stop_render.si(render_id))
    """
    since, failures = _so_far(task.request)
    pause = _pause(after, failures + 1 if error is not None else 0, longest)
    left = float("inf") if deadline is None else since + deadline - time.time()
    if deadline is not None and left <= 0:
        return DeadlinePassed(deadline)
    pause = min(pause, left)
    _tell(error, failures, pause)
    live = current_job()
    explicit, waits_for = live is not None and live.explicit, clean.text(waits_for)
    carried = [since, failures + 1 if error is not None else 0, explicit, waits_for]
    news = waits_for if waits_for != _waited_for(task.request) else ""
    if news:
        log(_("Waits for someone: %s"), news)
    options: dict[str, Any] = {
        "kwargs": {**(task.request.kwargs or {}), **(kwargs or {})},
        "headers": {**(task.request.headers or {}), POLL_HEADER: carried},
    }
    at = timezone.now() + timedelta(seconds=pause)
    if live is None and (task.request.called_directly or task.request.is_eager):
        return PollAgain(at, waits_for=news)
    if live is None:
        return task.retry(countdown=pause, max_retries=sys.maxsize, throw=False, **options)
    signature = task.signature_from_request(task.request, expires=None, **options)
    return PollAgain(at, as_json(signature), as_json(on_cancel) if on_cancel is not None else None, news)


def is_poll(request: Any) -> bool:
    """Whether a message asks for a poll after the first."""
    return _carried(request) is not None


def _so_far(request: Any) -> tuple[float, int]:
    """When the first poll began (seconds since the epoch), and how many polls have failed on end until now."""
    held = _carried(request)
    if held:
        return held[0], held[1]
    live = current_job()
    return (live.started_at.timestamp() if live is not None else time.time()), 0


def _waited_for(request: Any) -> str:
    """What the poll before this one said that somebody is to do; empty for nothing."""
    # A message of before this was carried is shorter.
    return "".join((_carried(request) or [])[3:])


def _carried(request: Any) -> list[Any] | None:
    """What the poll before this one said: when the first was, failures on end, whether its steps have weights,
    what somebody is to do."""
    found: list[Any] | None = header(request, POLL_HEADER)
    return found


def _pause(after: float, failures: int, longest: float) -> float:
    """Seconds until the next poll; after failures anything up to a limit that doubles with each."""
    if not failures:
        return after
    # Full jitter: many jobs whose server was down do not come back all at once.
    return random.uniform(0, min(longest, after * 2 ** min(failures, 32)))  # noqa: S311


def _tell(error: BaseException | None, failures: int, pause: float) -> None:
    if error is not None:
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        fields = {"seconds": figure(round(pause)), "error": what}
        log(
            _("The check failed, the next one is in %(seconds)s s: %(error)s") % fields, level=logging.WARNING
        )
    elif failures:
        text = ngettext(
            "The check works again, after %(count)d failure",
            "The check works again, after %(count)d failures",
            failures,
        )
        log(text % {"count": failures})


def wait(live: LiveJob, poll: PollAgain) -> None:
    """End the poll of `live`: its row waits for the next one, or is cancelled if that was asked for."""
    columns: dict[str, Any] = {"poll_signature": poll.signature}
    if poll.on_cancel is not None:
        columns["on_cancel"] = poll.on_cancel
    if poll.waits_for and live.cancel_requested_at is None:
        columns["waits_for"] = poll.waits_for
    if live.cancel_requested_at is not None:
        reporter().end(live, Ending(state=State.CANCELLED, columns=columns))
        call_off(live.id)
        return
    reporter().end(live, Ending(state=State.WAITING, next_at=poll.at, poll_at=poll.at, columns=columns))
    cancel_if_asked(live)


def cancel_if_asked(live: LiveJob) -> None:
    """Cancel the job of `live`, which waits now, if that was asked in the last moment, before `live` heard of it."""
    with suppress(DatabaseError, InterfaceError):
        for job in Job.objects.filter(pk=live.id, state=State.WAITING, cancel_requested_at__isnull=False):
            jobs.cancel(job)


def go_on(live: LiveJob, held: Job, request: Any) -> dict[str, Any]:
    """Let `live` go on where `held` stands; returns the columns that begin its attempt.

    So does a retry of a poll, or one whose worker was lost: the remote work did not begin again.
    """
    live.polls = held.polls + (held.poll_at is not None)
    idle = timezone.now() - (held.heartbeat_at or timezone.now())
    live.resume(held.event(), idle.total_seconds())
    live.explicit = bool((_carried(request) or [0, 0, False])[2])
    return {
        "polls": live.polls,
        "poll_at": None,
        "next_at": None,
        "started_at": live.started_at,
        "cancel_requested_at": None,
        "error": "",
        "failure": "",
    }


class _Spared(Ignore):
    """A `DeadlinePassed` on its way past Celery's autoretry, which leaves alone what is an `Ignore`."""


def _spare_deadlines(sender: Any, **kwargs: Any) -> None:
    """Let `autoretry_for=(Exception,)` not retry what has passed its deadline."""
    for task in sender.app.tasks.values():
        retried = getattr(task, "_orig_run", None)
        if retried is not None and not getattr(retried, "_status_spares", False):
            task._orig_run = _spared(retried, DeadlinePassed, _Spared)
            task.run = _spared(task.run, _Spared, DeadlinePassed)


def _spared(
    run: Callable[..., Any], raised: type[BaseException], instead: type[BaseException]
) -> Callable[..., Any]:
    @wraps(run)
    def spared(*args: Any, **kwargs: Any) -> Any:
        try:
            return run(*args, **kwargs)
        except raised as error:
            raise instead(*error.args) from None

    spared._status_spares = True  # type: ignore[attr-defined]
    return spared


def connect() -> None:
    """Put the polls on beat's schedule, and listen for how calling off remote work went."""
    every(NAME, conf.current().remote_seconds)
    signals.worker_init.connect(_spare_deadlines, dispatch_uid=NAME, weak=False)
    signals.task_success.connect(_on_called_off, dispatch_uid=NAME, weak=False)
    signals.task_failure.connect(_on_not_called_off, dispatch_uid=NAME, weak=False)


def _on_called_off(sender: Any, **kwargs: Any) -> None:
    job_id = called_off_by(sender.request)
    if job_id is not None:
        add_postscript(job_id, logging.INFO, _("The remote work was cancelled"))


def _on_not_called_off(sender: Any, exception: BaseException, **kwargs: Any) -> None:
    job_id = called_off_by(sender.request)
    if job_id is not None:
        what = f"{type(exception).__name__}: {exception}"
        add_postscript(job_id, logging.WARNING, _("The remote work could not be cancelled: %s") % what)


@shared_task(name=NAME, ignore_result=True)
def send_polls() -> None:
    """Send the polls that are due, and the cancels of remote work which the broker refused before."""
    send_due()
    stuck = Job.objects.filter(state=State.CANCELLED, on_cancel__isnull=False).order_by("finished_at")
    for job in stuck.only("pk")[:AT_ONCE]:
        if not call_off(job.pk):
            break


def send_due() -> int:
    """Send each poll that is due; returns how many the broker took.

    The time of the row is moved on after its message is sent, so a crash or a broker that is down loses
    nothing: it is sent again, and begins once.
    """
    sent = 0
    now = timezone.now()
    while batch := _due(now):
        taken = []
        for job in batch:
            if not outbox.deliver(job, job.attempt + 1):
                break
            taken.append(job.pk)
        # One that has begun meanwhile, or waits for the poll after that, is not touched.
        untouched = Job.objects.filter(pk__in=taken, poll_at__lte=now)
        untouched.update(poll_at=now + timedelta(seconds=RESEND_SECONDS))
        sent += len(taken)
        if len(taken) < AT_ONCE:
            break
    return sent


def _due(now: datetime) -> list[Job]:
    # Only a job that waits has a `poll_at`; a condition on the state would lead SQLite to another index.
    due = Job.objects.filter(poll_at__lte=now).order_by("poll_at")
    return list(due.only(*outbox.COLUMNS)[:AT_ONCE])
