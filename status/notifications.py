"""Telling people what a task or a view has to say, and that a job waits for them; of ends see telling.py.

What goes out by e-mail or webhook is planned in the transaction that writes the row. What goes over the channel
layer says only that the user's notifications have changed; the hub reads them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.db import router, transaction
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from status import channel, deliveries
from status.events import InboxEvent
from status.models import Delivery, Notification, Preferences
from status.models.notification import NotificationQuerySet, is_safe_address
from status.models.preferences import channels
from status.models.queries import job_waits
from status.models.statements import Statement, count, count_together, slot

LONGEST_TITLE = 255
LONGEST_URL = 500
MOST_UNREAD = 1_000
"""So many are counted."""
USERS_AT_ONCE = 100
TEST_SECONDS = 5.0
"""Tests come no closer together."""
MOST_FRESH = 500
"""So many new notifications are looked at for toasts at once, of all who are asked for."""


def connect() -> None:
    """Listen for jobs that wait for people; called once when the app is ready."""
    job_waits.connect(_on_wait, dispatch_uid="status.notifications")


def notify(user: Any, title: str, *, url: str = "") -> Notification:
    """Tell `user` something: by toast and bell, e-mail and webhook as they have chosen, and in the inbox.

    May be called from a task, from beat, from a view. The row is written now, the rest follows on commit.

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
    row = Notification(owner_id=getattr(user, "pk", user), title=title, url=url)
    return _tell(row, _chosen(row.owner_id))


def send_test(user: Any, way: str) -> bool:
    """Send `user` a test by one channel, whatever they have chosen; the inbox has it as read.

    Args:
        user: who is told.
        way: one of `Delivery.Channel`.

    Returns:
        Whether it goes out; not if something went out that way within the last seconds.
    """
    last = Delivery.objects.last_of(user, way)
    if last is not None and last.created_at > timezone.now() - timedelta(seconds=TEST_SECONDS):
        return False
    row = Notification(owner=user, title=_("This is a test"), url=reverse("status:preferences"))
    row.read_at = row.created_at
    with transaction.atomic():
        row.save()
        deliveries.plan(row, [way])
    return True


def tell_of_failure(delivery: Delivery) -> None:
    """Tell on the page that a delivery was given up, unless the one before it in this channel was as well."""
    ended = [Delivery.State.SENT, Delivery.State.FAILED]
    same = Delivery.objects.filter(user=delivery.user_id, channel=delivery.channel, state__in=ended)
    before = same.exclude(pk=delivery.pk).order_by("-created_at").values_list("state", flat=True).first()
    if before == Delivery.State.FAILED:
        return
    title = _("Could not be delivered (%s). See your preferences.") % delivery.get_channel_display()
    _tell(Notification(owner_id=delivery.user_id, title=title, url=reverse("status:preferences")), {"page"})


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
        announce(user.pk)
    return count


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbox:
    """What a page shows of a user's notifications wherever it is."""

    count: int
    """How many are unread."""
    fresh: tuple[Notification, ...]
    """The unread ones that are new, oldest first."""


def count_unread(user: Any) -> int:
    """How many notifications `user` has not read; at most `MOST_UNREAD`."""
    return _count_unread([user.pk])[0]


@lru_cache
def _unread(alias: str, most: int) -> Statement:
    """Every page asks it."""
    mine = Notification.objects.using(alias).filter(owner=slot(Notification, "owner"))
    return count(mine.unread().order_by(), most)


def _count_unread(users: Sequence[Any]) -> list[int]:
    """Of each of these primary keys, a hundred in a query."""
    statement = _unread(router.db_for_read(Notification), MOST_UNREAD)
    numbers: list[int] = []
    for first in range(0, len(users), USERS_AT_ONCE):
        some = users[first : first + USERS_AT_ONCE]
        numbers += count_together([(statement, {"owner": user}) for user in some])
    return numbers


def read_inboxes(users: Iterable[str], fresh_seconds: float) -> dict[str, Inbox]:
    """The inboxes of these users, in two queries, and one more for each hundred of them after the first.

    Args:
        users: primary keys as text.
        fresh_seconds: what is older is counted only.
    """
    users = list(users)
    owned = Notification.objects.filter(owner__in=users)  # type: ignore[misc]  # Keys may be UUIDs.
    since = timezone.now() - timedelta(seconds=fresh_seconds)
    fresh: dict[str, list[Notification]] = {user: [] for user in users}
    for row in reversed(owned.unread().filter(created_at__gt=since).order_by("-pk")[:MOST_FRESH]):
        fresh[str(row.owner_id)].append(row)
    numbers = zip(users, _count_unread(users), strict=True)
    return {user: Inbox(count=number, fresh=tuple(fresh[user])) for user, number in numbers}


def _on_wait(
    job_id: UUID,
    waits_for: str,
    owner_id: Any,
    title: str,
    chosen: dict[str, list[str]] | None,
    **kwargs: Any,
) -> None:
    """Write what a job, or a member of a workflow, waits for somebody to do."""
    if owner_id is None:
        return
    # Without an attempt: the same one may yet be told of as having ended.
    kind, text = Notification.Kind.WAITING, f"{title}: {waits_for}"[:LONGEST_TITLE]
    row = Notification(owner_id=owner_id, kind=kind, job_id=job_id, title=text)
    _tell(row, channels(kind, chosen))


def _chosen(owner_id: Any) -> set[str]:
    """By which channels a user wants messages."""
    held = Preferences.objects.filter(pk=owner_id).values_list("chosen", flat=True).first()
    return channels(Notification.Kind.MESSAGE, held)


def _tell(row: Notification, ways: set[str]) -> Notification:
    """Write a notification and what goes out of it; who does not want it on the page finds it read in the inbox."""
    if "page" not in ways:
        row.read_at = row.created_at
    with transaction.atomic(savepoint=False):
        row.save(force_insert=True)
        deliveries.plan(row, ways)
        announce(row.owner_id)
    return row


def announce(*owners: Any) -> None:
    """Have the pages of these users read their notifications again, on commit; `owners` are primary keys."""
    events: Iterable[InboxEvent] = [InboxEvent(user=str(owner)) for owner in owners]
    transaction.on_commit(lambda: channel.publish(*events))
