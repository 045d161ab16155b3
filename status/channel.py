"""The way to the channel layer: group names, and a thread that sends.

Sending wants a connection that lives: `async_to_sync` makes a new loop and a new connection each time. So each
process has one sender thread, made at the first event after the fork, and `publish` only hands over to it. What
it cannot send it keeps, the newest of each subject, and tries again.
"""

import asyncio
import hashlib
import logging
import os
import time
from collections.abc import Iterable
from typing import Any, Protocol
from uuid import UUID

from channels.layers import get_channel_layer
from django.utils import timezone

from status import conf, pubsub, threads, tracing
from status.counters import counters
from status.events import Event, InboxEvent, JobEvent, ListEvent, LogoutEvent, MembersEvent, TopicEvent

logger = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 5.0
GATHER_PART = 0.2
"""Between two writes, of that between two events of a job; an event after a longer pause waits for nothing."""
UNPACKABLE = (TypeError, ValueError, OverflowError)

PROBE = "status.probe"
"""The type of a message that a hub sends to itself, to see that it comes back."""


def job_group(job_id: UUID) -> str:
    """The group of all who watch one job."""
    return f"status.job.{job_id.hex}"


def topic_group(topic: str) -> str:
    """The group of all who watch a topic; hashed, since a group's name has a narrow alphabet."""
    return f"status.topic.{hashlib.blake2s(topic.encode(), digest_size=16).hexdigest()}"


def list_group(scope: str) -> str:
    """The group of all who watch the list of one owner's jobs, or of `all`."""
    return f"status.list.{hashlib.blake2s(scope.encode(), digest_size=16).hexdigest()}"


def user_group(user_id: str) -> str:
    """The group of all sockets of one user."""
    return f"status.user.{hashlib.blake2s(user_id.encode(), digest_size=16).hexdigest()}"


def group_of(event: Event) -> str:
    """Where an event goes."""
    match event:
        case JobEvent() | MembersEvent():
            return job_group(event.job)
        case TopicEvent():
            return topic_group(event.topic)
        case ListEvent():
            return list_group(event.scope)
        case LogoutEvent() | InboxEvent():
            return user_group(event.user)


def get_layer() -> Any:
    """The channel layer of `STATUS["CHANNEL_LAYER"]`."""
    return get_channel_layer(conf.current().channel_layer)


Place = tuple[str, type]
READ_AGAIN = ListEvent | MembersEvent | InboxEvent
"""These carry nothing, so a flood of them says no more than one: at most one of a place in `PUBLISH_SECONDS`."""


def _place(event: Event) -> Place:
    """Of events with the same place, the newest stands for all."""
    return group_of(event), type(event)


def _message(event: Event) -> dict[str, Any]:
    """The event with when it is sent and, of a job that runs in this process, the context that it runs in."""
    trace = tracing.carried_by(event.job) if isinstance(event, JobEvent) else {}
    return event.to_wire() | {"sent_at": time.time()} | trace


class Sender:
    """One thread; sends what was handed over, of each subject the newest, and all that waits together at once."""

    def __init__(self) -> None:
        self._outbox: dict[Place, Event] = {}
        self._held: dict[Place, Event] = {}
        """Waits for its turn: another one of its place has just been sent."""
        self._sent_at: dict[Place, float] = {}
        """Of what says only that something is to be read again, when it was sent last (monotonic), oldest first."""
        self._rests = True
        self._lock = threads.Lock()
        self._idle = threads.Event()
        self._idle.set()
        self._wake = threads.Event()
        self._thread = threads.Thread(self._run, name="status-sender")

    def put(self, events: Iterable[Event]) -> None:
        """Hand `events` over; never waits for the network."""
        with self._lock:
            for event in events:
                place = _place(event)
                line = self._held if place in self._held else self._outbox
                waiting = line.get(place)
                counters.merged += waiting is not None
                if isinstance(event, JobEvent) and isinstance(waiting, JobEvent):
                    event = event.over(waiting)
                line[place] = event
            self._idle.clear()
            wakes, self._rests = self._rests and bool(self._outbox), self._rests and not self._outbox
        if wakes:
            # Else it comes by anyway, and to wake it costs more than to hand over.
            self._wake.set()

    def flush(self, timeout_seconds: float) -> bool:
        """Wait until all is sent; whether that was within `timeout_seconds`."""
        return self._idle.wait(timeout_seconds)

    def _run(self) -> None:
        layer = get_layer()
        way: Way = _Direct(layer) if pubsub.speaks_for(layer) else _Loop(layer)
        pause, again_at = FIRST_PAUSE_SECONDS, 0.0
        while True:
            self._rest()
            # Who has just sent gathers first: a flood is sent in few writes.
            _sleep(again_at - time.monotonic())
            again_at = time.monotonic() + GATHER_PART * conf.current().publish_seconds
            events = self._take()
            try:
                way.send(events)
                pause = FIRST_PAUSE_SECONDS
            except Exception as error:
                counters.refused += 1
                logger.warning("%d events not sent, next try in %.2g s: %r", len(events), pause, error)
                self._put_back(events)
                _sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            self._settle()

    def _take(self) -> list[Event]:
        """The events whose turn it is; those of another's place wait for the next."""
        now = time.monotonic()
        taken: list[Event] = []
        with self._lock:
            self._let_go(now)
            for place, event in self._outbox.items():
                if not isinstance(event, READ_AGAIN):
                    taken.append(event)
                elif place not in self._sent_at:
                    self._sent_at[place] = now
                    taken.append(event)
                else:
                    self._held[place] = event
            self._outbox.clear()
        return taken

    def _settle(self) -> None:
        """After sending: with nothing left, `put` has to wake the thread."""
        with self._lock:
            self._rests = not self._outbox
            if self._rests and not self._held:
                self._idle.set()

    def _let_go(self, now: float) -> None:
        """Put what was held back and has its turn again into the outbox."""
        while self._sent_at:
            place, at = next(iter(self._sent_at.items()))
            if now - at < conf.current().publish_seconds:
                return
            del self._sent_at[place]
            if place in self._held:
                self._outbox[place] = self._held.pop(place)

    def _rest(self) -> None:
        """Wait until there is something to send."""
        with self._lock:
            if not self._rests:
                return
            first = next(iter(self._sent_at.values()), 0.0) if self._held else None
        pause = conf.current().publish_seconds
        self._wake.wait(None if first is None else max(first + pause - time.monotonic(), 0.0))
        self._wake.clear()

    def _put_back(self, events: Iterable[Event]) -> None:
        """Keep what was not sent, unless something newer of its place waits already."""
        with self._lock:
            for event in events:
                place = _place(event)
                self._sent_at.pop(place, None)
                waiting = self._outbox.get(place)
                if isinstance(event, JobEvent) and isinstance(waiting, JobEvent):
                    event = waiting.over(event)
                self._outbox[place] = event


