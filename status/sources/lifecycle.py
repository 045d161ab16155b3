"""Celery's signals as changes of state.

`task_prerun`, success, retry and ordinary failures fire in the process that runs the task; revokes, hard time
limits and lost workers in the worker's main process, which has no live job and writes the row by itself.
"""

import json
import logging
import traceback as tracebacks
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
from functools import wraps
from typing import Any
from uuid import UUID

from billiard.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded, WorkerLostError
from celery import signals
from celery.exceptions import Ignore, Reject
from django.db import DatabaseError, InterfaceError
from django.utils import timezone
from django.utils.translation import gettext as _

from status import channel, clean, conf
from status.call_off import call_off
from status.events import ListEvent
from status.jobs import ATTEMPT_HEADER, as_json, lose, title_of
from status.live import JobCancelled, LiveJob, current_job, set_current
from status.models import FRESH, Job
from status.progress import JobLogHandler
from status.reporter import Ending, reporter
from status.sources import remote
from status.states import Failure, State

logger = logging.getLogger(__name__)

LONGEST_TRACEBACK = 65_536
FLUSH_SECONDS = 5.0


def connect() -> None:
    """Listen to Celery; called once when the app is ready."""
    uid = "status.lifecycle"
    signals.worker_init.connect(_guard_tasks, dispatch_uid=uid, weak=False)
    signals.before_task_publish.connect(_on_publish, dispatch_uid=uid, weak=False)
    signals.task_prerun.connect(_on_prerun, dispatch_uid=uid, weak=False)
    signals.task_success.connect(_on_success, dispatch_uid=uid, weak=False)
    signals.task_retry.connect(_on_retry, dispatch_uid=uid, weak=False)
    signals.task_failure.connect(_on_failure, dispatch_uid=uid, weak=False)
    signals.task_revoked.connect(_on_revoked, dispatch_uid=uid, weak=False)
    signals.task_postrun.connect(_on_postrun, dispatch_uid=uid, weak=False)
    signals.worker_process_shutdown.connect(_on_shutdown, dispatch_uid=uid, weak=False)
    signals.worker_shutdown.connect(_on_shutdown, dispatch_uid=uid, weak=False)
    signals.after_setup_task_logger.connect(_listen_to_loggers, dispatch_uid=uid, weak=False)
    _listen_to_loggers()


def _listen_to_loggers(**kwargs: Any) -> None:
    """Show what the loggers write as log lines; said again when Celery has cleared their handlers."""
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


def _on_publish(headers: dict[str, Any] | None = None, **kwargs: Any) -> None:
    """A message that a job sends under its own id is its retry: the next attempt."""
    live = current_job()
    if live is not None and headers is not None and headers.get("id") == str(live.id):
        headers[ATTEMPT_HEADER] = live.attempt + 1
        live.sent_next = True


def _on_prerun(task_id: str, task: Any, **kwargs: Any) -> None:
    request = task.request
    set_current(None)
    attempt = attempt_of(request) or _adopted(task, request)
    if attempt is None:
        return
    live = LiveJob(
        UUID(task_id),
        attempt=attempt,
        worker=str(request.hostname or ""),
        eager=bool(request.is_eager),
    )
    try:
        _claim(live, task)
    except (DatabaseError, InterfaceError) as error:
        logger.warning("Job %s begins although its row cannot be read: %r", task_id, error)
    set_current(live)
    if not live.refused:
        reporter().begin(live)


def _adopted(task: Any, request: Any) -> int | None:
    """Make a job of a run that `STATUS["TRACK"]` asks for.

    Returns its attempt; None for any other run, and for one of which no row can be made.
    """
    if not any(fnmatchcase(task.name, pattern) for pattern in conf.current().track):
        return None
    try:
        return _adopt(task, request)
    except (DatabaseError, InterfaceError, TypeError, ValueError) as error:
        # Its arguments are not JSON, or its id is no UUID.
        logger.warning("Task %s[%s] runs, but is no job: %r", task.name, request.id, error)
        return None


