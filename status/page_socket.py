"""The element that holds a page's one socket."""

import json

from django.urls import get_script_prefix

from status import access, compiled
from status.regions import View
from status.rendering import beat

PAGE_PATH = "ws/status/"


def element(view: View, *, refresh_seconds: float) -> str:
    """What `{% live_socket %}` emits; in a frame it takes the place of the one before, and htmx opens its socket.

    Args:
        view: what the socket shows.
        refresh_seconds: after so long the page loads itself again where there is no JavaScript; 0: never.

    Raises:
        ValueError: the page has too many regions for one socket.
    """
    token = access.sign(view)
    return compiled.show(
        "status/partials/socket.html",
        {
            "url": f"{get_script_prefix()}{PAGE_PATH}?view={token}",
            "vals": json.dumps({"view": token}),
            "beat": beat(),
            "has_forms": bool(view.forms),
            "refresh_seconds": refresh_seconds,
        },
    )
