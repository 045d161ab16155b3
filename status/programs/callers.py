"""Who asks: a person's session, or a token of a person's."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from django.utils.translation import gettext as _

from status import access
from status.audit import Actor, Source
from status.models import Token
from status.programs.refusals import Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who asks, and how far."""

    user: Any
    token: Token | None = None

    @property
    def scope(self) -> Literal["read", "act"]:
        """How far: a session may act."""
        return "read" if self.token is not None and self.token.scope == Token.Scope.READ else "act"

    @property
    def actor(self) -> Actor:
        """Who asks, for the audit trail."""
        through = self.token.name if self.token is not None else ""
        return Actor(user=self.user, source=Source.API, through=through)

    def must_act(self) -> None:
        """Raise `Refused` for a token that may only read."""
        if self.scope != "act":
            raise Refused(
                "forbidden", _("This token may only read. Make one that may act at the page of your tokens.")
            )


def has_token(authorization: str) -> bool:
    """Whether an `Authorization` header holds a bearer token (RFC 6750, 2.1)."""
    return access.bearer(authorization) is not None


def header_of(scope: dict[str, Any]) -> str:
    """The `Authorization` header of a socket's scope; empty if it has none."""
    found = next((value for name, value in scope["headers"] if name.lower() == b"authorization"), b"")
    return str(found.decode("latin-1"))


def by_token(authorization: str) -> Caller:
    """Who shows this `Authorization` header; reads the database.

    Raises:
        Refused: there is no such token, or it is not good any more.
    """
    token = Token.of(access.bearer(authorization) or "")
    if token is None:
        raise Refused("unauthenticated", _("This token is unknown, or was revoked."))
    if token.expires_at is not None and token.has_expired:
        raise expired(token.expires_at)
    return Caller(user=token.user, token=token)


def expired(moment: datetime) -> Refused:
    """The refusal of a token that is good no more since `moment`."""
    text = _("This token expired on %s. Make another at the page of your tokens.") % f"{moment:%Y-%m-%d}"
    return Refused("unauthenticated", text)


def by_session(user: Any) -> Caller:
    """The person who is logged in.

    Raises:
        Refused: nobody is.
    """
    if not user.is_authenticated:
        raise Refused("unauthenticated", _('Log in, or send the header "Authorization: Bearer <token>".'))
    return Caller(user=user)
