import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
http = get_asgi_application()  # First: it loads the apps.

from channels.routing import ProtocolTypeRouter
from status.routing import websocket_application

application = ProtocolTypeRouter({"http": http, "websocket": websocket_application()})
