"""Choosing and moving jobs. `advance` is the one place where a job changes its state."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import models, transaction
from django.db.models import Case, F, Q, Value, When
from django.dispatch import Signal
from django.utils import timezone

from status.events import JobEvent
from status.states import LIVE, TERMINAL, State, below

if TYPE_CHECKING:
    from status.models.job import Job  # noqa: F401  # Named in quotes below.

job_ended = Signal()
"""Sent with `job_id`, `attempt` and `state` by `advance`, within the transaction that ends a job."""

job_waits = Signal()
"""Sent with `job_id` and `waits_for` by `advance`, within the transaction that begins a wait for somebody."""

# An attempt begins with these.
FRESH: dict[str, Any] = {
    "failure": "",
    "steps": [],
    "progress": None,
    "rate": None,
    "time_left_seconds": None,
    "line_count": 0,
    "next_at": None,
    "poll_at": None,
    "poll_signature": None,
    "on_cancel": None,
    "sent_at": None,
    "started_at": None,
    "finished_at": None,
    "heartbeat_at": None,
    "cancel_requested_at": None,
    "result": None,
    "error": "",
    "traceback": "",
    "worker": "",
    "stoppable": False,
}

LIVE_FIELDS = (
    "id",
    "attempt",
    "seq",
    "state",
    "failure",
    "steps",
    "progress",
    "rate",
    "time_left_seconds",
    "worker",
    "stoppable",
    "started_at",
    "finished_at",
    "next_at",
    "cancel_requested_at",
    "line_count",
    "file_count",
    "polls",
    "poll_at",
    "tally",
)


class JobQuerySet(models.QuerySet["Job"]):
    """Chooses and moves jobs."""

    def live(self) -> "JobQuerySet":
        """Those that have not ended."""
        return self.filter(state__in=sorted(LIVE))

    def advance(
        self,
        job_id: UUID,
        state: str,
        *,
        attempt: int,
        seq: int | None = None,
        only_from: Iterable[str] | None = None,
        waits_for: str = "",
        **fields: Any,
    ) -> bool:
        """Move a job to `state` and write `fields`, unless the row knows better.

        The one guarded write. The UPDATE's WHERE refuses to leave a terminal state, refuses an older
        attempt, refuses to go back within an attempt, and refuses a sequence number that is not newer. So
        of two who end a job one wins, and whoever comes late changes nothing.

        Args:
            job_id: the job.
            state: the new state; for a progress report the same as before.
            attempt: the attempt that the caller speaks for.
            seq: its sequence number within the attempt; None for a caller who has none (not the worker that
                runs the attempt): the row's number is raised by one.
            only_from: narrows the states which may be left.
            waits_for: what somebody is to do before it goes on, if that shall be told now.
            fields: other columns to write in the same statement.

        Returns:
            Whether the row was changed.

        Example:
            >>> Job.objects.advance(job.id, State.CANCELLED, attempt=1, only_from=[State.QUEUED])
            True
        """
        leaves = set(only_from or LIVE)
        if leaves <= set(below(state)):
            # Beginnings and endings, the most frequent by far: the same in fewer words.
            newer = Q(attempt__lte=attempt)
        else:
            newer = Q(attempt__lt=attempt) | Q(attempt=attempt, state__in=below(state))
            # Only reports follow each other in one state. Who says late that a job waits may have been declared lost.
            if seq is not None and state != State.WAITING:
                newer |= Q(attempt=attempt, state=state, seq__lt=seq)
        changed = self.filter(newer, pk=job_id, state__in=sorted(leaves))
        fields |= {"state": state, "attempt": attempt, "seq": F("seq") + 1 if seq is None else seq}
        if waits_for:
            with transaction.atomic(using=self.db):
                waits = changed.update(**fields)
                if waits:
                    job_waits.send(self.model, job_id=job_id, waits_for=waits_for)
            return bool(waits)
        if state not in TERMINAL:
            return bool(changed.update(**fields))
        # Who is to be told of the end is told by the same transaction, or nothing has ended.
        with transaction.atomic(using=self.db):
            ended = changed.update(**{"finished_at": timezone.now(), "poll_at": None, **fields})
            if ended:
                job_ended.send(self.model, job_id=job_id, attempt=attempt, state=state)
        return bool(ended)

    def reopen(self, *, held: bool) -> int:
        """Queue those of these that failed or were cancelled again: the one way out of a terminal state.

        Only for a person who asks for it. Each goes on with its next attempt.

        Args:
            held: their turn has yet to come.

        Returns:
            How many that were.
        """
        ended = self.filter(state__in=[State.FAILED, State.CANCELLED])
        columns = FRESH | {"held": held, "output": None}
        if held:
            columns["given"] = None
        return ended.update(state=State.QUEUED, attempt=F("attempt") + 1, seq=0, **columns)

    def cancel(self) -> list[UUID]:
        """Cancel those of these that have not begun, and ask those that run; returns whose row that changed."""
        ends = Q(canvas="", state__in=[State.QUEUED, State.WAITING])
        due = self.live().filter(ends | Q(cancel_requested_at=None))
        changed = list(due.values_list("pk", flat=True))

        def choose(name: str, at_the_end: Any, when_asked: Any = None) -> Case:
            field: Any = self.model._meta.get_field(name)
            return Case(When(ends, then=at_the_end), default=when_asked or F(name), output_field=field)

        # In one statement: what begins to run or to wait meanwhile would be missed by two.
        now = timezone.now()
        due.update(
            state=choose("state", Value(State.CANCELLED)),
            seq=choose("seq", F("seq") + 1),
            finished_at=choose("finished_at", now),
            poll_at=choose("poll_at", None),
            cancel_requested_at=choose("cancel_requested_at", F("cancel_requested_at"), now),
        )
        return changed

    def skip(self, reason: str) -> int:
        """Cancel those of these whose turn has not come; returns how many that were."""
        waiting = self.filter(state=State.QUEUED, held=True)
        return waiting.update(
            state=State.CANCELLED, seq=F("seq") + 1, finished_at=timezone.now(), error=reason
        )

    def request_cancel(self, job_id: UUID) -> bool:
        """Note that the running job or live canvas `job_id` shall end; whether this call was the first to ask."""
        asked = self.filter(
            Q(state=State.RUNNING) | ~Q(canvas=""), pk=job_id, cancel_requested_at=None
        ).live()
        return bool(asked.update(cancel_requested_at=timezone.now()))

    def events(self, job_ids: Iterable[UUID]) -> list[JobEvent]:
        """The live fields of these jobs, in one query."""
        return [job.event() for job in self.filter(pk__in=list(job_ids)).only(*LIVE_FIELDS)]
