"""Stopping a job at once, in the worker: its main process ends the process that runs the job.

A process is ended only if it can be nothing else that runs there: in a prefork pool that hands a process its
next task when the result of the last one has come in. The row ends when the process is gone: Celery tells by
a signal that the pool has found it dead, or that the task has left it.
"""

import logging
import os
import signal
import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from billiard.process import current_process
from celery import signals
from django.db import DatabaseError, InterfaceError, close_old_connections
from django.utils.translation import gettext as _

from status import channel, conf, languages
from status.call_off import add_postscript, call_off
from status.models import Job
from status.outbox import ATTEMPT_HEADER
from status.states import State
from status.stop import COMMAND

logger = logging.getLogger(__name__)

GRACE_SECONDS = 5.0
"""So long a process may go on after SIGTERM, which raises SystemExit in the task; then SIGKILL comes."""
GONE_SECONDS = 0.1
LOOK_SECONDS = 0.25
"""So often the pool looks for the process that ends; by itself it may do so only every five seconds."""


@dataclass(slots=True, kw_only=True)
class Stop:
    """A process that is being ended."""

    request: Any
    """Celery's request of the execution."""
    job_id: UUID
    attempt: int
    by: str
    pool: Any
    timer: Any
    told_at: float | None = None
    """When SIGTERM was sent, by the monotonic clock; None: not yet."""


_stops: dict[str, Stop] = {}


def connect() -> None:
    """Listen for a worker that begins; called once when the app is ready."""
    signals.worker_init.connect(_register, dispatch_uid="status.stopping", weak=False)


def _register(**kwargs: Any) -> None:
    """Teach the worker the command. Only here is Celery's worker code imported anyway."""
    from celery.worker.control import control_command

    control_command(name=COMMAND, visible=False)(obey)


def has_own_process() -> bool:
    """Whether this is a process of a prefork pool, and not the worker's only one.

    >>> has_own_process()
    False
    """
    return bool(current_process().name != "MainProcess")


def obey(state: Any, job_id: str, attempt: int, by: str) -> dict[str, str]:
    """The remote-control command: end the process that runs `attempt` of the job.

    Args:
        state: Celery's, of the worker.
        job_id: the job's id as text.
        attempt: which it was when somebody asked; no other one is touched.
        by: who asked.

    Returns:
        `{"ok": ...}`, or `{"error": ...}` with `pool` (it has no processes that can be ended one by one),
        `moved` (the attempt does not run here) or `database`.
    """
    pool, timer = state.consumer.pool, state.consumer.timer
    if not _hands_out_singly(pool):
        return {"error": "pool"}
    request = _request_of(job_id, attempt)
    try:
        if request is None or request.worker_pid is None or not _runs_here(job_id, attempt, state.hostname):
            return {"error": "moved"}
    except (DatabaseError, InterfaceError) as error:
        logger.warning("Job %s is not stopped, its row cannot be read: %r", job_id, error)
        return {"error": "database"}
    known = _stops.get(job_id)
    if known is None or known.request is not request:
        _stops[job_id] = Stop(
            request=request, job_id=UUID(job_id), attempt=attempt, by=by, pool=pool, timer=timer
        )
        _pursue(_stops[job_id])
    elif known.told_at is not None and time.monotonic() - known.told_at >= GRACE_SECONDS:
        # The timer was lost with the connection to the broker.
        _pursue(known)
    return {"ok": "stopping"}


def _hands_out_singly(pool: Any) -> bool:
    """Whether a process has no task but the one that the main process knows of."""
    from celery.concurrency.asynpool import SCHED_STRATEGY_FAIR  # type: ignore[attr-defined]

    return bool(getattr(getattr(pool, "_pool", None), "sched_strategy", None) == SCHED_STRATEGY_FAIR)


def _request_of(job_id: str, attempt: int) -> Any:
    """The execution of the job that a process has accepted for `attempt`, or before; None if there is none.

    A message may ask for an earlier attempt than it got, if it came a second time; never for a later one.
    """
    from celery.worker.state import active_requests

    def asked(request: Any) -> int:
        return int(request.request_dict.get(ATTEMPT_HEADER) or 0)

    mine = [r for r in active_requests if r.id == job_id and asked(r) <= attempt]
    return max(mine, key=lambda r: (asked(r), r.time_start or 0.0), default=None)


def _runs_here(job_id: str, attempt: int, hostname: str) -> bool:
    close_old_connections()
    here = Job.objects.filter(pk=job_id, state=State.RUNNING, attempt=attempt, worker=hostname)
    return here.filter(cancel_requested_at__isnull=False).exists()


def _pursue(stop: Stop) -> None:
    """Send the next signal, and come again; until the task has ended, or its process."""
    from celery.worker.state import active_requests

    if _stops.get(str(stop.job_id)) is not stop:
        return
    pid = stop.request.worker_pid
    if stop.request not in active_requests:
        # It has ended by itself, whatever it did with the signal; or its message goes back to the broker.
        if _is_there(pid):
            del _stops[str(stop.job_id)]
        else:
            _end(stop)
        return
    number = signal.SIGTERM if stop.told_at is None else signal.SIGKILL
    if stop.told_at is None:
        stop.told_at = time.monotonic()
    logger.info("Job %s, attempt %d: %s to process %d", stop.job_id, stop.attempt, number.name, pid)
    stop.pool.terminate_job(pid, number)
    stop.timer.call_after(GRACE_SECONDS, _pursue, (stop,))
    stop.timer.call_after(LOOK_SECONDS, _look, (stop,))


def _look(stop: Stop) -> None:
    """Have the pool take leave of the process if it has ended, which ends the job, and replace it.

    The pool hears of an end when the process has closed its files, a moment before it can be taken leave of.
    """
    if _stops.get(str(stop.job_id)) is stop:
        stop.timer.call_after(LOOK_SECONDS, _look, (stop,))
        stop.pool._pool.maintain_pool()


def finish(task_id: str) -> bool:
    """A task has gone with its process, or leaves it: if by a stop, its job is cancelled when the process is gone.

    Args:
        task_id: the id of Celery's task, which is the job's.

    Returns:
        Whether somebody had stopped it.
    """
    stop = _stops.get(task_id)
    if stop is None:
        return False
    close_old_connections()
    if not Job.objects.filter(pk=stop.job_id, attempt=stop.attempt).exists():
        # That one has ended by itself; this is an attempt after it.
        del _stops[task_id]
        return False
    _end_when_gone(stop)
    return True


def _end_when_gone(stop: Stop) -> None:
    if _is_there(stop.request.worker_pid):
        stop.timer.call_after(GONE_SECONDS, _end_when_gone, (stop,))
    elif _stops.get(str(stop.job_id)) is stop:
        _end(stop)


def _is_there(pid: int) -> bool:
    """Whether a process of the pool has not ended, or not been taken leave of."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _end(stop: Stop) -> None:
    """Cancel the job, and say in its log why."""
    del _stops[str(stop.job_id)]
    close_old_connections()
    if Job.objects.advance(stop.job_id, State.CANCELLED, attempt=stop.attempt):
        channel.publish(*Job.objects.events([stop.job_id]))
        call_off(stop.job_id)
    job = Job.objects.filter(attempt=stop.attempt, state=State.CANCELLED).find(stop.job_id)
    if job is not None:
        with languages.of_job(job):
            text = _("Stopped at once by %s") % stop.by if stop.by else _("Stopped at once")
        add_postscript(stop.job_id, logging.WARNING, text, leave=conf.current().log_buffer)
