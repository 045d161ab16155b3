"""Whether what is sent over the channel layer comes in at the hub of this process."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import uuid4

from status import channel


class Probe:
    """Messages that a hub sends to itself, and who waits for them.

    Args:
        start: makes the hub listen.
        own_channel: the name of its channel, once it listens.
    """

    def __init__(self, start: Callable[[], Awaitable[None]], own_channel: Callable[[], str]) -> None:
        self._start, self._own_channel = start, own_channel
        self._waiting: dict[str, asyncio.Future[None]] = {}

    async def send(self) -> None:
        """Send one, and return when it has come back; how long to wait for that is the caller's matter."""
        await self._start()
        name = uuid4().hex
        arrived = self._waiting[name] = asyncio.get_running_loop().create_future()
        try:
            await channel.send_probe(self._own_channel(), name)
            await arrived
        finally:
            self._waiting.pop(name, None)

    def takes(self, message: dict[str, Any]) -> bool:
        """Whether `message` is a probe, which is no event; who waits for it is told."""
        if message.get("type") != channel.PROBE:
            return False
        arrived = self._waiting.get(message.get("name", ""))
        if arrived is not None and not arrived.done():
            arrived.set_result(None)
        return True
