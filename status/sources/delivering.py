"""E-mails and webhooks go out: the task that makes one try, and what the sweep sends again."""

import logging
from collections.abc import Callable
from datetime import timedelta
from uuid import UUID

from celery import shared_task
from django.utils import timezone, translation
from django.utils.translation import gettext as _

from status import mail, webhooks
from status.deliveries import DELIVER_TASK, NotDelivered, claim, note_failed, note_sent, send
from status.models import Delivery
from status.models.preferences import language_of
from status.notifications import tell_of_failure

logger = logging.getLogger(__name__)

AT_ONCE = 500
RESEND_SECONDS = 60.0
"""A try that has not begun so long after its message was sent is sent again."""

SENDERS: dict[str, Callable[[Delivery], None]] = {
    Delivery.Channel.EMAIL: mail.send,
    Delivery.Channel.WEBHOOK: webhooks.send,
}


@shared_task(name=DELIVER_TASK, ignore_result=True)
def deliver(delivery_id: str, tries: int) -> None:
    """Make the try that comes after so many; nothing, if it was made."""
    delivery = claim(UUID(delivery_id), tries)
    if delivery is None:
        return
    with translation.override(language_of(delivery.user)):
        _try(delivery)


def _try(delivery: Delivery) -> None:
    try:
        SENDERS[delivery.channel](delivery)
    except NotDelivered as problem:
        logger.warning("Delivery %s, try %d: %s", delivery.pk, delivery.tries, problem)
        _fail(delivery, str(problem), again=problem.again, after_seconds=problem.after_seconds)
    except Exception as error:
        logger.exception("Delivery %s cannot be made", delivery.pk)
        _fail(delivery, f"{type(error).__name__}: {error}", again=False)
    else:
        note_sent(delivery)


def _fail(delivery: Delivery, reason: str, *, again: bool, after_seconds: float = 0.0) -> None:
    if note_failed(delivery, reason, again=again, after_seconds=after_seconds):
        tell_of_failure(delivery)


def send_due() -> int:
    """Send each delivery that is due again, or whose message was lost; returns how many the broker took."""
    now = timezone.now()
    due = Delivery.objects.filter(due_at__lte=now).order_by("due_at")
    taken = []
    for delivery in due.select_related("user__status_preferences", "notification")[:AT_ONCE]:
        if delivery.state == Delivery.State.SENDING:
            _expire(delivery)
        elif send(delivery):
            taken.append(delivery.pk)
        else:
            break
    if taken:
        # One that has been claimed meanwhile has a lease, and is not touched.
        untouched = Delivery.objects.filter(pk__in=taken, state=Delivery.State.PENDING, due_at__lte=now)
        untouched.update(due_at=now + timedelta(seconds=RESEND_SECONDS))
    return len(taken)


def _expire(delivery: Delivery) -> None:
    """Whoever claimed it is gone: a webhook goes again, an e-mail might then arrive twice."""
    with translation.override(language_of(delivery.user)):
        reason = _("The worker was lost while it was sent; it is not known whether it arrived.")
        _fail(delivery, reason, again=delivery.channel == Delivery.Channel.WEBHOOK)
