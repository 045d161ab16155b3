"""One hub per web process: one subscription, newest wins, rendered once, handed to everyone."""

from status.hub.core import Hub, get_hub
from status.hub.listeners import Listener
from status.hub.slots import Connection

__all__ = ["Connection", "Hub", "Listener", "get_hub"]
