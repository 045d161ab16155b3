"""Where the sockets are, for `asgi.py`."""

from typing import Any

from channels.auth import AuthMiddlewareStack
from channels.routing import URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.urls import path

from status.consumers import SERVER_SEND, PageConsumer
from status.page_socket import PAGE_PATH
from status.programs.callers import has_token, header_of
from status.programs.consumer import JobsConsumer

JOBS_PATH = "ws/jobs/"
PASSED = "status.passed"

websocket_urlpatterns = [path(PAGE_PATH, PageConsumer.as_asgi()), path(JOBS_PATH, JobsConsumer.as_asgi())]


def websocket_application() -> Any:
    """All sockets of this app, behind the session's user and an Origin check against ALLOWED_HOSTS.

    A program that shows a token needs no Origin: a browser would not send that header for a stranger's page.

    Example:
        >>> application = ProtocolTypeRouter({"http": http, "websocket": websocket_application()})
    """
    jobs = [path(JOBS_PATH, JobsConsumer.as_asgi())]
    by_session = AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(jobs)))
    by_token = URLRouter(jobs)
    gate = AllowedHostsOriginValidator(_pass)

    async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["path"] == f"{scope.get('root_path', '')}/{PAGE_PATH}":
            # Not around the page, whose socket would keep all that its handshake needed for as long as it is open.
            if await _passes(gate, scope, receive, send):
                await PageConsumer()(scope, receive, send)
            return
        shows_token = scope["path"].endswith(JOBS_PATH) and has_token(header_of(scope))
        chosen = by_token if shows_token else by_session
        await chosen({**scope, SERVER_SEND: send}, receive, send)

    return application


async def _passes(gate: Any, scope: dict[str, Any], receive: Any, send: Any) -> bool:
    """Whether `gate` lets it in; if not, it has answered."""
    marked = {**scope, PASSED: False}
    await gate(marked, receive, send)
    return bool(marked[PASSED])


async def _pass(scope: dict[str, Any], receive: Any, send: Any) -> None:
    scope[PASSED] = True
