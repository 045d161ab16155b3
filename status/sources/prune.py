"""Retention: ended jobs go by age and by number, with their log lines and files."""

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from celery import shared_task
from django.db import IntegrityError, connection, transaction
from django.db.models import Exists, OuterRef, ProtectedError, Q, RestrictedError, Sum
from django.utils import timezone

from status import audit, conf, files
from status.audit import Actor
from status.files import Deleted
from status.models import Attachment, AuditEntry, Delivery, Job, LogLine, Notification, SearchText
from status.models.notification import NotificationQuerySet
from status.models.queries import JobQuerySet
from status.sources.counting import prune_buckets
from status.sources.timetable import every
from status.states import LIVE, TERMINAL, State
from status.workers import prune_processes

logger = logging.getLogger(__name__)

NAME = "status.prune"
EVERY_SECONDS = 3600.0
# A queue that is full for longer than an hour shall not keep it from running at all.
EXPIRES_SECONDS = 86_400.0
MOST_SECONDS = 600.0
BATCH = 500
LARGEST_BATCH = 5_000
# A transaction ends early when its jobs have more lines and files than this, as far as the jobs' rows know.
MOST_ROWS = 20_000
MOST_DAYS = 36_500

# In the order of endings; the id decides between jobs that ended together.
Place = tuple[datetime, UUID]
FIRST = UUID(int=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """What went."""

    jobs: int = 0
    lines: int = 0
    files: Deleted = field(default_factory=Deleted)
    notifications: int = 0
    messages: int = 0
    """Notifications that are of no job."""
    held: int = 0
    """Jobs that stay because rows of other apps refer to them and forbid their deletion."""

    def __add__(self, other: "Pruned") -> "Pruned":
        return Pruned(
            jobs=self.jobs + other.jobs,
            lines=self.lines + other.lines,
            files=self.files + other.files,
            notifications=self.notifications + other.notifications,
            messages=self.messages + other.messages,
            held=self.held + other.held,
        )


def connect() -> None:
    """Put pruning on beat's schedule, unless the project has an entry of that name."""
    every(NAME, EVERY_SECONDS, expires=EXPIRES_SECONDS)


@shared_task(name=NAME, ignore_result=True)
def prune_jobs() -> None:
    """Delete what `KEEP_DAYS` and `KEEP_JOBS` do not keep, for ten minutes at most; the next run goes on."""
    deadline = time.monotonic() + MOST_SECONDS
    pruning = prune(days=conf.current().keep_days, keep=conf.current().keep_jobs)
    prune_messages(conf.current().keep_days)
    prune_audit(conf.current().keep_audit_days)
    prune_buckets()
    prune_processes()
    for _pruned in pruning:
        if time.monotonic() > deadline:
            break


def prune(*, days: float | None, keep: int | None, batch: int = BATCH) -> Iterator[Pruned]:
    """Delete ended jobs, the oldest first, and say after each transaction what went.

    Live jobs never go. The files go when their rows are gone for good; a file that cannot be deleted is
    logged. Any number of prunings may run at once, and the iterator may be left at any time.

    Args:
        days: jobs that ended longer ago go; None or 0: none go by age.
        keep: all but the newest so many go; None or 0: none go by number.
        batch: the most jobs in one transaction.

    Raises:
        ValueError: one of the three is out of its range; nothing was deleted.
        RuntimeError: called inside a transaction, which might yet be rolled back.

    Example:
        >>> sum(pruned.jobs for pruned in prune(days=30, keep=None))
        120
    """
    check(days, keep, batch)
    return _prune(_limit(days, keep), batch)


def prune_messages(days: float | None) -> int:
    """Delete notifications that are of no job; those of jobs go with these.

    Args:
        days: what was said longer ago goes; None or 0: nothing.

    Returns:
        How many went.

    Raises:
        ValueError: the number is out of its range; nothing was deleted.

    Example:
        >>> prune_messages(30)
        7
    """
    check(days, None)
    if not days:
        return 0
    with transaction.atomic():
        return _remove_notifications(_old_messages(days))


def _old_messages(days: float | None) -> NotificationQuerySet:
    messages = Notification.objects.filter(job__isnull=True).order_by()
    return messages.filter(created_at__lt=timezone.now() - timedelta(days=days)) if days else messages.none()


def _remove_notifications(rows: NotificationQuerySet) -> int:
    """Delete these, and what went out of them, by query; returns how many there were."""
    deliveries = Delivery.objects.filter(notification__in=rows.values("pk")).order_by()
    deliveries._raw_delete(deliveries.db)
    return rows._raw_delete(rows.db)


def prune_audit(days: float | None) -> int:
    """Delete from the audit trail what people did longer ago than `days`; None or 0: nothing.

    Returns:
        How many entries went.

    Raises:
        ValueError: the number is out of its range; nothing was deleted.

    Example:
        >>> prune_audit(365)
        12
    """
    check(days, None)
    if not days:
        return 0
    old = AuditEntry.objects.filter(at__lt=timezone.now() - timedelta(days=days))
    return old._raw_delete(old.db)


def would_prune(*, days: float | None, keep: int | None) -> Pruned:
    """What `prune` and `prune_messages` would delete now; raises as they do."""
    check(days, keep)
    limit = _limit(days, keep)
    messages = _old_messages(days).count()
    if limit is None:
        return Pruned(messages=messages)
    whole = _expired(limit)
    jobs = Job.objects.filter(Q(pk__in=whole.values("pk")) | Q(root__in=whole.values("pk")))
    kept = Attachment.objects.filter(job__in=jobs)
    return Pruned(
        jobs=jobs.count(),
        lines=LogLine.objects.filter(job__in=jobs).count(),
        files=Deleted(files=kept.count(), bytes=kept.aggregate(total=Sum("size"))["total"] or 0),
        notifications=Notification.objects.filter(job__in=jobs).count(),
        messages=messages,
    )


def check(days: float | None, keep: int | None, batch: int = BATCH) -> None:
    """Whether `prune` takes these; people write them, and a negative age would delete everything.

    Raises:
        ValueError: says which it does not take, and what it would.
    """
    if days is not None and not (_is_number(days, (int, float)) and 0 <= days <= MOST_DAYS):
        raise ValueError(
            f"The days to keep jobs are a number from 0 (for ever) to {MOST_DAYS}, not {days!r}."
        )
    if keep is not None and not (_is_number(keep, (int,)) and keep >= 0):
        raise ValueError(f"The jobs to keep are a whole number from 0 (no limit), not {keep!r}.")
    if not (_is_number(batch, (int,)) and 1 <= batch <= LARGEST_BATCH):
        raise ValueError(f"A batch is a whole number from 1 to {LARGEST_BATCH}, not {batch!r}.")


def _is_number(value: Any, types: tuple[type, ...]) -> bool:
    return isinstance(value, types) and not isinstance(value, bool)


def _ended() -> JobQuerySet:
    """The jobs that may go, whole workflows. What else keeps one is a condition here: rows are locked through it."""
    ended = Job.objects.filter(state__in=sorted(TERMINAL), finished_at__isnull=False, parent=None)
    # The cancel of its remote work is still to be sent; a job that did not end so keeps an `on_cancel` for good.
    owed = Q(state=State.CANCELLED, on_cancel__isnull=False)
    members = Job.objects.filter(Q(state__in=sorted(LIVE)) | owed, root=OuterRef("pk"))
    return ended.exclude(owed).filter(~Exists(members))


def _limit(days: float | None, keep: int | None) -> Place | None:
    """What ended before this place goes; None: all stay."""
    places: list[Place] = []
    if days:
        places.append((timezone.now() - timedelta(days=days), FIRST))
    if keep:
        newest = _ended().order_by("-finished_at", "-pk")
        # A place has a time, see `_ended`.
        places += newest.values_list("finished_at", "pk")[keep - 1 : keep]  # type: ignore[arg-type]
    return max(places, default=None)


def _expired(limit: Place, after: Place | None = None) -> JobQuerySet:
    """The ended jobs before `limit` and past `after`: one range of the index `status_job_ended`."""
    at, pk = limit
    expired = _ended().filter(Q(finished_at__lt=at) | Q(finished_at=at, pk__lt=pk), finished_at__lte=at)
    if after is not None:
        at, pk = after
        expired = expired.filter(Q(finished_at__gt=at) | Q(finished_at=at, pk__gt=pk), finished_at__gte=at)
    return expired


def remove(pks: list[UUID], *, actor: Actor | None = None) -> Pruned:
    """Delete those of these jobs that have ended, with all that belongs to them, whatever their age.

    Args:
        pks: jobs that are no members of others.
        actor: who does it, for the audit trail. None: a program does.

    Raises:
        RuntimeError: called inside a transaction, which might yet be rolled back.

    Example:
        >>> remove([job.pk]).jobs
        1
    """
    return _remove(pks, None, actor) if pks else Pruned()


def _prune(limit: Place | None, batch: int) -> Iterator[Pruned]:
    after: Place | None = None
    while limit is not None:
        ordered = _expired(limit, after).order_by("finished_at", "pk")
        rows = ordered.values_list("finished_at", "pk", "line_count", "file_count", "tally")[:batch]
        chosen = _that_fit(list(rows))
        if not chosen:
            return
        after = chosen[-1]
        begun = time.monotonic()
        pruned = _remove([pk for _at, pk in chosen], limit)
        took = time.monotonic() - begun
        logger.info("Pruned: %d jobs, %d log lines, %d files", pruned.jobs, pruned.lines, pruned.files.files)
        yield pruned
        if connection.vendor == "sqlite":
            # It has one write lock and no queue for it: others get as long as this took.
            time.sleep(min(took, 1.0))


def _that_fit(rows: list[tuple[Any, ...]]) -> list[Place]:
    """The first of these jobs, as many as fit in a short transaction; at least one, if there is any."""
    places: list[Place] = []
    total = 0
    for at, pk, lines, kept, tally in rows:
        total += lines + kept + sum(tally.values())
        if places and total > MOST_ROWS:
            break
        places.append((at, pk))
    return places


def _remove(pks: list[UUID], limit: Place | None, actor: Actor | None = None) -> Pruned:
    """Delete these jobs in one transaction, then their files; without those that other apps hold."""
    try:
        pruned, attachments = _remove_rows(pks, limit, actor)
    except (ProtectedError, RestrictedError, IntegrityError) as error:
        half = len(pks) // 2
        if half:
            return _remove(pks[:half], limit, actor) + _remove(pks[half:], limit, actor)
        logger.warning("Job %s: not pruned, it is still needed: %s", pks[0], error)
        return Pruned(held=1)
    return pruned + Pruned(files=files.delete(attachments))


# Durable: the files are deleted right after it, so it must be a transaction and not a part of one.
@transaction.atomic(durable=True)
def _remove_rows(
    pks: list[UUID], limit: Place | None, actor: Actor | None
) -> tuple[Pruned, list[Attachment]]:
    """Delete the rows of those of these jobs that still may go; returns what was attached to them."""
    # Another pruning may have them by now, or somebody retries one.
    free = (_ended() if limit is None else _expired(limit)).filter(pk__in=pks).order_by("pk")
    free = free.select_for_update(skip_locked=connection.features.has_select_for_update_skip_locked)
    mine = list(free.values_list("pk", flat=True))
    if not mine:
        return Pruned(), []
    for job in Job.objects.filter(pk__in=mine).only("title") if actor else ():
        audit.record(actor, audit.Verb.DELETE, job)
    # With all that is in them.
    mine += Job.objects.filter(root__in=mine).values_list("pk", flat=True)
    lines = LogLine.objects.filter(job__in=mine)
    attached = Attachment.objects.filter(job__in=mine)
    attachments = list(attached.only("job_id", "file", "size"))
    # By query: whoever listens to Django's delete signals would have every line loaded.
    line_count = lines._raw_delete(lines.db)
    attached._raw_delete(attached.db)
    texts = SearchText.objects.filter(job__in=mine)
    texts._raw_delete(texts.db)
    told = _remove_notifications(Notification.objects.filter(job__in=mine).order_by())
    # By Django, so that rows of other apps which refer to jobs go as these apps say.
    Job.objects.filter(pk__in=mine).only("pk").delete()
    return Pruned(jobs=len(mine), lines=line_count, notifications=told), attachments
