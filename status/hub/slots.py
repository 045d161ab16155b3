"""A slot per connection: what has not been sent yet is replaced by what is newer."""

import asyncio
import contextlib
import logging
import struct
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property

from status.counters import counters

logger = logging.getLogger(__name__)

Place = tuple[int, int]
"""Where a log line stands: its attempt, and its number in that."""

NOWHERE: Place = (0, 0)

CLOSE_SECONDS = 5.0
SEND_SECONDS = 60.0
"""A peer that takes nothing for so long is closed; daphne never says that it is slow, uvicorn waits."""


def packed(text: str) -> bytes:
    """`text` as one unmasked WebSocket frame (RFC 6455, 5.2).

    >>> packed("hi")
    b'\\x81\\x02hi'
    """
    payload = text.encode()
    size = len(payload)
    if size < 126:
        return struct.pack("!BB", 0x81, size) + payload
    if size < 65_536:
        return struct.pack("!BBH", 0x81, 126, size) + payload
    return struct.pack("!BBQ", 0x81, 127, size) + payload


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Fragments by region id, those of cells by `region/cell`, and the log regions that have new lines."""

    parts: dict[str, str] = field(default_factory=dict)
    logs: dict[str, "LogFeed"] = field(default_factory=dict)

    @cached_property
    def text(self) -> str:
        """The fragments as one message, joined once for all who get this frame."""
        return "".join(self.parts.values())

    @cached_property
    def size(self) -> int:
        """The text's length in bytes."""
        return len(self.text.encode())

    @cached_property
    def packed(self) -> bytes:
        """The text as it goes over the wire, made once for all whose server takes it like that."""
        return packed(self.text)

    def then(self, newer: "Frame") -> "Frame":
        """This frame with what `newer` replaces; a whole region replaces its cells, and comes after them."""
        kept = {
            key: part
            for key, part in self.parts.items()
            if key not in newer.parts and key.partition("/")[0] not in newer.parts
        }
        return Frame(parts={**kept, **newer.parts}, logs={**self.logs, **newer.logs})


class LogFeed:
    """The last pieces of a log region, so that each connection can be sent exactly the lines it lacks."""

    MOST_PIECES = 32

    def __init__(self, block: Callable[[], Awaitable[tuple[Place, str]]], most_appended: int) -> None:
        """`block` paints the whole tail; a page is given one after `most_appended` lines, to trim it."""
        self.last = NOWHERE
        self._appended = 0
        self._most_appended = most_appended
        self._pieces: deque[tuple[Place, Place, str]] = deque(maxlen=self.MOST_PIECES)
        self._paint_block = block
        self._block: tuple[Place, str] | None = None
        self.is_due_for_block = True

    def reset(self, last: Place) -> None:
        """What was sent before no longer leads to the tail, which ends at `last`."""
        self._pieces.clear()
        self._block = None
        self.last, self._appended = last, 0
        self.is_due_for_block = False

    def push(self, last: Place, fragment: str, count: int) -> None:
        """The `count` lines up to `last`, as an appending fragment."""
        self._pieces.append((self.last, last, fragment))
        self._block = None
        self.last = last
        self._appended += count
        self.is_due_for_block = self._appended > self._most_appended

    def pieces_after(self, place: Place | None) -> str | None:
        """Fragments that bring a page which ends at `place` up to date; None when some are gone."""
        found, at = [], place
        for before, last, fragment in self._pieces:
            if before == at:
                found.append(fragment)
                at = last
        return "".join(found) if at == self.last else None

    async def block(self) -> tuple[Place, str]:
        """The place of the tail's last line, and the tail as a replacing fragment."""
        if self._block is None:
            self._block = await self._paint_block()
        return self._block


def hand_out(frame: Frame, connections: Iterable["Connection"]) -> None:
    """Put `frame` to all who have had their first one; nearly all take it at once."""
    if frame.logs:
        for connection in connections:
            if connection.ready:
                connection.put(frame)
        return
    packed, written = frame.packed, 0
    for connection in connections:
        write = connection.direct
        if write is not None and write(packed):
            written += 1
        elif connection.ready:
            connection.put(frame)
    counters.frame_bytes.observe(len(packed), written)


class Connection:
    """One socket: its slot, its place in the logs, and while something waits, the task that writes to it."""

    __slots__ = (
        "_close",
        "_ended",
        "_pending",
        "_send",
        "_since",
        "_task",
        "_write",
        "direct",
        "log_ends",
        "ready",
        "session",
        "user",
    )

    def __init__(
        self,
        *,
        send: Callable[[str], Awaitable[None]],
        close: Callable[[int], Awaitable[None]],
        user: str,
        session: str,
        write: Callable[[bytes], bool] | None = None,
    ) -> None:
        """`write` takes a packed frame at once, or says that it cannot now; then `send` is awaited."""
        self._send = send
        self._close = close
        self._write = write
        self.direct: Callable[[bytes], bool] | None = None
        """`write`, while frames may go out by it: the first was sent, and nothing waits."""
        self.ready = False
        self._pending: Frame | None = None
        self._task: asyncio.Task[None] | None = None
        self._since: float | None = None
        self._ended = False
        self.user = user
        self.session = session
        self.log_ends: dict[str, Place] = {}

    def put(self, frame: Frame) -> None:
        """Send `frame`, at once if the socket takes it; else what comes meanwhile replaces it."""
        if self._task is not None:
            counters.frames_replaced += self._pending is not None
            self._pending = frame if self._pending is None else self._pending.then(frame)
        elif not self._ended and not frame.logs and self._write is not None and self._write(frame.packed):
            counters.frame_bytes.observe(len(frame.packed))
            self.direct = self._write
        elif not self._ended:
            self.direct = None
            self._pending = frame
            self._task = asyncio.get_running_loop().create_task(self._drain())

    def is_stuck(self, now: float) -> bool:
        """Whether its peer has taken nothing for `SEND_SECONDS`; `now` is the loop's time."""
        return self._since is not None and now - self._since > SEND_SECONDS

    def stop(self) -> None:
        """Send nothing more."""
        self._ended = True
        self.direct = None
        if self._task is not None:
            self._task.cancel()

    async def close(self, code: int, last: str = "") -> None:
        """Send `last` and close."""
        self.stop()
        with contextlib.suppress(Exception):
            # A peer that takes nothing must not hold who closes the others.
            async with asyncio.timeout(CLOSE_SECONDS):
                if last:
                    await self._send(last)
                await self._close(code)

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while (frame := self._pending) is not None:
                self._pending = None
                text = frame.text if not frame.logs else frame.text + await self._log_text(frame)
                if text:
                    self._since = loop.time()
                    await self._send(text)
                    counters.frame_bytes.observe(len(text.encode()) if frame.logs else frame.size)
                    self._since = None
        except Exception as error:
            logger.debug("A socket went away while it was written to: %r", error)
            self._ended = True
            with contextlib.suppress(Exception):
                await self._close(1011)
        finally:
            self._task = self._since = None
            self.direct = None if self._ended else self._write

    async def _log_text(self, frame: Frame) -> str:
        texts = []
        for region, feed in frame.logs.items():
            text, end = feed.pieces_after(self.log_ends.get(region)), feed.last
            if text is None:
                end, text = await feed.block()
            self.log_ends[region] = end
            texts.append(text)
        return "".join(texts)
