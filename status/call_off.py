"""Cancelling the work that a cancelled job has under way elsewhere: the task's own `on_cancel`, sent once."""

import logging
from dataclasses import replace
from typing import Any
from uuid import UUID

from celery import current_app
from celery.canvas import Signature
from django.db import transaction
from django.db.models import F, Max
from django.utils import timezone
from kombu.utils.json import dumps, loads

from status import channel
from status.events import Line
from status.headers import header
from status.models import Job, LogLine
from status.states import State

logger = logging.getLogger(__name__)

HEADER = "status_calls_off"


def call_off(job_id: UUID) -> bool:
    """Send the `on_cancel` of a job that was cancelled, or that passed its deadline, if it has one.

    Whoever empties the column sends it, so of any number of callers one does. If the broker refuses it, it
    goes back into the row of a cancelled job for the sweep to try again.

    Args:
        job_id: a job of any state; nothing happens before it has ended.

    Returns:
        Whether this call sent it.

    Example:
        >>> call_off(job.pk)
        True
    """
    ended = Job.objects.filter(pk=job_id, state__in=[State.CANCELLED, State.FAILED], on_cancel__isnull=False)
    job = ended.only("on_cancel").first()
    if job is None or not ended.update(on_cancel=None):
        return False
    try:
        signature = Signature.from_dict(loads(dumps(job.on_cancel)), app=current_app)
        headers = (signature.options.pop("headers", None) or {}) | {HEADER: str(job_id)}
        signature.apply_async(headers=headers)
    except Exception as error:
        logger.warning("Job %s: its on_cancel is not sent yet: %r", job_id, error)
        Job.objects.filter(pk=job_id, state=State.CANCELLED).update(on_cancel=job.on_cancel)
        return False
    return True


def called_off_by(request: Any) -> UUID | None:
    """The job whose remote work the task of this request cancels; None for any other task."""
    job_id = header(request, HEADER)
    return UUID(job_id) if job_id else None


def add_postscript(job_id: UUID, level: int, text: str, *, leave: int = 0) -> None:
    """Add a line to the log of a job that has ended, where no worker reports any more.

    Args:
        job_id: a job that has ended.
        level: of the logging module.
        text: what the line says; 2,000 characters at most.
        leave: numbers to leave free before the line. A worker that died has shown lines which it never wrote;
            behind the gap the pages see that they must read the log anew.

    Example:
        >>> add_postscript(job.pk, logging.INFO, "The remote work was cancelled")
    """
    with transaction.atomic():
        if not Job.objects.filter(pk=job_id).update(seq=F("seq") + 1):
            return
        event = Job.objects.events([job_id])[0]
        # A worker that was overtaken may have written lines of which the row was not told.
        last = LogLine.objects.filter(job=job_id, attempt=event.tries).aggregate(last=Max("number"))["last"]
        event = replace(event, line_count=max(event.line_count, last or 0) + 1 + leave)
        Job.objects.filter(pk=job_id).update(line_count=event.line_count)
        line = Line(
            number=event.line_count, attempt=event.tries, at=timezone.now(), level=level, text=text[:2000]
        )
        LogLine.of(job_id, line).save(force_insert=True)
    channel.publish(replace(event, lines=(line,)))
