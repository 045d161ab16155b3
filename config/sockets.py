"""uvicorn's WebSocket with a shorter way out: `uvicorn --ws config.sockets:DirectProtocol`."""

from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

WRITE = "status.write"


class DirectProtocol(WebSocketsSansIOProtocol):
    """Offers the application `write`, as the ASGI extension `status.write`."""

    def handle_connect(self, event: Request) -> None:
        """The handshake; the application is started with the extension in its scope."""
        super().handle_connect(event)
        # A frame that was packed by the application is not compressed.
        if self.response.status_code == 101 and not self.conn.extensions:
            extensions: dict[str, Any] = self.scope["extensions"]
            extensions[WRITE] = self.write

    def write(self, frame: bytes) -> bool:
        """Write a packed frame at once; False if it must wait for what was written before."""
        # Nothing but attributes of its own: with a thousand sockets each other object is a wait for memory.
        if self.close_sent or not self.handshake_complete:
            return False
        transport = self.transport
        if transport.is_closing() or transport.get_write_buffer_size():
            return False
        transport.write(frame)
        return True
