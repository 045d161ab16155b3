"""Who comes: the users of sessions, read once for all who come at the same moment."""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.sessions.backends.db import SessionStore as DatabaseSessionStore
from django.http import HttpRequest, parse_cookie
from django.utils import timezone, translation

LONGEST_KEY = 40
"""What the column for keys of sessions holds."""


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who opens a socket, or polls."""

    user: Any
    session_key: str | None
    """None: there is no such session."""
    is_sound: bool = False
    """Whether the session is good as it is: its user is logged in, and no cookie has to be changed."""


class _Session(dict[str, Any]):
    """What a session holds, to be read only: over a socket no cookie could be changed."""

    is_sound = True

    def cycle_key(self) -> None:
        """The next request over HTTP does it."""
        self.is_sound = False

    def flush(self) -> None:
        """The next request over HTTP does it."""
        self.is_sound = False


def cookies_of(scope: dict[str, Any]) -> dict[str, str]:
    """The cookies of a socket's scope."""
    header = next((value for name, value in scope["headers"] if name == b"cookie"), b"")
    cookies: dict[str, str] = parse_cookie(header.decode("latin-1"))
    return cookies


def language_of(scope: dict[str, Any]) -> str:
    """The language of who opens a socket: as the cookie says, else the browser (RFC 9110, 12.5.4), else the project's.

    Args:
        scope: of the socket, as ASGI has it.

    Example:
        >>> language_of({"headers": [(b"accept-language", b"ar-EG, de;q=0.5")]})
        'ar'
    """
    request = HttpRequest()
    request.COOKIES = cookies_of(scope)
    wanted = next((value for name, value in scope["headers"] if name.lower() == b"accept-language"), b"")
    request.META["HTTP_ACCEPT_LANGUAGE"] = wanted.decode("latin-1")
    return translation.get_language_from_request(request)


def read_visitors(session_keys: Iterable[str]) -> list[Visitor]:
    """Who they are, in order: one query for all sessions in the database, and one for each user.

    Args:
        session_keys: as the cookies have them, empty for none.
    """
    session_keys = list(session_keys)
    sessions = _read_sessions({key for key in session_keys if key})
    found: dict[str, Visitor] = {}
    for key in session_keys:
        if key not in found:
            request, session = HttpRequest(), _Session(sessions.get(key, {}))
            request.session = session  # type: ignore[assignment]  # Of it get_user needs no more.
            user = get_user(request)
            is_sound = session.is_sound and user.is_authenticated
            found[key] = Visitor(user, key if session else None, is_sound)
    return [found[key] for key in session_keys]


def _read_sessions(keys: set[str]) -> dict[str, dict[str, Any]]:
    store = import_module(settings.SESSION_ENGINE).SessionStore
    if store is not DatabaseSessionStore:
        return {key: store(key).load() for key in keys}
    # What cannot be a key is not asked for: it must not fail the query of the others.
    sound = [key for key in keys if len(key) <= LONGEST_KEY and key.isalnum()]
    model = DatabaseSessionStore.get_model_class()
    rows = model.objects.filter(session_key__in=sound, expire_date__gt=timezone.now())
    return {row.session_key: row.get_decoded() for row in rows}
