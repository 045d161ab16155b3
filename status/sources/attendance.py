"""What a worker tells of itself, from its main process: pool, queues, memory, what runs and how much came."""

import dataclasses
import os
import time
from collections import Counter, deque
from collections.abc import Iterable
from typing import Any

import celery
from celery import signals

from status import presence, queues
from status.models import Process
from status.outbox import ATTEMPT_HEADER
from status.presence import Presence
from status.sources import pausing
from status.sources.pools import pool_name
from status.workers import MOST_OTHERS, Execution, Told

RATE_SECONDS = 60.0

_attendance: "Attendance | None" = None


def connect() -> None:
    """Listen for a worker that is ready, and for its end; called once when the app is ready."""
    uid = "status.attendance"
    signals.worker_ready.connect(_on_ready, dispatch_uid=uid, weak=False)
    signals.worker_shutdown.connect(_on_shutdown, dispatch_uid=uid, weak=False)
    signals.task_received.connect(_on_received, dispatch_uid=uid, weak=False)
    pausing.connect(_hurry)


class Attendance:
    """Looks at a worker from its main process.

    Args:
        consumer: Celery's, of the worker.
    """

    def __init__(self, consumer: Any) -> None:
        self._consumer = consumer
        self.received: Counter[str] = Counter()
        """Messages by routing key."""
        self._samples: deque[tuple[float, Counter[str]]] = deque([(time.monotonic(), Counter())])
        self._presence: Presence | None = None

    def begin(self) -> None:
        """Tell of the worker from now on."""
        self._presence = Presence(self._consumer.hostname, Process.Kind.WORKER, self.look)

    def hurry(self) -> None:
        """Look and tell at once."""
        if self._presence is not None:
            self._presence.hurry()

    def end(self) -> None:
        """Tell that the worker stops."""
        if self._presence is not None:
            self._presence.stop()

    def look(self) -> dict[str, Any]:
        """What there is to tell; sees to paused queues on the way."""
        paused = queues.paused()
        self._consumer.call_soon(pausing.settle, self._consumer, paused)
        pool = self._consumer.pool
        name = pool_name(pool)
        children = [p.pid for p in pool._pool._pool] if name == "prefork" else []
        sizes = [presence.memory_bytes(pid) for pid in children]
        active = _active()
        told = Told(
            pid=os.getpid(),
            pool=name,
            concurrency=int(pool.num_processes or 1),
            queues=tuple(sorted({*self._consumer.app.amqp.queues.consume_from} | pausing.held())),
            memory_bytes=presence.memory_bytes(),
            children=len(children),
            children_bytes=sum(size or 0 for size in sizes) if any(sizes) else None,
            active=len(active),
            others=tuple(_others(active)),
            rates=self._rates(),
            celery=celery.__version__,
        )
        return dataclasses.asdict(told)

    def _rates(self) -> dict[str, float]:
        """Messages a second that came of each queue, over the last minute."""
        now, counts = time.monotonic(), Counter(self.received)
        while len(self._samples) > 1 and now - self._samples[1][0] >= RATE_SECONDS:
            self._samples.popleft()
        since, before = self._samples[0]
        self._samples.append((now, counts))
        seconds = max(now - since, 1.0)
        rates: dict[str, float] = {}
        for key, count in (counts - before).items():
            queue = self._queue_of(key)
            rates[queue] = rates.get(queue, 0.0) + count / seconds
        return rates

    def _queue_of(self, routing_key: str) -> str:
        known = self._consumer.app.amqp.queues
        if routing_key in known:
            return routing_key
        found = (name for name, queue in known.items() if queue.routing_key == routing_key)
        return next(found, routing_key)


def _active() -> list[Any]:
    """The requests that have begun in this worker."""
    from celery.worker.state import active_requests

    while True:
        try:
            return list(active_requests)
        except RuntimeError:
            # It changed while it was read, in another thread.
            continue


def _others(active: Iterable[Any]) -> Iterable[Execution]:
    """Those of them that were not sent as jobs, the oldest first."""
    found = [
        Execution(id=request.id, task=request.name, since=request.time_start or time.time())
        for request in active
        if not request.request_dict.get(ATTEMPT_HEADER)
    ]
    return sorted(found, key=lambda execution: execution.since)[:MOST_OTHERS]


def _on_ready(sender: Any, **kwargs: Any) -> None:
    global _attendance
    _attendance = Attendance(sender)
    _attendance.begin()


def _on_received(request: Any, **kwargs: Any) -> None:
    if _attendance is not None:
        _attendance.received[(request.delivery_info or {}).get("routing_key") or ""] += 1


def _on_shutdown(**kwargs: Any) -> None:
    if _attendance is not None:
        _attendance.end()


def _hurry() -> None:
    if _attendance is not None:
        _attendance.hurry()
