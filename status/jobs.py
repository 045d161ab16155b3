"""Start, cancel and retry jobs; for views, management commands, other tasks."""

import json
import logging
from typing import Any
from uuid import UUID, uuid4

from celery import current_app
from celery.canvas import Signature
from django.db import IntegrityError, transaction
from django.utils import timezone
from django.utils.translation import gettext as _
from kombu.utils.json import dumps, loads

from status import channel, conf
from status.call_off import call_off
from status.events import Event, ListEvent
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
    repeatable: bool = False,
    startable: str = "",
    params: dict[str, Any] | None = None,
    job_id: UUID | None = None,
) -> Job:
    """Start a task as a job.

    The row is written now; the message goes out when the transaction commits, so a worker never meets a job
    that is not there, and a rollback takes both. If the broker is down then, or the process dies before it
    has sent the message, the sweep sends it.

    Args:
        signature: the task with its arguments, `import_orders.s(path)`; they must be JSON.
        owner: the user who may watch and cancel it; None: only who holds the permission `status.view_job`.
        title: what people see; default: the task's name.
        key: makes the start idempotent: while a live job holds the key, that job is returned.
        repeatable: the task may run again when its worker is lost midway; so may one with `acks_late`.
        startable: the name under which the task was started from a page.
        params: the form's data, for who starts it again.
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
        title=(title or title_of(task))[:255],
        owner=owner,
        key=key or None,
        repeatable=repeatable or bool(getattr(current_app.tasks.get(task), "acks_late", False)),
        startable=startable,
        params=params or {},
        signature=as_json(signature),
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
    news = [ListEvent(scope=scope) for scope in channel.scopes(job.owner_id)]
    transaction.on_commit(lambda: _announce_and_send(job, *news))
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
            call_off(held.pk)
            break
        if held.is_cancelling:
            break
    return held


def retry(job: Job) -> Job:
    """Run a failed or cancelled job again, with the same arguments and files, as its next attempt.

    Its log and its files stay; lines know their attempt. A job in any other state is left alone, so a double
    click retries once.

    Args:
        job: any job; only its id is used.

    Returns:
        The job as it is now.

    Raises:
        IntegrityError: another live job holds its key by now.

    Example:
        >>> retry(job).attempt
        2
    """
    held = Job.objects.get(pk=job.pk)
    with transaction.atomic():
        reopened = Job.objects.reopen(held.pk, attempt=held.attempt)
    held.refresh_from_db()
    if reopened:
        transaction.on_commit(lambda: _announce_and_send(held, held.event()))
    return held


def lose(job: Job, reason: str) -> bool:
    """The attempt of `job` has lost its worker: the next one begins, if that is safe, else the job has failed.

    A job that was asked to end has ended by that: it is cancelled, and not repeated.

    Args:
        job: a running job, as read.
        reason: what is known, for its owner.

    Returns:
        Whether it was still running in that attempt.
    """
    # To ask again how far remote work is does no harm.
    is_safe = job.repeatable or job.poll_signature is not None
    again = is_safe and not job.is_cancelling and job.tries < conf.current().most_losses
    state = State.WAITING if again else State.CANCELLED if job.is_cancelling else State.FAILED
    failure = Failure.WORKER_LOST if state == State.FAILED else ""
    columns: dict[str, Any] = {"failure": failure, "error": reason}
    if again:
        columns["next_at"] = timezone.now()
    if not Job.objects.advance(job.pk, state, attempt=job.attempt, only_from=[State.RUNNING], **columns):
        return False
    job.refresh_from_db()
    channel.publish(job.event())
    if again:
        send(job, job.attempt + 1)
    elif state == State.CANCELLED:
        call_off(job.pk)
    return True


def send(job: Job, attempt: int) -> bool:
    """Send the message for an attempt of a committed job; whether the broker took it.

    A message that goes out twice does no harm: an attempt begins once.
    """
    if not deliver(job, attempt):
        return False
    Job.objects.filter(pk=job.pk, sent_at=None).update(sent_at=timezone.now())
    return True


def deliver(job: Job, attempt: int) -> bool:
    """As `send`, for who notes in the row himself that it was sent."""
    try:
        signature = Signature.from_dict(loads(dumps(job.poll_signature or job.signature)), app=current_app)
        headers = (signature.options.pop("headers", None) or {}) | {ATTEMPT_HEADER: attempt}
        signature.apply_async(task_id=str(job.pk), headers=headers)
    except Exception as error:
        logger.warning("Job %s: not sent to the broker, the sweep will try again: %r", job.pk, error)
        return False
    return True


def title_of(task: str) -> str:
    """A title for a job that was given none.

    >>> title_of("orders.tasks.import_orders")
    'Import orders'
    """
    return task.rpartition(".")[2].replace("_", " ").capitalize()


def _announce_and_send(job: Job, *news: Event) -> None:
    channel.publish(*news)
    send(job, job.attempt)


def as_json(signature: Signature) -> Any:
    """The signature as Celery would send it; what JSON cannot hold is refused before anything is written."""
    try:
        return json.loads(dumps(dict(signature)))
    except TypeError as error:
        raise TypeError(
            _("An argument of %(task)s cannot be written as JSON (%(error)s).")
            % {"task": signature.task, "error": error}
            + " Pass ids, numbers, text, lists or dicts, and load the object in the task."
        ) from error
