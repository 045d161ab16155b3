"""Sending the messages of committed jobs.

The row is written first and says in `sent_at` whether its message is out; what was not sent is found by the sweep.
"""

import json
import logging
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from celery import current_app, signals
from celery.canvas import Signature
from django.core.signals import request_finished
from django.db import DatabaseError, InterfaceError
from django.utils import timezone
from django.utils.translation import gettext as _
from kombu.utils.json import dumps, loads

from status import channel, languages, tracing
from status.models import Job
from status.states import Failure, State

logger = logging.getLogger(__name__)

ATTEMPT_HEADER = "status_attempt"
MEMBER_HEADER = "status_member"
JOB_HEADER = "status_job"
"""That the run is to be a job, whatever `STATUS["TRACK"]` says; its value is the name of its startable, or empty."""
SEND_TASK = "status.send"
MOST_IN_LINE = 100
BATCH = 500
UNSENDABLE = (TypeError, ValueError, LookupError, AttributeError)
"""What Celery raises for a message that no broker will ever get; what it raises without a broker is none of these."""
COLUMNS = ("attempt", "signature", "poll_signature", "given", "parent", "root", "position", "passes")
"""What `deliver` needs of a row."""


_sent: deque[UUID] = deque()
"""Sent, and not noted yet."""


@dataclass(frozen=True, slots=True)
class Membership:
    """What a message says about the place of its job in a workflow."""

    parent: UUID
    position: int | None
    """None: sent by a task on its own account."""
    passes: bool
    """Its result is wanted by what follows."""

    def to_wire(self) -> list[Any]:
        """As a message's header."""
        return [self.parent.hex, self.position, self.passes]

    @classmethod
    def from_wire(cls, fields: list[Any]) -> "Membership":
        """The place that `to_wire` wrote."""
        parent, position, passes = fields
        return cls(UUID(parent), position, passes)


def connect() -> None:
    """Note what was sent after each request and task; called once when the app is ready."""
    request_finished.connect(note_sent, dispatch_uid="status.outbox")
    signals.task_postrun.connect(note_sent, dispatch_uid="status.outbox", weak=False)


def as_json(signature: Signature) -> Any:
    """The signature as Celery would send it, in the active language.

    What JSON cannot hold is refused before anything is written.

    Raises:
        TypeError: an argument cannot be written as JSON.
    """
    try:
        return languages.keep(json_of(dict(signature)))
    except TypeError as error:
        raise TypeError(
            _(
                "An argument of %(task)s cannot be written as JSON (%(error)s)."
                " Pass ids, numbers, text, lists or dicts, and load the object in the task."
            )
            % {"task": signature.task, "error": error}
        ) from error


def json_of(value: Any) -> Any:
    """The value as JSON can hold it, with Celery's marks for dates and the like; TypeError if it cannot."""
    return json.loads(dumps(value))


def send(job: Job, attempt: int) -> bool:
    """Send the message for an attempt of a committed job; whether the broker can be reached.

    A message that goes out twice does no harm: an attempt begins once. A job of which no message can be made, since
    its task does not take its arguments, say, has failed.
    """
    if not deliver(job, attempt):
        return False
    _sent.append(job.pk)
    if len(_sent) >= BATCH:
        note_sent()
    return True


def note_sent(**kwargs: Any) -> None:
    """Write into the rows of what this process has sent that it is out; many at once, when nobody waits for it.

    After each request and each task, or when they are many. What a script sends and nobody notes, the sweep sends
    a second time if it is still queued.
    """
    taken = [_sent.popleft() for _ in range(len(_sent))]
    if not taken:
        return
    try:
        Job.objects.filter(pk__in=taken, sent_at=None).update(sent_at=timezone.now())
    except (DatabaseError, InterfaceError) as error:
        logger.warning("%d jobs were sent, but that is not noted: %r", len(taken), error)


def deliver(job: Job, attempt: int) -> bool:
    """As `send`, for who notes in the row himself that it was sent."""
    try:
        signature = Signature.from_dict(loads(dumps(job.poll_signature or job.signature)), app=current_app)
        if job.given and not job.poll_signature:
            signature = signature.clone(args=tuple(loads(dumps(job.given))))
        headers = (
            (signature.options.pop("headers", None) or {}) | {ATTEMPT_HEADER: attempt} | tracing.carried()
        )
        ids: dict[str, Any] = {}
        if job.parent_id is not None:
            headers[MEMBER_HEADER] = Membership(job.parent_id, job.position, job.passes).to_wire()
            ids = {"root_id": str(job.root_id), "parent_id": str(job.parent_id)}
        signature.apply_async(task_id=str(job.pk), headers=headers, **ids)
    except Exception as error:
        if isinstance(error, UNSENDABLE) and not isinstance(error, OSError):
            _fail(job, error)
            return True
        logger.warning("Job %s: not sent to the broker, the sweep will try again: %r", job.pk, error)
        return False
    return True


def _fail(job: Job, error: Exception) -> None:
    """No message can be made of a job: it has failed, and the sweep sees to what it is a member of."""
    logger.error("Job %s cannot be sent: %r", job.pk, error)
    text = _("Its task cannot be called: %s") % error
    Job.objects.advance(job.pk, State.FAILED, attempt=job.attempt, failure=Failure.ERROR, error=text)
    if job.parent_id is not None:
        parent = Job.objects.filter(pk=job.parent_id, refreshed_at__isnull=False)
        parent.update(refreshed_at=datetime.fromtimestamp(0, UTC))
    channel.publish(*Job.objects.events([job.pk]))


def unsent(root_id: UUID) -> Any:
    """The members of a whole whose turn has come and whose message is not out."""
    return Job.objects.filter(root_id=root_id, state=State.QUEUED, sent_at=None, held=False)


def send_unsent(root_id: UUID) -> int:
    """Send the messages of the members of a whole whose turn has come; returns how many the broker took.

    They go out in their order. If the process ends midway, or the broker refuses one, the sweep goes on.
    """
    sent = 0
    while batch := list(unsent(root_id).only(*COLUMNS).order_by("position", "pk")[:BATCH]):
        taken = []
        for job in batch:
            if not deliver(job, job.attempt):
                break
            taken.append(job.pk)
        Job.objects.filter(pk__in=taken, sent_at=None).update(sent_at=timezone.now())
        sent += len(taken)
        if len(taken) < len(batch):
            break
    return sent


def dispatch(jobs: Sequence[Job]) -> None:
    """Send the first messages of these committed jobs; of more than a hundred members a worker sends the rest.

    So neither a request nor the task that was the last before a large group waits for ten thousand messages.
    """
    if len(jobs) <= MOST_IN_LINE:
        for job in jobs:
            if not send(job, job.attempt):
                break
        if any(job.parent_id is not None for job in jobs):
            # Other members may look for what is unsent before this request or task has ended.
            note_sent()
        return
    try:
        for root_id in {job.root_id for job in jobs}:
            current_app.send_task(SEND_TASK, args=[str(root_id)])
    except Exception as error:
        logger.warning("%d jobs: not sent to the broker, the sweep will try again: %r", len(jobs), error)
