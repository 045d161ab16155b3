"""The project behind a proxy that lets no WebSocket through."""

from config.asgi import http as application

__all__ = ["application"]
