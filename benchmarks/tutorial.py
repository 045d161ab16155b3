"""The peer: a consumer per connection, as the Channels tutorial teaches it, for one job's progress."""

import os
from typing import Any

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "benchmarks.settings")
http = get_asgi_application()

from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from django.template.loader import render_to_string  # noqa: E402
from django.urls import path  # noqa: E402


class ProgressConsumer(AsyncWebsocketConsumer):  # type: ignore[misc]
    """Joins the job's group; renders each update of it for its own connection, and sends it."""

    channel_layer_alias = "tutorial"

    async def connect(self) -> None:
        """Join and accept, and show that it is there."""
        self.group = f"progress_{self.scope['url_route']['kwargs']['name']}"
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()
        await self.send(text_data="<p>Connected</p>")

    async def disconnect(self, code: int) -> None:
        """Leave."""
        await self.channel_layer.group_discard(self.group, self.channel_name)

    async def progress_update(self, event: dict[str, Any]) -> None:
        """An update from the group."""
        await self.send(text_data=render_to_string("tutorial/progress.html", event))


application = ProtocolTypeRouter(
    {
        "http": http,
        "websocket": AllowedHostsOriginValidator(
            AuthMiddlewareStack(URLRouter([path("ws/progress/<slug:name>/", ProgressConsumer.as_asgi())]))
        ),
    }
)
