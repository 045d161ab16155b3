"""Start, cancel and retry jobs; for views, management commands, other tasks."""

from typing import Any
from uuid import UUID, uuid4

from celery.canvas import Signature
from django.db import IntegrityError, router, transaction
from django.utils import timezone

from status import audit, canvas, channel, conf, outbox, telling, workflow
from status.audit import Actor, Verb
from status.call_off import call_off
from status.events import ListEvent
from status.models import Job
from status.models.statements import insert
from status.reporter import reporter
from status.states import Failure, State

MOST_TOLD = 100
"""Members that were cancelled together and told to their pages at once; other pages read it within seconds."""


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
    schedule: str = "",
) -> Job:
    """Start a task, or a canvas, as a job.

    A canvas (chain, group, chord, however nested) becomes one job for the whole, and one for each of its members.

    The row is written now; the message goes out when the transaction commits, so a worker never meets a job
    that is not there, and a rollback takes both. If the broker is down then, or the process dies before it
    has sent the message, the sweep sends it.

    Args:
        signature: the task with its arguments, `import_orders.s(path)`, or a canvas; arguments and what members
            pass on to each other must be JSON. `status.canvas.member` gives a member its title and weight.
        owner: the user who may watch and cancel it; None: only who holds the permission `status.view_job`.
        title: what people see; default: the task's name, or those of the members.
        key: makes the start idempotent: while a live job holds the key, that job is returned.
        repeatable: the tasks may run again when their worker is lost midway; so may one with `acks_late`.
        startable: the name under which the task was started from a page.
        params: the form's data, for who starts it again.
        job_id: the id to give, for who must know it beforehand; also the Celery task id.
        schedule: the name of the schedule whose run this is.

    Returns:
        The new job, or the live one that holds `key`.

    Raises:
        TypeError: `signature` is no signature, a task does not take the arguments, or one of them cannot be written
            as JSON.
        ValueError: the canvas has no task in it, or `owner` is not saved.

    Example:
        >>> job = start(import_orders.s(path), owner=request.user, title="Orders of May", key="import:42")
    """
    tree = canvas.read(signature)
    if owner is not None and owner.pk is None:
        raise ValueError("The owner of a job must be saved before the job is started.")
    job = Job(
        id=job_id or uuid4(),
        title=(title or tree.title)[:255],
        owner=owner,
        key=key or None,
        repeatable=repeatable,
        startable=startable,
        params=params or {},
        schedule=schedule[:200],
    )
    members = canvas.plan(job, tree)
    database = router.db_for_write(Job)
    try:
        with transaction.atomic(using=database):
            insert([job, *members], database)
    except IntegrityError:
        holder = Job.objects.live().filter(key=key).first() if key else None
        if holder is None:
            raise
        return holder
    news = [ListEvent(scope=scope) for scope in channel.scopes(job.owner_id)]
    due = [row for row in [job, *members] if not row.canvas and not row.held]

    def send_and_announce() -> None:
        outbox.dispatch(due)
        channel.publish(*news)

    transaction.on_commit(send_and_announce, using=database)
    return job


def cancel(job: Job, *, actor: Actor | None = None, verb: str = Verb.CANCEL) -> Job:
    """Cancel a job, and all that is in it.

    What has not begun never will. What runs is asked: its next `track()` or `update()` raises `JobCancelled`,
    within two seconds. What has ended stays as it ended.

    Args:
        job: any job; only its id is used.
        actor: who does it, for the audit trail; written if it changes anything. None: a program does.
        verb: what the audit trail calls it.

    Returns:
        The job as it is now.

    Example:
        >>> cancel(job, actor=on_page(request.user)).is_cancelling
        True
    """
    held = Job.objects.get(pk=job.pk)
    if held.is_live:
        _cancel_one(held, actor, verb)
        _cancel_inside(held)
    return held


