"""Choosing and moving jobs. `advance` is the one place where a job changes its state."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from status.events import JobEvent
from status.states import LIVE, TERMINAL, State, below

if TYPE_CHECKING:
    from status.models.job import Job  # noqa: F401  # Named in quotes below.

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
    "started_at",
    "finished_at",
    "next_at",
    "cancel_requested_at",
    "line_count",
    "file_count",
    "polls",
    "poll_at",
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
            fields: other columns to write in the same statement.

        Returns:
            Whether the row was changed.

        Example:
            >>> Job.objects.advance(job.id, State.CANCELLED, attempt=1, only_from=[State.QUEUED])
            True
        """
        newer = Q(attempt__lt=attempt) | Q(attempt=attempt, state__in=below(state))
        # Only reports follow each other in one state. Who says late that a job waits may have been declared lost.
        if seq is not None and state != State.WAITING:
            newer |= Q(attempt=attempt, state=state, seq__lt=seq)
        changed = self.filter(newer, pk=job_id, state__in=sorted(only_from or LIVE))
        if state in TERMINAL:
            fields = {"finished_at": timezone.now(), "poll_at": None, **fields}
        return bool(
            changed.update(state=state, attempt=attempt, seq=F("seq") + 1 if seq is None else seq, **fields)
        )

    def reopen(self, job_id: UUID, *, attempt: int) -> bool:
        """Queue an ended job again as the attempt after `attempt`: the one way out of a terminal state.

        Only for a person who asks for it. Returns whether the job had failed or been cancelled in that attempt.
        """
        ended = self.filter(pk=job_id, attempt=attempt, state__in=[State.FAILED, State.CANCELLED])
        return bool(ended.update(state=State.QUEUED, attempt=attempt + 1, seq=0, **FRESH))

    def request_cancel(self, job_id: UUID) -> bool:
        """Note that the running job `job_id` shall end; whether this call was the first to ask."""
        asked = self.filter(pk=job_id, state=State.RUNNING, cancel_requested_at=None)
        return bool(asked.update(cancel_requested_at=timezone.now()))

    def events(self, job_ids: Iterable[UUID]) -> list[JobEvent]:
        """The live fields of these jobs, in one query."""
        return [job.event() for job in self.filter(pk__in=list(job_ids)).only(*LIVE_FIELDS)]
