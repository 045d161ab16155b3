"""Deliveries: written with the notification, sent on commit, claimed before they go out.

A row is claimed by one UPDATE that raises its number of tries, and a message names the number it was sent for. So of
two messages for one try, or two workers, one sends; and a message that comes late does nothing.
"""

import logging
import random
from collections.abc import Iterable
from datetime import timedelta
from functools import partial
from uuid import UUID

from celery import current_app
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from status import clean, conf
from status.models import Delivery, Notification

logger = logging.getLogger(__name__)

DELIVER_TASK = "status.deliver"
UNSENT_SECONDS = 10.0
"""What is so old and was not begun has lost its message, or never had one."""
LEASE_SECONDS = 300.0
"""Who has claimed a delivery and said nothing for so long is gone."""
LONGEST_PAUSE_SECONDS = 43_200.0
LONGEST_ERROR = 500


class NotDelivered(Exception):
    """It did not arrive; the text says why, for the user to read.

    Args:
        reason: one sentence.
        again: whether another try may do better, and does no harm.
        after_seconds: how long the receiver wants to be left alone.
    """

    def __init__(self, reason: str, *, again: bool, after_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.again, self.after_seconds = again, after_seconds


def plan(notification: Notification, channels: Iterable[str]) -> None:
    """Write what is to be delivered, in the caller's transaction; it is sent on commit.

    Args:
        notification: saved before.
        channels: of `Delivery.Channel`; others are left out.
    """
    due = timezone.now() + timedelta(seconds=UNSENT_SECONDS)
    ways = sorted(set(channels) & set(Delivery.Channel.values))
    owner = notification.owner_id
    rows = [Delivery(notification=notification, user_id=owner, channel=way, due_at=due) for way in ways]
    if rows:
        Delivery.objects.bulk_create(rows, ignore_conflicts=True)
        transaction.on_commit(partial(_send_all, rows))


def send(delivery: Delivery) -> bool:
    """Send the message that asks a worker for the next try; whether the broker took it."""
    try:
        current_app.send_task(DELIVER_TASK, args=[str(delivery.pk), delivery.tries])
    except Exception as error:
        logger.warning("Delivery %s: not sent to the broker, the sweep tries again: %r", delivery.pk, error)
        return False
    return True


def _send_all(rows: list[Delivery]) -> None:
    for row in rows:
        if not send(row):
            break


def claim(delivery_id: UUID, tries: int) -> Delivery | None:
    """Take a delivery for the try that comes after so many; None if another has it, or it has ended."""
    now = timezone.now()
    mine = Delivery.objects.filter(pk=delivery_id, state=Delivery.State.PENDING, tries=tries)
    lease = now + timedelta(seconds=LEASE_SECONDS)
    taken = mine.update(state=Delivery.State.SENDING, tries=F("tries") + 1, due_at=lease, tried_at=now)
    if not taken:
        return None
    found = Delivery.objects.select_related("notification", "user", "user__status_preferences")
    return found.filter(pk=delivery_id, tries=tries + 1).first()


def note_sent(delivery: Delivery) -> None:
    """It has arrived."""
    _settle(delivery, Delivery.State.SENT, "")


def note_failed(delivery: Delivery, reason: str, *, again: bool, after_seconds: float = 0.0) -> bool:
    """A try has failed: the next one comes later, or it is given up.

    Args:
        delivery: as it was claimed.
        reason: one sentence, for the user.
        again: whether another try may do better.
        after_seconds: the next one does not come before, up to twelve hours.

    Returns:
        Whether it is given up now.
    """
    if again and delivery.tries < conf.current().delivery_tries:
        asked = min(after_seconds, LONGEST_PAUSE_SECONDS)
        _settle(delivery, Delivery.State.PENDING, reason, max(pause_seconds(delivery.tries), asked))
        return False
    return _settle(delivery, Delivery.State.FAILED, reason)


def pause_seconds(tries: int) -> float:
    """Seconds until the next try after so many: four times as long each time, with jitter, so that not all that
    failed together come back together."""
    longest = min(conf.current().delivery_retry_seconds * 4.0 ** (tries - 1), LONGEST_PAUSE_SECONDS)
    return longest * random.uniform(0.5, 1.0)  # noqa: S311


def _settle(delivery: Delivery, state: str, error: str, pause: float | None = None) -> bool:
    due = None if pause is None else timezone.now() + timedelta(seconds=pause)
    # Whoever outlived his lease has the last word, unless another try has begun.
    held = Delivery.objects.filter(pk=delivery.pk, tries=delivery.tries).exclude(state=Delivery.State.SENT)
    return bool(held.update(state=state, due_at=due, error=clean.text(error)[:LONGEST_ERROR]))
