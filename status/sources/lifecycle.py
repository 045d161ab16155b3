"""Celery's signals as changes of state.

`task_prerun`, success, retry and ordinary failures fire in the process that runs the task; revokes, hard time
limits and lost workers in the worker's main process, which has no live job and writes the row by itself.
"""

import json
import logging
import traceback as tracebacks
from collections.abc import Callable
from functools import wraps
from typing import Any
from uuid import UUID

from billiard.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded, WorkerLostError
from celery import signals
from celery.exceptions import Ignore, Reject
from django.db import DatabaseError, InterfaceError
from django.utils.translation import gettext as _

from status import channel, conf
from status.jobs import ATTEMPT_HEADER
from status.live import JobCancelled, LiveJob, current_job, set_current
from status.models import Job
from status.progress import JobLogHandler
from status.reporter import Ending, reporter
from status.states import TERMINAL, Failure, State

logger = logging.getLogger(__name__)

LONGEST_TRACEBACK = 65_536
FLUSH_SECONDS = 5.0


def connect() -> None:
    """Listen to Celery; called once when the app is ready."""
    uid = "status.lifecycle"
    signals.worker_init.connect(_guard_tasks, dispatch_uid=uid, weak=False)
    signals.task_prerun.connect(_on_prerun, dispatch_uid=uid, weak=False)
    signals.task_success.connect(_on_success, dispatch_uid=uid, weak=False)
    signals.task_retry.connect(_on_retry, dispatch_uid=uid, weak=False)
    signals.task_failure.connect(_on_failure, dispatch_uid=uid, weak=False)
    signals.task_revoked.connect(_on_revoked, dispatch_uid=uid, weak=False)
    signals.task_postrun.connect(_on_postrun, dispatch_uid=uid, weak=False)
    signals.worker_process_shutdown.connect(_on_shutdown, dispatch_uid=uid, weak=False)
    signals.worker_shutdown.connect(_on_shutdown, dispatch_uid=uid, weak=False)
    for name in conf.current().loggers:
        target = logging.getLogger(name)
        if not any(isinstance(handler, JobLogHandler) for handler in target.handlers):
            target.addHandler(JobLogHandler())


def _guard_tasks(sender: Any, **kwargs: Any) -> None:
    """Wrap every task's `run`, as Celery's own autoretry does, so that a refused job is not executed.

    A signal handler cannot stop a task (what it raises is logged and dropped), and a revoke is forgotten when
    the workers restart; the row is not.
    """
    for task in sender.app.tasks.values():
        if not getattr(task.run, "_status_guard", False):
            task.run = _guarded(task.run)


