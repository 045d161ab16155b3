"""daphne's sockets without what only their handshake needed: a page that waits stays open for hours.

As daphne is shipped, each open socket keeps the HTTP request that it began as, with its channel, two sets of headers
and two files; the options of the factory; and a queue of asyncio with four deques.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from daphne.ws_protocol import WebSocketFactory, WebSocketProtocol

HANDSHAKE = (
    *("http_request_data", "http_status_line", "http_headers", "http_response_data"),
    *("http_request_uri", "http_request_params", "websocket_key", "clean_headers", "application_deferred"),
    "_raw_query_string",
)
"""What Autobahn and daphne leave on a protocol, and look at no more once it is open."""


class Inbox:
    """What an application has not received yet: the two methods of a queue that daphne uses, for one reader."""

    __slots__ = ("_arrived", "_messages")

    def __init__(self) -> None:
        self._messages: list[dict[str, Any]] = []
        self._arrived: asyncio.Future[None] | None = None

    def put_nowait(self, message: dict[str, Any]) -> None:
        """Add one; its reader is woken."""
        self._messages.append(message)
        if self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(None)

    async def get(self) -> dict[str, Any]:
        """The oldest; waits for one if there is none."""
        while not self._messages:
            self._arrived = asyncio.get_running_loop().create_future()
            await self._arrived
        self._arrived = None
        return self._messages.pop(0)


class SlimSocket(WebSocketProtocol):  # type: ignore[misc]  # daphne has no types.
    """A socket that forgets its handshake."""

    request: Any
    transport: Any

    def onOpen(self) -> None:  # noqa: N802  # Autobahn's name.
        """The handshake is done."""
        super().onOpen()
        for name in HANDSHAKE:
            self.__dict__.pop(name, None)
        # daphne's log of actions asks for its path, and for nothing else.
        self.request.headers, self.request.params = {}, {}
        # The HTTP channel that the socket began as.
        self.transport.unregisterProducer()
        # A dictionary does not shrink by itself.
        self.__dict__ = dict(self.__dict__)


class SlimFactory(WebSocketFactory):  # type: ignore[misc]
    """Makes sockets that share the options which daphne sets."""

    made: Callable[[], Any] | None = None

    def buildProtocol(self, addr: Any) -> Any:  # noqa: N802  # Twisted's name.
        """A protocol for one connection."""
        if self.made is None:
            # Autobahn copies each option that is not there yet to every protocol, and describes them all for its log.
            options = {name: getattr(self, name) for name in SlimSocket.CONFIG_ATTRS}
            # Some are functions, and none is a method.
            shared = {name: staticmethod(each) if callable(each) else each for name, each in options.items()}
            self.protocol = self.made = type("Socket", (SlimSocket,), {**shared, "CONFIG_ATTRS": ()})
        return super().buildProtocol(addr)