class Way(Protocol):
    """How events get out of the process."""

    def send(self, events: Iterable[Event]) -> None:
        """Send all of them, in their order; what cannot be packed is dropped, and told in the log.

        Raises:
            Exception: what the channel layer raises while it cannot be reached.
        """


class _Direct:
    """Over a connection of its own, many in one write."""

    def __init__(self, layer: Any) -> None:
        self._layer, self._publisher = layer, pubsub.Publisher(layer)

    def send(self, events: Iterable[Event]) -> None:
        packed = [(group_of(event), data) for event in events if (data := self._packed(event))]
        self._publisher.publish(packed)
        counters.sent += len(packed)

    def _packed(self, event: Event) -> bytes:
        try:
            return bytes(self._layer.serialize(_message(event)))
        except UNPACKABLE as error:
            _drop(event, error)
            return b""


class _Loop:
    """By the layer's own means, in an event loop that lives: with any layer, and among greenlets."""

    def __init__(self, layer: Any) -> None:
        self._layer, self._loop = layer, threads.new_event_loop()
        asyncio.set_event_loop(self._loop)

    def send(self, events: Iterable[Event]) -> None:
        self._loop.run_until_complete(self._send(events))

    async def _send(self, events: Iterable[Event]) -> None:
        for event in events:
            try:
                await self._layer.group_send(group_of(event), _message(event))
                counters.sent += 1
            except UNPACKABLE as error:
                _drop(event, error)


def _drop(event: Event, error: Exception) -> None:
    """It cannot be packed, and will not be the next time either; the row has it all."""
    counters.refused += 1
    logger.error("Event dropped: %r: %r", error, event)


def _sleep(seconds: float) -> None:
    if seconds > 0:
        threads.original("time", "sleep")(seconds)


_sender: Sender | None = None
_making = threads.Lock()


def _get_sender() -> Sender:
    global _sender
    with _making:
        if _sender is None:
            _sender = Sender()
        return _sender


def _forget_after_fork() -> None:
    global _sender, _making
    # The child has the object but not its thread, and the lock may have been held.
    _sender, _making = None, threads.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)


def publish(*events: Event) -> None:
    """Send each event to its group, soon and at most once; never blocks, never raises.

    Events of one subject that wait together are merged: the newest stands for all.
    """
    if not events or get_layer() is None:
        return
    try:
        _get_sender().put(events)
    except Exception:
        logger.exception("Events not handed over: %r", events)


def publish_change(topic: str) -> None:
    """Have whoever shows a topic that is computed read it at once, and not with the next repair."""
    publish(TopicEvent(topic=topic, version=0, payload={}, at=timezone.now()))


def flush(timeout_seconds: float = 1.0) -> bool:
    """Wait until what this process published has been sent; whether it has."""
    return _sender is None or _sender.flush(timeout_seconds)


async def send_probe(hub_channel: str, name: str) -> None:
    """Send a hub a message that says nothing but `name`; raises what the channel layer raises."""
    await get_layer().send(hub_channel, {"type": PROBE, "name": name})


def scopes(owner_id: Any) -> Iterable[str]:
    """The lists that a job of this owner belongs into."""
    return ("all",) if owner_id is None else (str(owner_id), "all")
