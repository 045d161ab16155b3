"""The socket of a page."""

import contextlib
import hashlib
import logging
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

from channels.consumer import get_handler_name
from channels.exceptions import StopConsumer
from channels.generic.websocket import AsyncWebsocketConsumer
from django.conf import settings
from django.utils import translation

from status import access, presence, rendering
from status.counters import counters
from status.hub import Connection, get_hub
from status.live_forms import Submissions
from status.regions import View
from status.told import told_by_cookie
from status.visitors import Visitor, cookies_of, language_of

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

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Handle what comes in turn: no tasks, no hops to other threads, nothing kept of the handshake."""
        self.scope, self.base_send = scope, send
        del scope
        with contextlib.suppress(StopConsumer):
            while True:
                message = await receive()
                await getattr(self, get_handler_name(message))(message)

    async def connect(self) -> None:
        """Accept, find out who it is, open the view, join the hub."""
        self.view: View | None = None
        self._submissions: Submissions | None = None
        await self.accept()
        counters.sockets += 1
        presence.of_web()
        token = parse_qs(self.scope["query_string"].decode("ascii", "replace")).get("view", [""])[0]
        try:
            cookies = cookies_of(self.scope)
            visitor = await self._visitor(cookies.get(settings.SESSION_COOKIE_NAME, ""))
            await self._attach(access.unsign(token, visitor.user), visitor, told_by_cookie(cookies))
        except access.NotLoggedIn:
            await self._refuse(NOT_LOGGED_IN)
        except access.Denied:
            await self._refuse(DENIED)
        except Exception:
            # The page comes back by itself after this code, and is told the newest state then.
            logger.exception("A page could not be attached")
            await self.close(GOING_AWAY)
        # Headers and cookies are of no more use, and a page stays open for hours.
        self.scope = {}

    async def _visitor(self, session_key: str) -> Visitor:
        """Who it is: whom a middleware around this has found, or else the user of the session."""
        if "user" not in self.scope:
            return await get_hub().visitor(session_key)
        session = self.scope.get("session")
        return Visitor(self.scope["user"], session.session_key if session is not None else None)

    async def disconnect(self, code: int) -> None:
        """Leave the hub."""
        counters.sockets -= 1
        if self.view is not None:
            await get_hub().detach(self.connection, self.view)

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        """Answer what one of the page's forms asks for; a page without forms has nothing to say."""
        if self._submissions is not None:
            await self._say(await self._submissions.answer(text_data))

    async def _attach(self, view: View, visitor: Visitor, polled_until: datetime | None) -> None:
        self._send_message = self.scope.get(SERVER_SEND, self.base_send)
        self.connection = Connection(
            send=self._send_text,
            close=self.close,
            write=self.scope.get("extensions", {}).get(WRITE),
            user=view.user,
            session=session_hash(visitor.session_key),
        )
        self.view = await get_hub().attach(self.connection, view, visitor.user, polled_until)
        if view.forms:
            # From now on they go over this socket, and until then by HTTP.
            self._submissions = Submissions(view, visitor.session_key)
            await self._say(rendering.swap_senders(view.forms))

    async def _send_text(self, text: str) -> None:
        await self._send_message({"type": "websocket.send", "text": text})

    async def _say(self, text: str) -> None:
        """Send what is no frame of the hub's."""
        try:
            await self._send_text(text)
        except Exception as error:
            # Its end is told to `disconnect`.
            logger.debug("A page went away while it was answered: %r", error)

    async def _refuse(self, code: int) -> None:
        # There is no view that would say in which language the page is.
        with translation.override(language_of(self.scope)):
            last = rendering.last_beat("refused")
        await self.send(last)
        await self.close(code)
