"""Telling owners that their jobs have ended, those of many jobs in one statement.

Whoever ends a job writes the notification in the same transaction. Only the task's own end, by far the most frequent,
is told a fifth of a second later by its process; what that process took with it when it died, the sweep tells. There
is one notification for each attempt at most, so nothing is told twice, whoever else tells of it.
"""

import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.db import DatabaseError, IntegrityError, InterfaceError, connection, router, transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone

from status import deliveries, threads
from status.endings import FIRST, ended_after
from status.models import Job, Notification, Topic
from status.models.preferences import channels
from status.models.queries import CHOSEN, job_ended
from status.models.statements import insert
from status.notifications import announce, mark_read

logger = logging.getLogger(__name__)

TELL_SECONDS = 0.2
"""After so long the owners of what has ended here are told."""
RETRY_SECONDS = 1.0
PLACE = "status.told"
"""The topic that keeps until when all ends are told."""
SETTLE_SECONDS = 30.0
"""Ends so young may still be told by their own process, or not be committed."""
MOST_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class End:
    """What is told of the end of an attempt."""

    job_id: UUID
    attempt: int
    state: str
    owner_id: Any
    title: str
    chosen: dict[str, list[str]] | None
    """How the owner wants to be told; None for who has chosen nothing."""


def connect() -> None:
    """Listen for the ends of jobs; called once when the app is ready."""
    job_ended.connect(_on_end, dispatch_uid="status.telling")


def end_of(
    job_id: UUID,
    attempt: int,
    state: str,
    owner_id: Any,
    parent_id: UUID | None,
    title: str,
    chosen: dict[str, list[str]] | None,
    **kwargs: Any,
) -> End | None:
    """What is told of an end, from what `job_ended` says.

    None if nobody is told: of a member of a workflow they are with the whole.
    """
    if owner_id is None or parent_id is not None:
        return None
    return End(job_id, attempt, state, owner_id, title, chosen)


def tell(ends: Iterable[End]) -> None:
    """Write the notifications of these ends and what goes out of them; of what was told already, nothing.

    Raises:
        IntegrityError: a job or its owner is gone; see `tell_of_the_present`.

    Example:
        >>> tell([End(job.pk, 1, "failed", alice.pk, "Orders of May", None)])
    """
    by_place = {(end.job_id, end.attempt): end for end in ends}
    ways = {place: channels(end.state, end.chosen) for place, end in by_place.items()}
    rows = [_row(end, ways[place]) for place, end in by_place.items()]
    if not rows:
        return
    with transaction.atomic(savepoint=False):
        insert(rows, router.db_for_write(Notification), ignore_conflicts=True)
        outgoing = {place for place in by_place if ways[place] - {"page"}}
        if outgoing:
            for row in Notification.objects.filter(job__in={job_id for job_id, _attempt in outgoing}):
                if (place := (row.job_id, row.attempt)) in outgoing:
                    deliveries.plan(row, ways[place])
        announce(*{end.owner_id for end in by_place.values()})


def tell_of_the_present(ends: Iterable[End]) -> None:
    """As `tell`, outside of a transaction; jobs that were deleted meanwhile are left out."""
    ends = list(ends)
    try:
        tell(ends)
    except IntegrityError:
        there = set(Job.objects.filter(pk__in={end.job_id for end in ends}).values_list("pk", flat=True))
        tell(end for end in ends if end.job_id in there)


def catch_up(jobs: QuerySet[Job]) -> int:
    """Tell of those of these that have ended untold; returns how many that were.

    Example:
        >>> catch_up(Job.objects.filter(pk=job.pk))
        0
    """
    told = Notification.objects.filter(job=OuterRef("pk"), attempt=OuterRef("attempt"))
    untold = jobs.filter(~Exists(told), owner__isnull=False, parent=None, finished_at__isnull=False)
    columns = "pk", "attempt", "state", "owner_id", "title", CHOSEN
    ends = [End(*row) for row in untold.values_list(*columns)[:MOST_AT_ONCE]]
    tell_of_the_present(ends)
    return len(ends)


def note_seen(user: Any, job: Job) -> None:
    """Mark as read what `user` is told of a job that they look at, also what is just about to be told.

    Example:
        >>> note_seen(request.user, job)
    """
    is_new = job.finished_at is not None and timezone.now() - job.finished_at < timedelta(seconds=60)
    if job.owner_id == user.pk and is_new:
        catch_up(Job.objects.filter(pk=job.pk))
    mark_read(user, Notification.objects.filter(job=job))


def tell_missed() -> int:
    """Tell of the ends that nobody told because their process died; returns how many that were.

    Each end is looked at once, half a minute after it.

    Example:
        >>> tell_missed()
        0
    """
    until = timezone.now() - timedelta(seconds=SETTLE_SECONDS)
    topic, _made = Topic.objects.get_or_create(pk=PLACE, defaults={"updated_at": until})
    # One end more than `finished_at` alone would tell apart is looked at again, which costs nothing.
    found = catch_up(ended_after((topic.updated_at, FIRST), until))
    if found < MOST_AT_ONCE:
        _move(topic.updated_at, until)
    return found


def _move(since: datetime, until: datetime) -> None:
    if until > since:
        Topic.objects.filter(pk=PLACE, updated_at=since).update(updated_at=until)


class Untold:
    """Ends that wait to be told together; many threads add to it, one tells.

    Example:
        >>> untold = Untold()
        >>> untold.add(job_id=job.pk, attempt=1, state="failed", **told)
    """

    def __init__(self) -> None:
        self._ends: list[End] = []
        self._telling, self._changing = threads.Lock(), threads.Lock()
        self.due_at = 0.0
        """When the first of them is to be told, by the monotonic clock."""

    def __bool__(self) -> bool:
        return bool(self._ends)

    def add(self, **fields: Any) -> bool:
        """Add an end, with what `job_ended` says of it; whether it is the first that waits. Not if nobody is told."""
        end = end_of(**fields)
        if end is None:
            return False
        with self._changing:
            is_first = not self._ends
            if is_first:
                self.due_at = time.monotonic() + TELL_SECONDS
            self._ends.append(end)
        return is_first

    def tell(self) -> None:
        """Tell all of them; what the database refuses is kept, and due again in a second."""
        with self._telling:
            with self._changing:
                ends = list(self._ends)
                self._ends.clear()
            try:
                tell_of_the_present(ends)
            except (DatabaseError, InterfaceError) as error:
                logger.warning("%d ends are not told yet, next try in a second: %r", len(ends), error)
                connection.close()
                with self._changing:
                    self.due_at = time.monotonic() + RETRY_SECONDS
                    self._ends = [*ends, *self._ends]


def _row(end: End, ways: set[str]) -> Notification:
    """Who does not want it on the page finds it read in the inbox."""
    row = Notification(
        owner_id=end.owner_id, kind=end.state, job_id=end.job_id, attempt=end.attempt, title=end.title
    )
    if "page" not in ways:
        row.read_at = row.created_at
    return row


def _on_end(sender: Any, **fields: Any) -> None:
    end = end_of(**fields)
    if end is not None:
        tell([end])
