"""Whether a message may begin an attempt of a job, and the row of the attempt that it begins."""

import logging
from fnmatch import fnmatchcase
from typing import Any
from uuid import UUID

from django.db import DatabaseError, InterfaceError
from django.db.models.functions import Coalesce, Now
from django.utils import timezone

from status import channel, conf
from status.call_off import call_off
from status.canvas import title_of
from status.events import ListEvent
from status.headers import header
from status.jobs import tell_parent
from status.live import LiveJob
from status.models import FRESH, Job
from status.outbox import ATTEMPT_HEADER, JOB_HEADER, as_json
from status.sources import children, remote
from status.states import State

logger = logging.getLogger(__name__)

SENT_BY_NOW = Coalesce("sent_at", Now())
"""Whoever sent the message may not have noted that yet."""

UNREPORTED = {name: FRESH[name] for name in ("steps", "progress", "rate", "time_left_seconds", "line_count")}
"""What the row of a first attempt holds until its worker reports."""


def attempt_of(request: Any) -> int | None:
    """The attempt that a message asks for; None when the run is no job."""
    attempt: int | None = header(request, ATTEMPT_HEADER)
    return attempt


def adopted(task: Any, request: Any) -> int | None:
    """Make a job of a run that `STATUS["TRACK"]` asks for, or the schedule that it is of.

    Returns its attempt; None for any other run, and for one of which no row can be made.
    """
    is_tracked = any(fnmatchcase(task.name, pattern) for pattern in conf.current().track)
    if not is_tracked and header(request, JOB_HEADER) is None:
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
            "startable": str(header(request, JOB_HEADER) or "")[:100],
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


def claim(live: LiveJob, task: Any) -> None:
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
        live.written = UNREPORTED | {name: columns[name] for name in ("started_at", "worker", "stoppable")}
        return
    held = Job.objects.find(live.id)
    if held is None and children.restore(live, task):
        begun = _begin(live, columns)
        held = Job.objects.find(live.id)
    if held is not None and not begun and _may_follow(held, live.attempt):
        live.attempt = held.attempt + 1
        if held.poll_signature is not None:
            columns |= remote.go_on(live, held, task.request)
        else:
            live.polls = held.polls
            columns = FRESH | {"sent_at": held.sent_at, "most_attempts": most_attempts(task)} | columns
        begun = Job.objects.advance(live.id, State.RUNNING, attempt=live.attempt, seq=1, **columns)
    elif held is not None:
        live.polls = held.polls
    if held is not None and begun:
        live.file_count = held.file_count
        return
    logger.info("Job %s is not executed: %s", live.id, held.state if held else "its row is gone")
    live.refused = True


def _begin(live: LiveJob, columns: dict[str, Any]) -> bool:
    return Job.objects.advance(
        live.id,
        State.RUNNING,
        attempt=live.attempt,
        seq=1,
        only_from=[State.QUEUED],
        sent_at=SENT_BY_NOW,
        **columns,
    )


def _may_follow(held: Job, attempt: int) -> bool:
    """Whether a message for `attempt` may begin the attempt after the one that `held` is in."""
    if held.is_cancelling and not (held.state == State.RUNNING and attempt <= held.attempt):
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


def most_attempts(task: Any) -> int | None:
    """How often Celery runs a task that is retried; None: without end."""
    return None if task.max_retries is None else task.max_retries + 1
