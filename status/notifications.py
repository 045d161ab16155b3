"""Telling people: when their jobs end, and whatever a task or a view has to say.

The row is written in the transaction that ends the job, so no end goes untold and none is told twice. What goes over
the channel layer says only that the user's notifications have changed; the hub reads them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db import router, transaction
from django.db.models import Count
from django.utils import timezone

from status import channel
from status.events import InboxEvent
from status.models import Notification
from status.models.notification import NotificationQuerySet, is_safe_address
from status.models.queries import job_ended
from status.models.statements import insert

LONGEST_TITLE = 255
LONGEST_URL = 500
MOST_FRESH = 500
"""So many new notifications are looked at for toasts at once, of all who are asked for."""


def connect() -> None:
    """Listen for the ends of jobs; called once when the app is ready."""
    job_ended.connect(_on_end, dispatch_uid="status.notifications")


def notify(user: Any, title: str, *, url: str = "") -> Notification:
    """Tell `user` something: a toast on the pages that are open, and an entry in the inbox.

    May be called from a task, from beat, from a view. The row is written now, pages hear of it on commit.

    Args:
        user: who is told, or the primary key.
        title: one line, at most 255 characters; it is shown escaped.
        url: where it leads to: `http`, `https` or a path of this site; empty for nowhere.

    Returns:
        The new notification.

    Raises:
        ValueError: the title is empty or too long, or the address is too long or of another scheme.

    Example:
        >>> notify(order.buyer, "Report ready", url=report.get_absolute_url())
    """
    if not title or len(title) > LONGEST_TITLE:
        raise ValueError(f"A notification's title has 1 to {LONGEST_TITLE} characters: {title!r}")
    if len(url) > LONGEST_URL or not is_safe_address(url):
        raise ValueError(
            f"A notification's url is http, https or a path, with {LONGEST_URL} characters at most: {url!r}"
        )
    owner_id = getattr(user, "pk", user)
    row = Notification.objects.create(owner_id=owner_id, title=title, url=url)
    _publish(owner_id)
    return row


def mark_read(user: Any, rows: NotificationQuerySet) -> int:
    """Mark those of `rows` that are unread and the user's own; every page of the user's shows it.

    Args:
        user: whose they are.
        rows: any of them, `Notification.objects.all()` for all.

    Returns:
        How many were unread.

    Example:
        >>> mark_read(request.user, Notification.objects.filter(job=job))
        1
    """
    count = rows.filter(owner=user, read_at__isnull=True).update(read_at=timezone.now())
    if count:
        _publish(user.pk)
    return count


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbox:
    """What a page shows of a user's notifications wherever it is."""

    count: int
    """How many are unread."""
    fresh: tuple[Notification, ...]
    """The unread ones that are new, oldest first."""


def count_unread(user: Any) -> int:
    """How many notifications `user` has not read."""
    return Notification.objects.of(user).unread().count()


def read_inboxes(users: Iterable[str], fresh_seconds: float) -> dict[str, Inbox]:
    """The inboxes of these users, in two queries.

    Args:
        users: primary keys as text.
        fresh_seconds: what is older is counted only.
    """
    users = list(users)
    owned = Notification.objects.filter(owner__in=users)  # type: ignore[misc]  # Keys may be UUIDs.
    unread = owned.unread().order_by()
    counts = dict(unread.values_list("owner").annotate(number=Count("pk")))
    since = timezone.now() - timedelta(seconds=fresh_seconds)
    fresh: dict[str, list[Notification]] = {user: [] for user in users}
    for row in reversed(unread.filter(created_at__gt=since).order_by("-pk")[:MOST_FRESH]):
        fresh[str(row.owner_id)].append(row)
    numbers = {str(owner): number for owner, number in counts.items()}
    return {user: Inbox(count=numbers.get(user, 0), fresh=tuple(fresh[user])) for user in users}


def _on_end(
    job_id: UUID, attempt: int, state: str, owner_id: Any, parent_id: UUID | None, title: str, **kwargs: Any
) -> None:
    """Write that a job has ended, for its owner; a member of a workflow is told of with the whole."""
    if owner_id is None or parent_id is not None:
        return
    row = Notification(owner_id=owner_id, kind=state, job_id=job_id, attempt=attempt, title=title)
    insert([row], router.db_for_write(Notification), ignore_conflicts=True)
    _publish(owner_id)


def _publish(*owners: Any) -> None:
    events: Iterable[InboxEvent] = [InboxEvent(user=str(owner)) for owner in owners]
    transaction.on_commit(lambda: channel.publish(*events))
