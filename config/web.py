"""daphne for uploads of any size and many sockets: `python -m config.web -p 8000 config.asgi:application`.

It takes daphne's options. As it is shipped, daphne holds a request's body in memory more than once: Twisted
parses multipart forms, of which daphne uses nothing, and daphne puts the whole body into a queue before the
application reads any of it (https://github.com/django/daphne/issues/483). A form of 190 MB took 2.2 GB. Here the
body stays in the temporary file into which Twisted wrote it, and the application reads it piece by piece.
"""

import io
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import daphne.server
from daphne.cli import CommandLineInterface
from daphne.http_protocol import HTTPFactory, WebRequest
from daphne.server import Server
from daphne.ws_protocol import WebSocketProtocol
from twisted.internet.tcp import Server as TCPServer

from config.slim import Inbox, SlimFactory

BODY, INBOX = "config.web.body", "config.web.inbox"
WRITE = "status.write"
PIECE_BYTES = 65_536

Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]


class StreamingRequest(WebRequest):  # type: ignore[misc]  # daphne has no types.
    """A request whose body is left in its file."""

    content: Any

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, parsePOSTFormSubmission=False, **kwargs)

    def process(self) -> None:
        """Hide the body from daphne, which would read it all; the application gets it from `body`."""
        self.body, self.content = self.content, io.BytesIO()
        super().process()


class StreamingFactory(HTTPFactory):  # type: ignore[misc]
    """Makes connections whose requests stream."""

    def buildProtocol(self, addr: Any) -> Any:  # noqa: N802  # Twisted's name.
        """A protocol for one connection."""
        protocol = super().buildProtocol(addr)
        protocol.requestFactory = StreamingRequest
        return protocol


class StreamingServer(Server):  # type: ignore[misc]
    """A server whose applications read the body from its file, and whose sockets are slim."""

    def __init__(self, application: Any, *args: Any, **kwargs: Any) -> None:
        # No coroutine of its own: it would stay as long as the socket.
        def streaming(scope: Message, receive: Receive, send: Any) -> Awaitable[None]:
            body, inbox = scope.pop(BODY, None), scope.pop(INBOX, None)
            if inbox is not None:
                receive = inbox.get
            elif body is not None:
                receive = reader(body, receive)
            answered: Awaitable[None] = application(scope, receive, send)
            return answered

        super().__init__(streaming, *args, **kwargs)

    def create_application(self, protocol: Any, scope: Message) -> Any:
        """Hand over with the scope a request's file, or a socket's short way out; returns where to put messages."""
        if isinstance(protocol, WebSocketProtocol):
            scope.setdefault("extensions", {})[WRITE] = partial(write, protocol)
            scope[INBOX] = inbox = Inbox()
            # The queue of daphne's that it returns is not read.
            return None if super().create_application(protocol, scope) is None else inbox
        if isinstance(protocol, StreamingRequest):
            scope[BODY] = protocol.body
        return super().create_application(protocol, scope)


def write(protocol: Any, frame: bytes) -> bool:
    """Write a packed frame to a socket at once; False if it must wait for what was written before.

    The way through Autobahn and Twisted packs it anew for each socket, and takes two more system calls to ask when
    the socket can be written to, which it nearly always can.
    """
    transport: Any = protocol.transport
    # Behind TLS there is more to do, and no such transport.
    is_open = type(transport) is TCPServer and transport.connected and protocol.state == protocol.STATE_OPEN
    if not is_open or transport.dataBuffer or transport._tempDataBuffer:
        return False
    try:
        written: int = transport.socket.send(frame)
    except OSError:
        return False
    if written < len(frame):
        transport.write(frame[written:])
    return True


def reader(body: Any, receive: Receive) -> Receive:
    """A `receive` that gives the body in pieces, then whatever else comes (`http.disconnect`)."""
    body.seek(0)
    ended = False

    async def read() -> Message:
        nonlocal ended
        if not ended:
            piece = body.read(PIECE_BYTES)
            ended = len(piece) < PIECE_BYTES
            if ended:
                body.close()
            return {"type": "http.request", "body": piece, "more_body": not ended}
        message = await receive()
        # daphne's own: the empty body that it was shown.
        return await receive() if message["type"] == "http.request" else message

    return read


class StreamingCommandLine(CommandLineInterface):  # type: ignore[misc]
    """daphne's command line with the streaming server."""

    server_class = StreamingServer


if __name__ == "__main__":
    # The server makes its factories by these names.
    daphne.server.HTTPFactory = StreamingFactory
    daphne.server.WebSocketFactory = SlimFactory
    StreamingCommandLine.entrypoint()
