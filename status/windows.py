"""The spans of time that figures are shown for, and how finely each is divided."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The time up to now, so long, in spans of equal length."""

    key: str
    """Its name in addresses."""
    label: str | Promise
    seconds: int
    span_seconds: int

    @property
    def spans(self) -> int:
        """How many spans it has."""
        return self.seconds // self.span_seconds

    def begins(self, now: datetime) -> datetime:
        """When its first span begins; the last one is not over yet.

        >>> WINDOWS["1h"].begins(datetime(2026, 5, 4, 12, 0, 30, tzinfo=UTC)).isoformat()
        '2026-05-04T11:01:00+00:00'
        """
        return floor(now, self.span_seconds) - timedelta(seconds=self.seconds - self.span_seconds)


def floor(at: datetime, span_seconds: int) -> datetime:
    """The beginning of the span that a moment lies in; days begin at midnight UTC.

    >>> floor(datetime(2026, 5, 4, 12, 17, tzinfo=UTC), 900).isoformat()
    '2026-05-04T12:15:00+00:00'
    """
    return datetime.fromtimestamp(int(at.timestamp()) // span_seconds * span_seconds, UTC)


WINDOWS: Final = {
    window.key: window
    for window in (
        Window(key="1h", label=_("1 hour"), seconds=3_600, span_seconds=60),
        Window(key="24h", label=_("24 hours"), seconds=86_400, span_seconds=900),
        Window(key="7d", label=_("7 days"), seconds=604_800, span_seconds=7_200),
    )
}
LONGEST_SECONDS: Final = max(window.seconds for window in WINDOWS.values())
