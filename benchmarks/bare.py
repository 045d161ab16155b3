"""The limit: a loop that writes one prepared frame to every open WebSocket, as fast as they take it.

`python -m benchmarks.bare PORT BYTES`. No event, no template, no framework; a socket whose buffer is not empty
is passed over.
"""

import asyncio
import base64
import hashlib
import re
import struct
import sys

import uvloop

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
KEY = re.compile(rb"sec-websocket-key: *(\S+)", re.IGNORECASE)


class Peer(asyncio.Protocol):
    """One socket."""

    peers: set["Peer"] = set()
    frame = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer the handshake; what else comes is of no interest."""
        found = KEY.search(data)
        if found is None:
            return
        accept = base64.b64encode(hashlib.sha1(found[1] + GUID).digest())
        self.transport.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n" + self.frame
        )
        self.peers.add(self)

    def connection_lost(self, error: Exception | None) -> None:
        """Forget it."""
        self.peers.discard(self)


async def main(port: int, size: int) -> None:
    """Serve and flood for ever."""
    Peer.frame = struct.pack("!BBH", 0x81, 126, size) + b"x" * size
    await asyncio.get_running_loop().create_server(Peer, "127.0.0.1", port, backlog=4096)
    while True:
        for peer in tuple(Peer.peers):
            if peer.transport.get_write_buffer_size() == 0:
                peer.transport.write(Peer.frame)
        await asyncio.sleep(0)


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
