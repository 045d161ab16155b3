"""Stop a running job at once, by ending the process that runs it; for views, management commands, other tasks.

The worker's main process does it, when it is told to by a remote-control command of ours; see
`sources/stopping.py`. Celery's own `revoke(terminate=True)` would not do: it takes the attempt after for the
same task, says "revoked" before the process has ended, and remembers the id, so that the job could never be
retried.
"""

import logging
from typing import Any

from celery import current_app
from django.utils.translation import gettext as _

from status import audit
from status.audit import Actor, Verb
from status.jobs import cancel
from status.models import Job
from status.states import State

logger = logging.getLogger(__name__)

COMMAND = "status_stop"
ANSWER_SECONDS = 3.0
CONNECT_SECONDS = 2


class NotStopped(Exception):
    """The job could not be stopped at once; the text tells people why."""


def stop(job: Job, *, by: str = "", actor: Actor | None = None) -> Job:
    """Cancel a job, and if it runs end its process.

    What the task had under way is left as it is: nothing in it is executed any more, no `finally` either. The
    process gets SIGTERM and, if it is still there after five seconds, SIGKILL; other jobs of the worker go on.
    The job is shown as cancelled when the process has ended, and as cancelling until then.

    Only the processes of a prefork pool can be ended (`job.stoppable`). A job that has not begun is cancelled;
    one that has ended stays as it ended.

    Args:
        job: any job; only its id is used.
        by: who does it, for the job's log; default: the actor's name.
        actor: who does it, for the audit trail. None: a program does.

    Returns:
        The job as it is now: mostly still running, and cancelling.

    Raises:
        NotStopped: it runs and cannot be stopped, or its worker cannot be reached. Unless the worker was asked
            and did not do it, nothing has changed; else the job is cancelling.

    Example:
        >>> stop(job, actor=on_page(request.user)).is_cancelling
        True
    """
    held = Job.objects.get(pk=job.pk)
    if held.state != State.RUNNING:
        held = cancel(held, actor=actor)
    if held.state != State.RUNNING:
        return held
    if not held.stoppable:
        raise NotStopped(_why("pool"))
    with current_app.connection_for_write(connect_timeout=CONNECT_SECONDS) as connection:
        try:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=CONNECT_SECONDS)
        except Exception as error:
            logger.warning("Job %s is not stopped, the broker cannot be reached: %r", held.pk, error)
            raise NotStopped(_("The workers cannot be reached at the moment. Try again later.")) from error
        if held.is_cancelling:
            # Nothing of the row changes by it any more; what is done is the worker's.
            audit.record(actor, Verb.STOP, held)
        else:
            held = cancel(held, actor=actor, verb=Verb.STOP)
        if held.state != State.RUNNING:
            return held
        answer = _ask(held, by or (actor.label if actor else ""), connection)
    asked = held.attempt
    held.refresh_from_db()
    if answer == "ok" or held.state != State.RUNNING:
        return held
    raise NotStopped(_why(answer if held.attempt == asked else "moved"))


def _ask(job: Job, by: str, connection: Any) -> str:
    """Ask the job's worker; `ok`, or what is in the way."""
    arguments = {"job_id": str(job.pk), "attempt": job.attempt, "by": by}
    try:
        answers = current_app.control.broadcast(
            COMMAND,
            arguments=arguments,
            destination=[job.worker],
            connection=connection,
            reply=True,
            timeout=ANSWER_SECONDS,
        )
    except Exception as error:
        logger.warning("Job %s: its worker %s could not be asked: %r", job.pk, job.worker, error)
        return "silent"
    for answer in answers or []:
        said = answer.get(job.worker) or {}
        if said.get("error"):
            logger.warning("Job %s is not stopped by %s: %s", job.pk, job.worker, said["error"])
        return "ok" if said.get("ok") else str(said.get("error"))
    return "silent"


def _why(answer: str) -> str:
    """What a worker's answer means, for people."""
    match answer:
        case "pool":
            return _("This worker cannot stop a single job: its jobs have no processes of their own.")
        case "moved":
            return _("The job has just moved on. Look again, and stop it then if need be.")
        case "silent":
            return _(
                "The job's worker does not answer. The job is asked to end; it ends if its worker is lost."
            )
        case _:
            return _("The job's worker could not stop it.")