def _cancel_one(held: Job, actor: Actor | None, verb: str) -> None:
    # Whoever begins or ends it meanwhile makes one of these miss, and then the other fits.
    for _attempt in range(2):
        if not held.is_live:
            return
        with transaction.atomic():
            moved = (
                not held.canvas
                and Job.objects.advance(
                    held.pk, State.CANCELLED, attempt=held.attempt, only_from=[State.QUEUED, State.WAITING]
                )
            ) or Job.objects.request_cancel(held.pk)
            if moved:
                audit.record(actor, verb, held)
        held.refresh_from_db()
        if moved:
            channel.publish(held.event())
            call_off(held.pk)
            tell_parent(held)
        if moved or held.is_cancelling:
            return


def _cancel_inside(held: Job) -> None:
    """Cancel what is in a job, in few statements however many there are; pages hear of the first by event."""
    canvases = {held.pk} if held.canvas else set()
    told = 0
    for batch in workflow.family(held):
        members = Job.objects.filter(pk__in=batch)
        canvases |= set(members.live().exclude(canvas="").values_list("pk", flat=True))
        changed = members.cancel()
        if changed and told < MOST_TOLD:
            channel.publish(*Job.objects.events(changed[: MOST_TOLD - told]))
        told += len(changed)
        for pk in members.filter(state=State.CANCELLED, on_cancel__isnull=False).values_list("pk", flat=True):
            call_off(pk)
    while canvases:
        # A canvas ends with the last of its members; those inside others first or last makes no difference.
        canvases = {other for pk in canvases for other in workflow.refresh(pk)}
    held.refresh_from_db()


def tell_parent(job: Job) -> None:
    """After a member of something has ended outside a worker: what follows begins, and its figures change."""
    if job.parent_id is None:
        return
    parents = {job.parent_id} if job.is_live else workflow.ended(job.parent_id)
    reporter().refresh_soon(parents)


def retry(job: Job, *, actor: Actor | None = None) -> Job:
    """Run a failed or cancelled job again, with the same arguments and files, as its next attempt.

    Of a canvas only those members run again that did not succeed, and what was not run after them. A member
    that runs again takes what it is a member of along, unless that has succeeded. Logs and files stay; lines
    know their attempt. A job in any other state is left alone, so a double click retries once.

    Args:
        job: any job; only its id is used.
        actor: who does it, for the audit trail; written if it changes anything. None: a program does.

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
        # Afterwards nobody could see that this attempt has ended.
        telling.catch_up(Job.objects.filter(pk=job.pk))
        reopened = workflow.reopen(held)
        if reopened:
            audit.record(actor, Verb.RETRY, held)
    held.refresh_from_db()
    if reopened:
        transaction.on_commit(lambda: _announce_again(held))
    return held


def _announce_again(job: Job) -> None:
    channel.publish(job.event())
    parents = workflow.send_reopened(job)
    while parents:
        parents = {other for parent in parents for other in workflow.refresh(parent)}


def lose(job: Job, reason: str) -> bool:
    """The attempt of `job` has lost its worker: the next one begins, if that is safe, else the job has failed.

    A job that was asked to end has ended by that: it is cancelled, and not repeated.

    Args:
        job: a running job, in the attempt that is lost.
        reason: what is known, for its owner.

    Returns:
        Whether it was still running in that attempt.
    """
    attempt = job.attempt
    # It may have been asked to end since it was read.
    job.refresh_from_db()
    # To ask again how far remote work is does no harm.
    is_safe = job.repeatable or job.poll_signature is not None
    again = is_safe and not job.is_cancelling and job.tries < conf.current().most_losses
    state = State.WAITING if again else State.CANCELLED if job.is_cancelling else State.FAILED
    failure = Failure.WORKER_LOST if state == State.FAILED else ""
    columns: dict[str, Any] = {"failure": failure, "error": reason}
    if again:
        columns["next_at"] = timezone.now()
    if not Job.objects.advance(job.pk, state, attempt=attempt, only_from=[State.RUNNING], **columns):
        return False
    job.refresh_from_db()
    channel.publish(job.event())
    tell_parent(job)
    if again:
        outbox.send(job, job.attempt + 1)
    elif state == State.CANCELLED:
        call_off(job.pk)
    return True
