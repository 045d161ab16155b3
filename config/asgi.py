"""One ASGI application for pages and sockets."""

import gc
import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

# Loads the apps; what imports models must come after it.
django = get_asgi_application()

from channels.routing import ProtocolTypeRouter  # noqa: E402

from status.polling import PolledFrames  # noqa: E402
from status.routing import websocket_application  # noqa: E402

http = PolledFrames(django)
application = ProtocolTypeRouter({"http": http, "websocket": websocket_application()})

# What is loaded now stays. The collector looks through all that lives again and again, which with a thousand sockets
# holds up every frame for a tenth of a second; so it leaves that alone, and comes seldom.
gc.collect()
gc.freeze()
gc.set_threshold(20_000, 20, 50)
