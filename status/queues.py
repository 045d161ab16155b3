"""Celery's queues: where a task goes, how many messages wait, which are paused."""

import logging
from collections.abc import Iterable
from functools import cache
from typing import Any

from celery import current_app
from django.db import transaction
from django.utils import timezone

from status import channel, computed
from status.computed import HOUSE
from status.models import Queue, Topic

logger = logging.getLogger(__name__)

BROKER_SECONDS = 2
COMMAND = "status_queues"
"""The remote-control command by which workers look at once which queues are paused."""
SAMPLES = "status.depths"
"""The topic that keeps the depths of the last minute; nobody is told of it."""
SAMPLE_SECONDS = 60.0


@cache
def queue_of(task: str) -> str:
    """The queue that Celery's routes choose for a task.

    >>> queue_of("status.sweep")
    'broadcast'
    """
    queue = current_app.amqp.router.route({}, task).get("queue")
    return str(getattr(queue, "name", queue) or current_app.conf.task_default_queue)


def routed() -> set[str]:
    """The queues that this project's tasks go to, and those in Celery's settings."""
    return {queue_of(name) for name in current_app.tasks} | set(current_app.amqp.queues)


def read_depths(also: Iterable[str] = ()) -> dict[str, int | None]:
    """How many messages wait in each queue that a task goes to; None where the broker cannot say.

    Args:
        also: further queues.

    Raises:
        Exception: what the broker's client raises when it does not answer within two seconds.

    Example:
        >>> read_depths()
        {'broadcast': 0, 'default': 12}
    """
    depths: dict[str, int | None] = {}
    with current_app.connection_for_read(connect_timeout=BROKER_SECONDS) as connection:
        connection.ensure_connection(max_retries=1, interval_start=0, timeout=BROKER_SECONDS)
        for queue in sorted(routed() | set(also)):
            # Asking for a queue that is not there closes a channel of AMQP; in Redis it is just empty.
            asked: Any
            with connection.channel() as asked:
                try:
                    depths[queue] = int(asked.queue_declare(queue=queue, passive=True).message_count)
                except connection.channel_errors:
                    depths[queue] = 0
                except (NotImplementedError, TypeError):
                    depths[queue] = None
    return depths


def sample_depths(also: Iterable[str] = ()) -> None:
    """Note the depths of now beside those of the last minute, for the rates; a broker that is down is left alone."""
    try:
        depths = read_depths(also)
    except Exception as error:
        # Brokers have errors of their own.
        logger.warning("The depths of the queues are not known: %r", error)
        return
    now = timezone.now()
    held = Topic.objects.filter(pk=SAMPLES).first()
    since = now.timestamp() - SAMPLE_SECONDS
    samples = [s for s in (held.payload.get("samples", []) if held else []) if s[0] >= since]
    samples.append([now.timestamp(), depths])
    columns = {"payload": {"samples": samples}, "updated_at": now}
    if not Topic.objects.filter(pk=SAMPLES).update(**columns):
        Topic.objects.bulk_create([Topic(name=SAMPLES, **columns)], ignore_conflicts=True)


def paused() -> set[str]:
    """The names of the queues that are paused."""
    return set(Queue.objects.filter(paused_at__isnull=False).values_list("name", flat=True))


def pause(name: str, *, by: Any = None) -> bool:
    """Have no worker take messages from a queue any more; they wait there until it is resumed.

    Workers that start later keep to it as well. What a worker has fetched before still runs. A worker that the
    broker cannot reach just now learns of it within `WORKER_SECONDS`.

    Args:
        name: the queue's.
        by: the user who does it.

    Returns:
        Whether it was not paused before.

    Example:
        >>> pause("default", by=request.user)
        True
    """
    Queue.objects.bulk_create([Queue(name=name)], ignore_conflicts=True)
    changed = Queue.objects.filter(pk=name, paused_at=None).update(paused_at=timezone.now(), paused_by=by)
    transaction.on_commit(_tell_all)
    return bool(changed)


def resume(name: str) -> bool:
    """Have workers take messages from a paused queue again: those that did before, and no others.

    Args:
        name: the queue's.

    Returns:
        Whether it was paused.

    Example:
        >>> resume("default")
        True
    """
    gone, _rows = Queue.objects.filter(pk=name, paused_at__isnull=False).delete()
    transaction.on_commit(_tell_all)
    return bool(gone)


def _tell_all() -> None:
    """Have pages and workers look at once; the rows are the truth, and both look by themselves as well."""
    computed.forget(HOUSE)
    channel.publish_change(HOUSE)
    try:
        with current_app.connection_for_write(connect_timeout=BROKER_SECONDS) as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=BROKER_SECONDS)
            current_app.control.broadcast(COMMAND, connection=connection)
    except Exception as error:
        logger.warning("The workers are not told of the queues, they look within seconds: %r", error)