def _adopt(task: Any, request: Any) -> int:
    schedule = str(getattr(request, "periodic_task_name", None) or "")
    signature = task.signature(request.args, request.kwargs, queue=_queue_of(request))
    job, _made = Job.objects.get_or_create(
        pk=UUID(request.id),
        defaults={
            "task": task.name,
            "title": (schedule or title_of(task.name))[:255],
            "schedule": schedule[:200],
            "signature": as_json(signature),
            "sent_at": timezone.now(),
            "repeatable": bool(task.acks_late),
        },
    )
    if _made:
        channel.publish(*(ListEvent(scope=scope) for scope in channel.scopes(None)))
    return job.attempt if job.state == State.QUEUED else job.attempt + 1


def _queue_of(request: Any) -> str:
    return str((request.delivery_info or {}).get("routing_key") or "")


def _claim(live: LiveJob, task: Any) -> None:
    """Begin an attempt in the row, or mark `live` as refused.

    A message says which attempt it asks for, and each attempt begins once: a message that comes again, late,
    or after the job has ended, is not executed. Whether a silent worker is dead is for the sweep to say.
    """
    columns: dict[str, Any] = {
        "started_at": live.started_at,
        "heartbeat_at": live.started_at,
        "worker": live.worker,
        "queue": _queue_of(task.request),
        "next_at": None,
    }
    live.seq = 1
    # What waits for a poll is not queued; the polls of ten thousand jobs make it worth while to know.
    begun = not remote.is_poll(task.request) and Job.objects.advance(
        live.id, State.RUNNING, attempt=live.attempt, seq=1, only_from=[State.QUEUED], **columns
    )
    if begun and live.attempt == 1:
        return
    held = Job.objects.filter(pk=live.id).first()
    if held is not None and not begun and _may_follow(held, live.attempt):
        live.attempt = held.attempt + 1
        if held.poll_signature is not None:
            columns |= remote.go_on(live, held, task.request)
        else:
            live.polls = held.polls
            columns = FRESH | {"sent_at": held.sent_at, "most_attempts": _most_attempts(task)} | columns
        begun = Job.objects.advance(live.id, State.RUNNING, attempt=live.attempt, seq=1, **columns)
    elif held is not None:
        live.polls = held.polls
    if held is not None and begun:
        live.file_count = held.file_count
        return
    logger.info("Job %s is not executed: %s", live.id, held.state if held else "its row is gone")
    live.refused = True


def _may_follow(held: Job, attempt: int) -> bool:
    """Whether a message for `attempt` may begin the attempt after the one that `held` is in."""
    if held.is_cancelling and not (held.state == State.RUNNING and attempt <= held.attempt):
        # It was asked to stop and has sent its retry before it could hear of that.
        Job.objects.advance(held.pk, State.CANCELLED, attempt=held.attempt)
        call_off(held.pk)
        return False
    if held.poll_at is not None:
        # A message that comes again must not bring the poll after its own forward.
        return held.state == State.WAITING and attempt == held.attempt + 1
    if held.state == State.WAITING:
        return attempt <= held.attempt + 1
    return held.state == State.RUNNING and attempt == held.attempt + 1


def _most_attempts(task: Any) -> int | None:
    return None if task.max_retries is None else task.max_retries + 1


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
        return _end_cancelled(live)
    columns = {"error": error_text(reason.exc), "most_attempts": _most_attempts(sender)}
    _end(live, Ending(state=State.WAITING, next_at=_moment(reason.when), columns=columns))


def _moment(when: Any) -> datetime:
    """When a retry is due; Celery gives seconds or a moment."""
    if isinstance(when, datetime):
        return when if when.tzinfo else when.replace(tzinfo=UTC)
    return timezone.now() + timedelta(seconds=when or 0)


def _on_failure(
    sender: Any, task_id: str, exception: BaseException, einfo: Any = None, **kwargs: Any
) -> None:
    live = current_job()
    failure = failure_of(exception)
    error = error_text(exception)
    if failure == Failure.TIMEOUT:
        error = _timeout_text(sender, exception)
    trace = clean.text(getattr(einfo, "traceback", "") or "")[-LONGEST_TRACEBACK:]
    columns = {"error": error, "traceback": trace}
    if live is not None and str(live.id) == task_id:
        _end(live, Ending(state=State.FAILED, failure=failure, columns=columns))
        if isinstance(exception, remote.DeadlinePassed):
            call_off(live.id)
    elif failure == Failure.WORKER_LOST:
        job = Job.objects.filter(pk=task_id).first()
        if job is not None:
            lose(job, _("The process that ran the job died: %s") % exception)
    elif failure == Failure.TIMEOUT:
        _end_from_outside(task_id, State.FAILED, failure=failure, **columns)


