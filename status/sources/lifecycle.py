"""Celery's signals as changes of state.

`task_prerun`, success, retry and ordinary failures fire in the process that runs the task; revokes, hard time
limits and lost workers in the worker's main process, which has no live job and writes the row by itself.
"""

import json
import logging
import traceback as tracebacks
from datetime import UTC, datetime, timedelta
from fnmatch import fnmatchcase
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
from status.canvas import title_of
from status.events import ListEvent
from status.jobs import lose, tell_parent
from status.live import JobCancelled, LiveJob, current_job, set_current
from status.models import FRESH, Job
from status.outbox import ATTEMPT_HEADER, MEMBER_HEADER, Membership, as_json, json_of
from status.progress import JobLogHandler
from status.reporter import reporter
from status.sources import children, pools, remote, stopping
from status.states import Failure, State
from status.watch import Ending

logger = logging.getLogger(__name__)

LONGEST_TRACEBACK = 65_536
FLUSH_SECONDS = 5.0


def connect() -> None:
    """Listen to Celery; called once when the app is ready."""
    uid = "status.lifecycle"
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


def attempt_of(request: Any) -> int | None:
    """The attempt that a message asks for; None when the run is no job."""
    attempt: int | None = _header(request, ATTEMPT_HEADER)
    return attempt


def _header(request: Any, name: str) -> Any:
    value = getattr(request, name, None)
    return (getattr(request, "headers", None) or {}).get(name) if value is None else value


def _on_publish(
    headers: dict[str, Any] | None = None, body: Any = None, routing_key: str = "", **kwargs: Any
) -> None:
    """A message that a job sends under its own id is its retry, the next attempt; any other is a member's."""
    live = current_job()
    if live is None or live.refused or headers is None:
        return
    if headers.get("id") != str(live.id):
        children.on_publish(live, headers, body, routing_key)
        return
    headers[ATTEMPT_HEADER] = live.attempt + 1
    if live.member is not None:
        headers[MEMBER_HEADER] = live.member.to_wire()


def _on_prerun(task_id: str, task: Any, **kwargs: Any) -> None:
    request = task.request
    try:
        attempt = attempt_of(request) or _adopted(task)
    except (DatabaseError, InterfaceError) as error:
        logger.warning("Task %s[%s] should be a job, but no row can be made: %r", task.name, task_id, error)
        attempt = None
    if attempt is None:
        set_current(None)
        return
    place = _header(request, MEMBER_HEADER)
    live = LiveJob(
        UUID(task_id),
        attempt=attempt,
        member=Membership.from_wire(place) if place else None,
        worker=str(request.hostname or ""),
        eager=bool(request.is_eager),
        stoppable=stopping.has_own_process() and not request.is_eager,
    )
    try:
        _claim(live, task)
    except (DatabaseError, InterfaceError) as error:
        logger.warning("Job %s begins although its row cannot be read: %r", task_id, error)
    set_current(live)
    if not live.refused:
        reporter().begin(live)


def _adopted(task: Any) -> int | None:
    """Make a job of a run that `STATUS["TRACK"]` asks for; returns its attempt, None if it does not."""
    if not any(fnmatchcase(task.name, pattern) for pattern in conf.current().track):
        return None
    request = task.request
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
        "stoppable": live.stoppable,
        "queue": _queue_of(task.request),
        "next_at": None,
    }
    live.seq = 1
    # What waits for a poll is not queued; the polls of ten thousand jobs make it worth while to know.
    begun = not remote.is_poll(task.request) and _begin(live, columns)
    if begun and live.attempt == 1:
        return
    held = Job.objects.filter(pk=live.id).first()
    if held is None and children.restore(live, task):
        begun = _begin(live, columns)
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


def _begin(live: LiveJob, columns: dict[str, Any]) -> bool:
    columns = {"only_from": [State.QUEUED], **columns}
    return Job.objects.advance(live.id, State.RUNNING, attempt=live.attempt, seq=1, **columns)


def _may_follow(held: Job, attempt: int) -> bool:
    """Whether a message for `attempt` may begin the attempt after the one that `held` is in."""
    if held.is_cancelling:
        # It was asked to stop and has sent its retry before it could hear of that.
        Job.objects.advance(held.pk, State.CANCELLED, attempt=held.attempt)
        call_off(held.pk)
        held.refresh_from_db()
        tell_parent(held)
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
    if live is None or live.refused:
        return
    columns = _result_columns(result)
    if live.member is not None and live.member.passes:
        try:
            columns["output"] = [json_of(result)]
        except (TypeError, ValueError) as error:
            text = _("What follows takes its result, but that cannot be written as JSON: %s") % error
            return _end(live, Ending(state=State.FAILED, failure=Failure.ERROR, columns={"error": text}))
    _end(live, Ending(state=State.SUCCEEDED, columns=columns))


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
        _on_lost_process(task_id, exception)
    elif failure == Failure.TIMEOUT:
        _end_from_outside(task_id, State.FAILED, failure=failure, **columns)


def _on_lost_process(task_id: str, reason: Any) -> bool:
    """A pool's process has died; whether it ran a job, which has ended by that or will be repeated."""
    if stopping.finish(task_id):
        return True
    job = Job.objects.filter(pk=task_id).first()
    return job is not None and lose(job, _("The process that ran the job died: %s") % reason)


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


def _on_revoked(
    sender: Any, request: Any, terminated: bool, expired: bool, signum: Any = None, **kwargs: Any
) -> None:
    # Text: the pool found the process dead, after `stopping` had sent it a signal; for this task, or for the
    # one before, which did not heed it. Who terminates a task by Celery's own revoke gives a number.
    if terminated and isinstance(signum, str) and _on_lost_process(request.id, signum):
        return
    if attempt_of(request) is None:
        return
    if expired:
        error = _("The job expired before a worker could begin it.")
        _end_from_outside(request.id, State.FAILED, failure=Failure.TIMEOUT, error=error)
    else:
        _end_from_outside(request.id, State.CANCELLED)
        call_off(UUID(request.id))


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
    elif state is None and (limit := pools.passed_limit()) is not None:
        columns = {"error": _timeout_text(kwargs["task"], limit)}
        reporter().end(live, Ending(state=State.FAILED, failure=Failure.TIMEOUT, columns=columns))
    elif state is None and pools.was_revoked(task_id):
        # Where tasks are greenlets they end here, while the main greenlet says that they are revoked.
        _end_cancelled(live)
    elif state is None:
        # Something that is no Exception ended the task: the worker, or this job, was told to stop at once.
        if live.stoppable and _was_asked_to_end(live):
            return reporter().leave(live)
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


def _end_cancelled(live: LiveJob) -> None:
    _end(live, Ending(state=State.CANCELLED))
    call_off(live.id)


def _was_asked_to_end(live: LiveJob) -> bool:
    """Whether somebody has cancelled it, perhaps so lately that the reporter does not know yet."""
    try:
        row = Job.objects.filter(pk=live.id, cancel_requested_at__isnull=False)
        return live.cancel_requested_at is not None or row.exists()
    except (DatabaseError, InterfaceError):
        return False


def _end_from_outside(task_id: str, state: str, **columns: Any) -> None:
    """End a job whose process cannot do it any more; only if it is a job and has not ended."""
    job = Job.objects.filter(pk=task_id).first()
    if job is None:
        return
    if Job.objects.advance(job.pk, state, attempt=job.attempt, **columns):
        job.refresh_from_db()
        channel.publish(job.event())
        tell_parent(job)


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
