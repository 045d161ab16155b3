"""An application that writes frames the short way while the server takes them, and else as usual; see test_web.py."""

import asyncio

import django

django.setup()

from status.consumers import WRITE  # noqa: E402
from status.hub.slots import packed  # noqa: E402

FRAMES = 60
FRAME_BYTES = 1024 * 1024


def text(number):
    """What the frame of that number holds."""
    return f"{number} " * (FRAME_BYTES // len(f"{number} "))


refused = asyncio.Event()


async def application(scope, receive, send):
    """At `/` send all frames when the client says so; at `/refused` say when one was not taken at once."""
    if scope["type"] != "websocket":
        raise ValueError(scope["type"])
    await receive()
    await send({"type": "websocket.accept"})
    if scope["path"] == "/refused":
        await refused.wait()
        await send({"type": "websocket.send", "text": "refused"})
    else:
        await receive()
        write, taken = scope["extensions"][WRITE], 0
        while taken < FRAMES and write(packed(text(taken))):
            taken += 1
        refused.set()
        for number in range(taken, FRAMES):
            await send({"type": "websocket.send", "text": text(number)})
        await send({"type": "websocket.send", "text": f"taken {taken}"})
    await receive()
