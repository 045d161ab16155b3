"""Logging out does not close sockets by itself; this does."""

from typing import Any

from django.contrib.auth.signals import user_logged_out

from status import channel
from status.consumers import session_hash
from status.events import LogoutEvent


def connect() -> None:
    """Listen to Django; called once when the app is ready."""
    user_logged_out.connect(_on_logout, dispatch_uid="status.logout")


def _on_logout(sender: Any, request: Any, user: Any, **kwargs: Any) -> None:
    """Tell every hub to close this session's sockets; sent before the session is flushed."""
    session = getattr(request, "session", None)
    if user is not None and session is not None and session.session_key:
        channel.publish(LogoutEvent(user=str(user.pk), session=session_hash(session.session_key)))
