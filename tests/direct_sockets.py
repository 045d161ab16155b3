"""An application that writes frames the short way while the server takes them, and else as usual; see test_web.py."""

import asyncio
import gc
import json
from collections import Counter

import django
from daphne.ws_protocol import WebSocketProtocol

from config.slim import HANDSHAKE, SlimSocket

django.setup()

from status.consumers import WRITE  # noqa: E402
from status.hub.slots import packed  # noqa: E402

FRAMES = 60
FRAME_BYTES = 1024 * 1024


def text(number):
    """What the frame of that number holds."""
    return f"{number} " * (FRAME_BYTES // len(f"{number} "))


refused = asyncio.Event()


def kept():
    """How many objects there are of types which only a handshake needs, and what daphne's sockets hold."""
    gc.collect()
    objects = gc.get_objects()
    names = Counter(type(each).__name__ for each in objects)
    sockets = [each for each in objects if isinstance(each, SlimSocket)]
    return {
        "of a handshake": {
            name: names[name] for name in ("HTTPChannel", "StreamingRequest", "Headers", "Queue")
        },
        "sockets": len(sockets),
        "attributes": sorted(set(HANDSHAKE).intersection(*(vars(each) for each in sockets))),
        "options": sorted(
            set(WebSocketProtocol.CONFIG_ATTRS).intersection(*(vars(each) for each in sockets))
        ),
        "header": max(len(each.request.headers) for each in sockets),
    }


async def application(scope, receive, send):
    """At `/` send all frames when the client says so; at `/refused` say when one was not taken at once.

    At `/kept` say what is kept of the sockets' handshakes.
    """
    if scope["type"] != "websocket":
        raise ValueError(scope["type"])
    await receive()
    await send({"type": "websocket.accept"})
    if scope["path"] == "/kept":
        while (await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": json.dumps(kept())})
        return
    elif scope["path"] == "/refused":
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
