"""An application that writes frames the short way while the server takes them, and else as usual; see test_web.py."""

import django

django.setup()

from status.consumers import WRITE  # noqa: E402
from status.hub.slots import packed  # noqa: E402

FRAMES = 60
FRAME_BYTES = 1024 * 1024


def text(number):
    """What the frame of that number holds."""
    return f"{number} " * (FRAME_BYTES // len(f"{number} "))


async def application(scope, receive, send):
    """Send all frames when the client says so, then how many were taken at once."""
    if scope["type"] != "websocket":
        raise ValueError(scope["type"])
    await receive()
    await send({"type": "websocket.accept"})
    await receive()
    write, taken = scope["extensions"][WRITE], 0
    for number in range(FRAMES):
        if write(packed(text(number))):
            taken += 1
        else:
            await send({"type": "websocket.send", "text": text(number)})
    await send({"type": "websocket.send", "text": f"taken {taken}"})
    await receive()
