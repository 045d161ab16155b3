"""Start and cancel jobs; for views, management commands, other tasks."""

import json
import logging
from typing import Any
from uuid import UUID, uuid4

from celery.canvas import Signature
from django.db import IntegrityError, transaction
from django.utils.translation import gettext as _
from kombu.utils.json import dumps

from status import channel
from status.events import ListEvent
from status.models import Job
from status.states import Failure, State

logger = logging.getLogger(__name__)

ATTEMPT_HEADER = "status_attempt"


def start(
    signature: Signature,
    *,
    owner: Any = None,
    title: str = "",
    key: str | None = None,
    startable: str = "",
    job_id: UUID | None = None,
) -> Job:
    """Start a task as a job.

    The row is written now; the message goes out when the transaction commits, so a worker never meets a job
    that is not there, and a rollback takes both.

    Args:
        signature: the task with its arguments, `import_orders.s(path)`; they must be JSON.
        owner: the user who may watch and cancel it; None: only who holds the permission `status.view_job`.
        title: what people see; default: the task's name.
        key: makes the start idempotent: while a live job holds the key, that job is returned.
        startable: the name under which the task was started from a page.
        job_id: the id to give, for who must know it beforehand; also the Celery task id.

    Returns:
        The new job, or the live one that holds `key`.

    Raises:
        TypeError: `signature` is no task's signature, or an argument cannot be written as JSON.

    Example:
        >>> job = start(import_orders.s(path), owner=request.user, title="Orders of May", key="import:42")
    """
    if not isinstance(signature, Signature):
        raise TypeError(f"start() takes a signature such as task.s(argument), not {signature!r}")
    task = str(signature.task)
    if task.startswith("celery."):
        raise TypeError(f"start() takes a single task's signature, not a {task.rpartition('.')[2]}")
    job = Job(
        id=job_id or uuid4(),
        task=task,
        title=(title or task.rpartition(".")[2].replace("_", " ").capitalize())[:255],
        owner=owner,
        key=key or None,
        startable=startable,
        signature=_as_json(signature),
        queue=str(signature.options.get("queue") or ""),
    )
    try:
        with transaction.atomic():
            job.save(force_insert=True)
    except IntegrityError:
        holder = Job.objects.live().filter(key=key).first() if key else None
        if holder is None:
            raise
        return holder
    transaction.on_commit(lambda: _send(job, signature))
    return job


def cancel(job: Job) -> Job:
    """Cancel a job.

    One that has not begun never will. A running one is asked: its next `track()` or `update()` raises
    `JobCancelled`, within two seconds. One that has ended stays as it ended.

    Args:
        job: any job; only its id is used.

    Returns:
        The job as it is now.

    Example:
        >>> cancel(job).is_cancelling
        True
    """
    held = Job.objects.get(pk=job.pk)
    # Whoever begins or ends it meanwhile makes one of these miss, and then the other fits.
    for _attempt in range(2):
        if not held.is_live:
            break
        moved = Job.objects.advance(
            held.pk, State.CANCELLED, attempt=held.attempt, only_from=[State.QUEUED, State.WAITING]
        ) or Job.objects.request_cancel(held.pk)
        held.refresh_from_db()
        if moved:
            channel.publish(held.event())
            break
        if held.is_cancelling:
            break
    return held


def _send(job: Job, signature: Signature) -> None:
    """Send the message of a committed job, and tell the lists it is in."""
    channel.publish(*(ListEvent(scope=scope) for scope in channel.scopes(job.owner_id)))
    try:
        signature.apply_async(task_id=str(job.pk), headers=dict[str, Any]({ATTEMPT_HEADER: job.attempt}))
    except Exception as error:
        logger.exception("Job %s could not be sent to the broker", job.pk)
        Job.objects.advance(
            job.pk,
            State.FAILED,
            attempt=job.attempt,
            only_from=[State.QUEUED],
            failure=Failure.ERROR,
            error=_("The job could not be sent to the workers: %s") % error,
        )
        job.refresh_from_db()
        channel.publish(job.event())


def _as_json(signature: Signature) -> Any:
    """The signature as Celery would send it; what JSON cannot hold is refused before anything is written."""
    try:
        return json.loads(dumps(dict(signature)))
    except TypeError as error:
        raise TypeError(
            f"An argument of {signature.task} cannot be written as JSON ({error}). Pass ids, numbers, text, "
            "lists or dicts, and load the object in the task."
        ) from error
