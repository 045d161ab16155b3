"""uvicorn's WebSocket with a shorter way out: `uvicorn --ws config.sockets:DirectProtocol`."""

from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request
from websockets.protocol import State

WRITE = "status.write"


class DirectProtocol(WebSocketsSansIOProtocol):
    """Offers the application `write`, as the ASGI extension `status.write`."""

    def handle_connect(self, event: Request) -> None:
        """The handshake; the application is started with the extension in its scope."""
        super().handle_connect(event)
        if self.response.status_code == 101:
            extensions: dict[str, Any] = self.scope["extensions"]
            extensions[WRITE] = self.write

    def write(self, frame: bytes) -> bool:
        """Write a packed frame at once; False if it must wait for what was written before."""
        if self.conn.state is not State.OPEN or not self.handshake_complete or self.conn.extensions:
            return False
        if self.transport.is_closing() or self.transport.get_write_buffer_size():
            return False
        self.transport.write(frame)
        return True
