"""Until when a page has been told of notifications, as the page itself says.

A page that polls is known to no process, and the next answer may come from another. So it holds its place itself: in
the address that its heartbeat element polls, and in a cookie, which its socket shows when it comes back. Who changes
them changes which toasts he sees again, and nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self
from urllib.parse import urlencode

from django.utils import timezone

COOKIE = "status_told"
COOKIE_SECONDS = 120
"""Longer than a toast is news."""


@dataclass(frozen=True, slots=True)
class Told:
    """What was made later is news to the page."""

    until: datetime
    turn: int = 0
    """The place for the next toast."""

    @classmethod
    def now(cls, turn: int = 0) -> Self:
        """All that there is."""
        return cls(timezone.now(), turn)

    @classmethod
    def of_query(cls, query: Mapping[str, str], places: int) -> Self:
        """As the address has it; of what it does not say, or not rightly, nothing is news."""
        turn = query.get("turn", "")
        place = int(turn) if turn.isascii() and turn.isdecimal() and len(turn) < 3 else 0
        return cls(_moment(query.get("told", "")) or timezone.now(), place % places)

    @property
    def query(self) -> str:
        """For an address: `told=1790000000.250000&turn=1`."""
        return urlencode({"told": self.stamp, "turn": self.turn})

    @property
    def stamp(self) -> str:
        """The moment in seconds since 1970."""
        return f"{self.until.timestamp():.6f}"


def told_by_cookie(cookies: Mapping[str, str]) -> datetime | None:
    """Until when a page has been told by what it polled lately; None if it did not."""
    return _moment(cookies.get(COOKIE, ""))


def _moment(stamp: str) -> datetime | None:
    try:
        return datetime.fromtimestamp(float(stamp), UTC)
    except (ValueError, OverflowError, OSError):
        return None