def _timeout_text(task: Any, exception: BaseException) -> str:
    """Which limit was passed, in seconds."""
    if isinstance(exception, remote.DeadlinePassed):
        return str(exception)
    is_hard = isinstance(exception, TimeLimitExceeded)
    limit = exception.args[0] if exception.args else None
    if not isinstance(limit, int | float):
        hard, soft = (getattr(task.request, "timelimit", None) or (None, None))[:2]
        limit = (hard or task.time_limit) if is_hard else (soft or task.soft_time_limit)
    if limit is None:
        return _("The job took longer than its time limit.")
    return _("The job took longer than its time limit of %g s.") % limit


def _on_revoked(sender: Any, request: Any, terminated: bool, expired: bool, **kwargs: Any) -> None:
    attempt = attempt_of(request) or _adopted(sender, request)
    if attempt is None:
        return
    if expired:
        _expire(request.id, attempt)
    else:
        _end_from_outside(request.id, State.CANCELLED)
        call_off(UUID(request.id))


def _expire(task_id: str, attempt: int) -> None:
    """A message was too old to begin `attempt`; one that came twice says nothing about what has begun."""
    for job in Job.objects.filter(pk=task_id, state__in=[State.QUEUED, State.WAITING]):
        # What a task has put back comes under its own attempt again, and at no certain time.
        is_own = attempt == job.attempt and (job.state == State.QUEUED or job.next_at is None)
        if is_own or (job.state == State.WAITING and attempt == job.attempt + 1):
            error = _("The job expired before a worker could begin it.")
            columns = {"failure": Failure.TIMEOUT, "error": error, "only_from": [job.state]}
            _end_from_outside(task_id, State.FAILED, **columns)


def _on_postrun(task_id: str, state: str | None, retval: Any, **kwargs: Any) -> None:
    live = current_job()
    set_current(None)
    if live is None or live.refused or not reporter().reports(live):
        return
    # Neither success, failure nor retry was signalled.
    if isinstance(retval, remote.PollAgain):
        remote.wait(live, retval)
    elif isinstance(retval, JobCancelled):
        _end_cancelled(live)
    elif isinstance(retval, Reject) and getattr(retval, "requeue", False):
        reporter().end(live, Ending(state=State.WAITING))
    elif isinstance(retval, Ignore) and live.sent_next:
        # `self.replace(other.s())` has sent another task under its id.
        if live.cancel_requested_at is not None:
            _end_cancelled(live)
        else:
            reporter().end(live, Ending(state=State.WAITING, next_at=timezone.now()))
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
    if live.fenced and live.cancel_requested_at is None and ending.state != State.SUCCEEDED:
        # It was stopped because its worker was taken for lost; the job may be waiting for its repetition.
        ending = Ending(state=State.WAITING)
    if reporter().reports(live):
        reporter().end(live, ending)


def _end_cancelled(live: LiveJob) -> None:
    _end(live, Ending(state=State.CANCELLED))
    call_off(live.id)


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
    if isinstance(exception, SoftTimeLimitExceeded | TimeLimitExceeded | remote.DeadlinePassed):
        return Failure.TIMEOUT
    return Failure.WORKER_LOST if isinstance(exception, WorkerLostError) else Failure.ERROR


def error_text(exception: BaseException | None) -> str:
    """What the job's owner reads: the message; with the class for Python's own terse ones."""
    if exception is None:
        return ""
    text = clean.text(exception)
    if type(exception).__module__ == "builtins" or not text:
        return clean.text("".join(tracebacks.format_exception_only(exception)).strip())
    return text


def _result_columns(result: Any) -> dict[str, Any]:
    """The return value for the row, or why it is not there."""
    try:
        text = json.dumps(result, allow_nan=False, ensure_ascii=False)
        storable = "\\u0000" not in text and text.encode()
    except (TypeError, ValueError):
        storable = b""
    if not storable:
        return {"result": None, "error": _("The result is not JSON and is not shown.")}
    if len(text) > conf.current().result_max_bytes:
        return {"result": None, "error": _("The result is too large to be shown. Attach it as a file.")}
    return {"result": result, "error": ""}


def _on_shutdown(**kwargs: Any) -> None:
    reporter().flush(FLUSH_SECONDS)
