"""The frames that pages poll, on a short way: in one thread that stays, instead of a new one for each request.

Django's ASGI handler makes a thread for each request, with a connection to the database of its own, and goes through
the middleware with a hop to that thread for each that is not asynchronous. Where sockets are refused, every open page
asks for its frame every few seconds. Here the same middleware and the same view are called as under WSGI.
"""

import asyncio
import io
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

from django.core import signals
from django.core.handlers.asgi import ASGIRequest
from django.core.handlers.base import BaseHandler
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.urls import NoReverseMatch, reverse, set_script_prefix

Scope = dict[str, Any]
Application = Callable[[Scope, Any, Any], Awaitable[None]]


class PolledFrames:
    """Django's application with the short way for `status:frame`."""

    def __init__(self, application: Application) -> None:
        """`application` gets all other requests: that of `get_asgi_application()`."""
        self._application = application
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="status-frames")

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["method"] != "GET" or not self._is_frame(scope):
            await self._application(scope, receive, send)
            return
        loop = asyncio.get_running_loop()
        for message in await loop.run_in_executor(self._thread, self._answer, scope):
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

    def _answer(self, scope: Scope) -> list[dict[str, Any]]:
        set_script_prefix(_prefix(scope))
        signals.request_started.send(sender=type(self), scope=scope)
        try:
            request = ASGIRequest(scope, io.BytesIO())
        except UnicodeDecodeError:
            response: HttpResponseBase = HttpResponse(status=400)
        else:
            response = self._handler.get_response(request)
        try:
            return _messages(response)
        finally:
            # Closes connections to the database that are too old, as after every request.
            response.close()


def _prefix(scope: Scope) -> str:
    return f"{scope.get('root_path') or ''}/"


def _messages(response: Any) -> list[dict[str, Any]]:
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
