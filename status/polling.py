"""The frames that pages poll, on a short way: in one thread that stays, instead of a new one for each request.

Django's ASGI handler makes a thread for each request, with a connection to the database of its own, and goes through
the middleware with a hop to that thread for each that is not asynchronous. Where sockets are refused, every open page
asks for its frame every few seconds. Here the same middleware and the same view are called as under WSGI, and the
sessions of all who ask at the same moment are read together.
"""

import asyncio
import io
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

from django.conf import settings
from django.core import signals
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.base import BaseHandler
from django.db import DatabaseError, close_old_connections
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.urls import NoReverseMatch, reverse, set_script_prefix

from status.hub.together import Together
from status.visitors import cookies_of, read_visitors

Scope = dict[str, Any]
Messages = list[dict[str, Any]]
Application = Callable[[Scope, Any, Any], Awaitable[None]]


class PolledFrames:
    """Django's application with the short way for `status:frame`."""

    def __init__(self, application: Application) -> None:
        """`application` gets all other requests: that of `get_asgi_application()`."""
        self._application = application
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="status-frames")
        self._asked = Together(self._answer_together)

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["method"] != "GET" or not self._is_frame(scope):
            await self._application(scope, receive, send)
            return
        for message in await self._asked.ask(scope):
            await send(message)

    def _is_frame(self, scope: Scope) -> bool:
        path: str = scope["path"]
        return path.endswith(self._path) and path == _prefix(scope).rstrip("/") + self._path

    @cached_property
    def _path(self) -> str:
        """Where the frames are in a project at the root; a path that no request has if they are nowhere."""
        try:
            return reverse("status:frame")
        except NoReverseMatch:
            return "\0"

    @cached_property
    def _handler(self) -> BaseHandler:
        handler = BaseHandler()
        handler.load_middleware()
        return handler

    async def _answer_together(self, scopes: list[Scope]) -> list[Messages]:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._answer_all, scopes)

    def _answer_all(self, scopes: list[Scope]) -> list[Messages]:
        users = _users(scopes)
        return [self._answer(scope, user) for scope, user in zip(scopes, users, strict=True)]

    def _answer(self, scope: Scope, user: Any) -> Messages:
        set_script_prefix(_prefix(scope))
        signals.request_started.send(sender=type(self), scope=scope)
        try:
            request = ASGIRequest(scope, io.BytesIO())
        except UnicodeDecodeError:
            response: HttpResponseBase = HttpResponse(status=400)
        else:
            if user is not None:
                # Where Django's AuthenticationMiddleware looks first; did it not, it would read what we have read.
                request._cached_user = user  # type: ignore[attr-defined]
            response = self._handler.get_response(request)
        try:
            return _messages(response)
        finally:
            # Closes connections to the database that are too old, as after every request.
            response.close()


def _users(scopes: list[Scope]) -> list[Any]:
    """The users of sessions, read together; None where Django shall look itself, for it may have a cookie to change."""
    close_old_connections()
    try:
        visitors = read_visitors(cookies_of(scope).get(settings.SESSION_COOKIE_NAME, "") for scope in scopes)
    except DatabaseError:
        return [None] * len(scopes)
    return [visitor.user if visitor.is_sound else None for visitor in visitors]


def _prefix(scope: Scope) -> str:
    return f"{scope.get('root_path') or ''}/"


def _messages(response: Any) -> Messages:
    """The response as ASGI has it (https://asgi.readthedocs.io/en/latest/specs/www.html)."""
    headers = [(name.encode("ascii"), value.encode("latin-1")) for name, value in response.items()]
    headers += [
        (b"Set-Cookie", cookie.output(header="").strip().encode()) for cookie in response.cookies.values()
    ]
    body = b"".join(response) if response.streaming else response.content
    return [
        {"type": "http.response.start", "status": response.status_code, "headers": headers},
        {"type": "http.response.body", "body": body},
    ]
