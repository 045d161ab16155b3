"""The socket of a page."""

import hashlib
import logging
from typing import Any
from urllib.parse import parse_qs

from channels.generic.websocket import AsyncWebsocketConsumer

from status import access, presence, rendering
from status.counters import counters
from status.hub import Connection, get_hub
from status.regions import View

logger = logging.getLogger(__name__)

GOING_AWAY = 1011
NOT_LOGGED_IN = 4401
DENIED = 4403

WRITE = "status.write"
"""An ASGI extension that a server may offer: a callable that takes a packed WebSocket frame at once and returns
True, or returns False because the socket is closed or its buffer is not empty."""

SERVER_SEND = "status.send"
"""The key in the scope of the server's own `send`: a frame needs nothing of the middleware between."""


def session_hash(session_key: str | None) -> str:
    """What names a session on the wire; the key itself is a secret."""
    return hashlib.sha256((session_key or "").encode()).hexdigest()


class PageConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]  # Channels has no types.
    """One page's socket: it checks who asks, and leaves the rest to the hub.

    Refusals are told after `accept()`, with a close code of their own: a socket refused before that looks
    like a network fault to htmx, which would try for ever.
    """

    channel_layer_alias = None

    async def connect(self) -> None:
        """Accept, open the view, join the hub."""
        self.view: View | None = None
        await self.accept()
        counters.sockets += 1
        presence.of_web()
        user = self.scope["user"]
        token = parse_qs(self.scope["query_string"].decode("ascii", "replace")).get("view", [""])[0]
        try:
            view = access.unsign(token, user)
            await self._attach(view, user)
        except access.NotLoggedIn:
            await self._refuse(NOT_LOGGED_IN)
        except access.Denied:
            await self._refuse(DENIED)
        except Exception:
            # The page comes back by itself after this code, and is told the newest state then.
            logger.exception("A page could not be attached")
            await self.close(GOING_AWAY)

    async def disconnect(self, code: int) -> None:
        """Leave the hub."""
        counters.sockets -= 1
        if self.view is not None:
            await get_hub().detach(self.connection, self.view)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """A page has nothing to say over its socket; what comes is dropped."""

    async def _attach(self, view: View, user: Any) -> None:
        session = self.scope.get("session")
        self._send_message = self.scope.get(SERVER_SEND, self.base_send)
        self.connection = Connection(
            send=self._send_text,
            close=self.close,
            write=self.scope.get("extensions", {}).get(WRITE),
            user=view.user,
            session=session_hash(session.session_key if session is not None else None),
        )
        self.view = view
        await get_hub().attach(self.connection, view, user)

    async def _send_text(self, text: str) -> None:
        await self._send_message({"type": "websocket.send", "text": text})

    async def _refuse(self, code: int) -> None:
        await self.send(rendering.last_beat("refused"))
        await self.close(code)
