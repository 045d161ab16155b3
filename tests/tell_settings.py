"""The project's settings with little patience between the tries of a delivery."""

from config.settings import *  # noqa: F403
from config.settings import STATUS

STATUS = STATUS | {"DELIVERY_RETRY_SECONDS": 0.1, "WEBHOOK_HTTP": True, "WEBHOOK_PRIVATE": True}
