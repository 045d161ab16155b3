"""Where the sockets are, for `asgi.py`."""

from typing import Any

from channels.auth import AuthMiddlewareStack
from channels.routing import URLRouter
from channels.security.websocket import AllowedHostsOriginValidator
from django.urls import path

from status.consumers import SERVER_SEND, PageConsumer

PAGE_PATH = "ws/status/"

websocket_urlpatterns = [path(PAGE_PATH, PageConsumer.as_asgi())]


def websocket_application() -> Any:
    """All sockets of this app, behind the session's user and an Origin check against ALLOWED_HOSTS.

    Example:
        >>> application = ProtocolTypeRouter({"http": http, "websocket": websocket_application()})
    """
    guarded = AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter(websocket_urlpatterns)))

    async def application(scope: dict[str, Any], receive: Any, send: Any) -> Any:
        return await guarded({**scope, SERVER_SEND: send}, receive, send)

    return application
