"""What comes in over a socket: how much of it is taken, and the thread in which it is done."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

from channels.db import database_sync_to_async

from status import conf, outbox

AT_ONCE_SECONDS = 2
"""What may be sent in so many seconds may also come at once."""

T = TypeVar("T")


class Beyond(Exception):
    """A message that is not taken."""


class TooFast(Beyond):
    """More messages than `STATUS["SOCKET_MESSAGES_PER_SECOND"]`."""


class TooLarge(Beyond):
    """More bytes than `STATUS["SOCKET_MESSAGE_BYTES"]`."""


class NotText(Beyond):
    """A binary message."""


class Allowance:
    """What one socket may send: on average so many messages a second, each of so many bytes at most."""

    def __init__(self) -> None:
        self._credit, self._credited_at = float(at_once()), time.monotonic()

    def take(self, text: str | None) -> str:
        """The text of a message that is within the limits.

        Args:
            text: as it came; None if the message was binary.

        Raises:
            Beyond: which of the limits it does not keep; it shall be dropped, and its sender told.

        Example:
            >>> Allowance().take("{}")
            '{}'
        """
        rate, now = conf.current().socket_messages_per_second, time.monotonic()
        self._credit = min(self._credit + (now - self._credited_at) * rate, at_once())
        self._credited_at = now
        if self._credit < 1:
            raise TooFast
        self._credit -= 1
        if text is None:
            raise NotText
        most = conf.current().socket_message_bytes
        if len(text) > most or len(text.encode("utf-8", "surrogatepass")) > most:
            raise TooLarge
        return text


def at_once() -> int:
    """So many messages may come together."""
    return max(int(conf.current().socket_messages_per_second * AT_ONCE_SECONDS), 1)


async def in_thread(work: Callable[..., T], *args: Any) -> T:
    """Call `work` in a thread of its own, for sockets have no request whose thread it could be."""

    def run() -> T:
        try:
            return work(*args)
        finally:
            # As after a request.
            outbox.note_sent()

    return await database_sync_to_async(run, thread_sensitive=False)()  # type: ignore[no-any-return]
