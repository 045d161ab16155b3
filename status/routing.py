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

websocket_urlpatterns = [path(PAGE_PATH, PageConsumer.as_asgi()), path(JOBS_PATH, JobsConsumer.as_asgi())]


def websocket_application() -> Any:
    """All sockets of this app, behind the session's user and an Origin check against ALLOWED_HOSTS.

    A program that shows a token needs no Origin: a browser would not send that header for a stranger's page.

    Example:
        >>> application = ProtocolTypeRouter({"http": http, "websocket": websocket_application()})
    """
    guarded = AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(websocket_urlpatterns)))

    by_token = URLRouter([path(JOBS_PATH, JobsConsumer.as_asgi())])

    async def application(scope: dict[str, Any], receive: Any, send: Any) -> Any:
        shows_token = scope["path"].endswith(JOBS_PATH) and has_token(header_of(scope))
        chosen = by_token if shows_token else guarded
        return await chosen({**scope, SERVER_SEND: send}, receive, send)

    return application
