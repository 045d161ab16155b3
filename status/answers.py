"""Answers that are kept for a moment, so that many who ask cost as much as one, and none waits for what hangs."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from typing import Any

from django.utils import timezone

from status import health
from status.events import TopicEvent

MOST_KEPT = 50
FIRST_PATIENCE_SECONDS, PATIENCE_SECONDS = 0.25, 0.03
"""So long the first who asks waits, and later ones, who then get what is known."""


class Kept:
    """Values that are read anew after a while, each by one thread while others wait for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: dict[str, tuple[float, TopicEvent]] = {}

    def get(self, topic: str, seconds: float, read: Callable[[], dict[str, Any]]) -> TopicEvent:
        """The value of `topic`, not older than `seconds`; else what `read` returns now."""
        with self._lock:
            held = self._events.get(topic)
            if held is not None and time.monotonic() - held[0] < seconds:
                return held[1]
            version = max(time.time_ns() // 1000, held[1].version + 1 if held else 0)
            event = TopicEvent(topic=topic, version=version, payload=read(), at=timezone.now())
            self._events.pop(topic, None)
            while len(self._events) >= MOST_KEPT:
                self._events.pop(next(iter(self._events)))
            self._events[topic] = time.monotonic(), event
            return event

    def clear(self) -> None:
        """Forget all; for who has just changed something, and for tests."""
        with self._lock:
            self._events.clear()


class Aside:
    """Something that is asked in a thread of its own; who wants to know gets the last answer.

    Args:
        name: what it is, its own.
        seconds: how long an answer is good.
    """

    def __init__(self, name: str, seconds: float) -> None:
        self._name, self._seconds = name, seconds
        self._asked: Future[Any] | None = None
        self._asked_at = 0.0
        self._last: tuple[Any, BaseException | None] | None = None

    def ask(self, work: Callable[[], Any]) -> tuple[Any, BaseException | None]:
        """What `work` returned lately, or what it raised; None twice while nothing is known."""
        self._take()
        if self._asked is None or (self._asked.done() and self._age >= self._seconds):
            self._asked, self._asked_at = health.in_thread(self._name, work), time.monotonic()
        if not self._asked.done():
            wait([self._asked], FIRST_PATIENCE_SECONDS if self._last is None else PATIENCE_SECONDS)
            self._take()
        return self._last or (None, None)

    @property
    def _age(self) -> float:
        return time.monotonic() - self._asked_at

    def _take(self) -> None:
        """Note what came of the last time, if anything did."""
        if self._asked is None:
            return
        if self._asked.done():
            error = self._asked.exception()
            self._last = (None, error) if error is not None else (self._asked.result(), None)
        elif self._age > health.CHECK_SECONDS:
            self._last = None, TimeoutError(f"{self._name}: no answer within {health.CHECK_SECONDS} s")
