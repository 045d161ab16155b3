"""Celery's signals as changes of state.

`task_prerun`, success, retry and ordinary failures fire in the process that runs the task; revokes, hard time
limits and lost workers in the worker's main process, which has no live job and writes the row by itself.
"""

import json
import logging
import traceback as tracebacks
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from billiard.exceptions import SoftTimeLimitExceeded, TimeLimitExceeded, WorkerLostError
from celery import signals
from celery.exceptions import Ignore, Reject
from django.db import DatabaseError, InterfaceError, connections, router
from django.utils import timezone
from django.utils.translation import gettext as _

from status import channel, clean, conf, languages
from status.call_off import call_off
from status.headers import header
from status.jobs import lose, tell_parent
from status.live import JobCancelled, LiveJob, current_job, set_current
from status.models import Job
from status.outbox import ATTEMPT_HEADER, MEMBER_HEADER, Membership, json_of
from status.progress import JobLogHandler
from status.reporter import reporter
from status.sources import children, pools, remote, stopping
from status.sources.claim import adopted, attempt_of, claim, most_attempts
from status.spelling import figure
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
    signals.worker_init.connect(_load_layer, dispatch_uid=uid, weak=False)
    signals.after_setup_task_logger.connect(_listen_to_loggers, dispatch_uid=uid, weak=False)
    _listen_to_loggers()


def _load_layer(**kwargs: Any) -> None:
    """Load the channel layer's code once, before the pool forks: half a second that the first jobs would wait."""
    channel.get_layer()


def _listen_to_loggers(logger: logging.Logger | None = None, **kwargs: Any) -> None:
    """Show what the loggers write as log lines; said again when Celery has set up its `logger` for tasks."""
    ours = (JobLogHandler, logging.NullHandler)
    if logger is not None and all(isinstance(handler, ours) for handler in logger.handlers):
        # Celery cuts it off from the root's handlers, and gives it one of its own only if it finds none.
        logger.propagate = True
    for name in conf.current().loggers:
        target = logging.getLogger(name)
        if not any(isinstance(handler, JobLogHandler) for handler in target.handlers):
            target.addHandler(JobLogHandler())


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
    live.sent_next = True


def _on_prerun(task_id: str, task: Any, **kwargs: Any) -> None:
    request = task.request
    set_current(None)
    if not request.is_eager:
        _renew_connections()
    attempt = attempt_of(request) or adopted(task, request)
    if attempt is None:
        return
    place = header(request, MEMBER_HEADER)
    live = LiveJob(
        UUID(task_id),
        attempt=attempt,
        member=Membership.from_wire(place) if place else None,
        worker=str(request.hostname or ""),
        eager=bool(request.is_eager),
        stoppable=stopping.has_own_process() and not request.is_eager,
    )
    _claim(live, task)
    set_current(live)
    if not live.refused:
        reporter().begin(live)


def _renew_connections() -> None:
    """Where connections outlive their tasks, what Django does between requests."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block:
            connection.close_if_unusable_or_obsolete()


def _claim(live: LiveJob, task: Any) -> None:
    connection = connections[router.db_for_write(Job)]
    was_open = connection.connection is not None and not connection.in_atomic_block and not live.eager
    try:
        try:
            claim(live, task)
        except (DatabaseError, InterfaceError):
            if not was_open:
                raise
            # It may have died while nothing ran here; or between the write and its answer.
            connection.close()
            claim(live, task)
            live.refused = live.refused and not _is_begun_here(live)
    except (DatabaseError, InterfaceError) as error:
        logger.warning("Job %s begins although its row cannot be read: %r", live.id, error)


def _is_begun_here(live: LiveJob) -> bool:
    mine = {"attempt": live.attempt, "worker": live.worker, "started_at": live.started_at}
    return Job.objects.filter(pk=live.id, state=State.RUNNING, **mine).exists()


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
    columns = {"error": error_text(reason.exc), "most_attempts": most_attempts(sender)}
    _end(live, Ending(state=State.WAITING, next_at=_moment(reason.when), columns=columns))
    remote.cancel_if_asked(live)


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
        with languages.of_job(Job.objects.find(task_id)):
            columns["error"] = _timeout_text(sender, exception)
        _end_from_outside(task_id, State.FAILED, failure=failure, **columns)


def _on_lost_process(task_id: str, reason: Any) -> bool:
    """A pool's process has died; whether it ran a job, which has ended by that or will be repeated."""
    if stopping.finish(task_id):
        return True
    job = Job.objects.find(task_id)
    with languages.of_job(job):
        text = _("The process that ran the job died: %s") % reason
    return job is not None and lose(job, text)


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
    return _("The job took longer than its time limit of %s s.") % figure(limit)


def _on_revoked(
    sender: Any, request: Any, terminated: bool, expired: bool, signum: Any = None, **kwargs: Any
) -> None:
    # Text: the pool found the process dead, after `stopping` had sent it a signal; for this task, or for the
    # one before, which did not heed it. Who terminates a task by Celery's own revoke gives a number.
    if terminated and isinstance(signum, str) and _on_lost_process(request.id, signum):
        return
    attempt = attempt_of(request) or adopted(sender, request)
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
            with languages.of_job(job):
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
    elif state is None and (limit := pools.passed_limit()) is not None:
        columns = {"error": _timeout_text(kwargs["task"], limit)}
        reporter().end(live, Ending(state=State.FAILED, failure=Failure.TIMEOUT, columns=columns))
    elif state is None and pools.was_revoked(task_id):
        # Where tasks are greenlets they end here, while the main greenlet says that they are revoked.
        _end_cancelled(live)
    elif isinstance(retval, Ignore) and live.sent_next:
        # `self.replace(other.s())` has sent another task under its id.
        if live.cancel_requested_at is not None:
            _end_cancelled(live)
        else:
            reporter().end(live, Ending(state=State.WAITING, next_at=timezone.now()))
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
    if live.fenced and live.cancel_requested_at is None and ending.state != State.SUCCEEDED:
        # It was stopped because its worker was taken for lost; the job may be waiting for its repetition.
        ending = Ending(state=State.WAITING)
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
    job = Job.objects.find(task_id)
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