def _guarded(run: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(run)
    def guard(*args: Any, **kwargs: Any) -> Any:
        job = current_job()
        if job is not None and job.refused:
            raise Ignore(_("The job had ended before it began."))
        return run(*args, **kwargs)

    guard._status_guard = True  # type: ignore[attr-defined]
    return guard


def attempt_of(request: Any) -> int | None:
    """The attempt that a message asks for; None when the run is no job."""
    attempt = getattr(request, ATTEMPT_HEADER, None)
    if attempt is None:
        attempt = (getattr(request, "headers", None) or {}).get(ATTEMPT_HEADER)
    return attempt


def _on_prerun(task_id: str, task: Any, **kwargs: Any) -> None:
    request = task.request
    attempt = attempt_of(request)
    if attempt is None:
        set_current(None)
        return
    live = LiveJob(
        UUID(task_id),
        attempt=attempt,
        worker=str(request.hostname or ""),
        eager=bool(request.is_eager),
    )
    queue = str((request.delivery_info or {}).get("routing_key") or "")
    try:
        _claim(live, queue)
    except (DatabaseError, InterfaceError) as error:
        logger.warning("Job %s begins although its row cannot be read: %r", task_id, error)
    set_current(live)
    if not live.refused:
        reporter().begin(live)


def _claim(live: LiveJob, queue: str) -> None:
    """Begin an attempt in the row, or mark `live` as refused."""
    columns: dict[str, Any] = {
        "started_at": live.started_at,
        "worker": live.worker,
        "queue": queue,
        "next_at": None,
    }
    if Job.objects.advance(
        live.id, State.RUNNING, attempt=live.attempt, seq=1, only_from=[State.QUEUED], **columns
    ):
        live.seq = 1
        return
    job = Job.objects.filter(pk=live.id).only("state", "attempt", "file_count").first()
    if job is None or job.state in TERMINAL:
        logger.info("Job %s is not executed: %s", live.id, job.state if job else "its row is gone")
        live.refused = True
        return
    # Waiting for its next attempt, or delivered again while another is under way: the newer one counts.
    live.attempt, live.seq = job.attempt + 1, 1
    live.file_count = job.file_count
    fresh: dict[str, Any] = {
        "line_count": 0,
        "steps": [],
        "progress": None,
        "rate": None,
        "time_left_seconds": None,
    }
    if not Job.objects.advance(
        live.id, State.RUNNING, attempt=live.attempt, seq=1, **columns, **fresh, cancel_requested_at=None
    ):
        live.refused = True


def _on_success(sender: Any, result: Any, **kwargs: Any) -> None:
    live = current_job()
    if live is not None and not live.refused:
        _end(live, Ending(state=State.SUCCEEDED, columns=_result_columns(result)))


def _on_retry(sender: Any, request: Any, reason: Any = None, **kwargs: Any) -> None:
    live = current_job()
    if live is None or reason is None:
        # The main process says so when it gives up a task because it stops; nothing is retried then.
        return
    if live.cancel_requested_at is not None:
        # The message of the next attempt is on its way; it will find the job ended.
        return _end(live, Ending(state=State.CANCELLED))
    next_at = reason.when if hasattr(reason.when, "tzinfo") else None
    _end(live, Ending(state=State.WAITING, next_at=next_at, columns={"error": error_text(reason.exc)}))


def _on_failure(
    sender: Any, task_id: str, exception: BaseException, einfo: Any = None, **kwargs: Any
) -> None:
    live = current_job()
    failure, error = failure_of(exception), error_text(exception)
    trace = str(getattr(einfo, "traceback", "") or "")[-LONGEST_TRACEBACK:]
    columns = {"error": error, "traceback": trace}
    if live is not None and str(live.id) == task_id:
        _end(live, Ending(state=State.FAILED, failure=failure, columns=columns))
    elif failure != Failure.ERROR:
        _end_from_outside(task_id, State.FAILED, failure=failure, **columns)


def _on_revoked(sender: Any, request: Any, terminated: bool, expired: bool, **kwargs: Any) -> None:
    if attempt_of(request) is None:
        return
    if expired:
        error = _("The job expired before a worker could begin it.")
        _end_from_outside(request.id, State.FAILED, failure=Failure.TIMEOUT, error=error)
    else:
        _end_from_outside(request.id, State.CANCELLED)


def _on_postrun(task_id: str, state: str | None, retval: Any, **kwargs: Any) -> None:
    live = current_job()
    set_current(None)
    if live is None or live.refused or not reporter().reports(live):
        return
    # Neither success, failure nor retry was signalled.
    if isinstance(retval, JobCancelled):
        reporter().end(live, Ending(state=State.CANCELLED))
    elif isinstance(retval, Reject) and getattr(retval, "requeue", False):
        reporter().end(live, Ending(state=State.WAITING))
    elif state is None:
        # Something that is no Exception ended the task: the worker was told to stop at once.
        columns = {"error": _("The worker was stopped while it ran the job.")}
        reporter().end(live, Ending(state=State.FAILED, failure=Failure.WORKER_LOST, columns=columns))
    elif isinstance(retval, Ignore | Reject):
        reason = getattr(retval, "reason", None) or retval
        reporter().end(live, Ending(state=State.CANCELLED, columns={"error": str(reason)}))
    else:
        # Celery could not store the result.
        columns = {"error": _("The task ended, but its result could not be stored.")}
        reporter().end(live, Ending(state=State.FAILED, failure=Failure.ERROR, columns=columns))


def _end(live: LiveJob, ending: Ending) -> None:
    if reporter().reports(live):
        reporter().end(live, ending)


def _end_from_outside(task_id: str, state: str, **columns: Any) -> None:
    """End a job whose process cannot do it any more; only if it is a job and has not ended."""
    job = Job.objects.filter(pk=task_id).first()
    if job is None:
        return
    if Job.objects.advance(job.pk, state, attempt=job.attempt, **columns):
        job.refresh_from_db()
        channel.publish(job.event())


def failure_of(exception: BaseException) -> Failure:
    """The kind of failure that an exception means."""
    if isinstance(exception, SoftTimeLimitExceeded | TimeLimitExceeded):
        return Failure.TIMEOUT
    return Failure.WORKER_LOST if isinstance(exception, WorkerLostError) else Failure.ERROR


def error_text(exception: BaseException | None) -> str:
    """What the job's owner reads: the message; with the class for Python's own terse ones."""
    if exception is None:
        return ""
    if isinstance(exception, SoftTimeLimitExceeded | TimeLimitExceeded):
        return _("The job took longer than its time limit.")
    text = str(exception)
    if type(exception).__module__ == "builtins" or not text:
        return "".join(tracebacks.format_exception_only(exception)).strip()
    return text


def _result_columns(result: Any) -> dict[str, Any]:
    """The return value for the row, or why it is not there."""
    try:
        text = json.dumps(result)
    except (TypeError, ValueError):
        return {"result": None, "error": _("The result is not JSON and is not shown.")}
    if len(text) > conf.current().result_max_bytes:
        return {"result": None, "error": _("The result is too large to be shown. Attach it as a file.")}
    return {"result": result, "error": ""}


def _on_shutdown(**kwargs: Any) -> None:
    reporter().flush(FLUSH_SECONDS)
