"""What a list of jobs is narrowed by, as it stands in its address."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from urllib.parse import urlencode

from django.utils import timezone
from django.utils.dateparse import parse_date, parse_datetime
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext_lazy

from status.models.search import split
from status.spelling import enumerated
from status.states import State

LONGEST = 255
LONGEST_QUERY = 1000
MOST_WORDS = 10

KINDS = {
    "single": pgettext_lazy("kind of job", "Single task"),
    "workflow": pgettext_lazy("kind of job", "Workflow"),
}
TIMES = {
    "1h": (timedelta(hours=1), gettext_lazy("The last hour")),
    "24h": (timedelta(hours=24), gettext_lazy("The last 24 hours")),
    "7d": (timedelta(days=7), gettext_lazy("The last 7 days")),
    "30d": (timedelta(days=30), gettext_lazy("The last 30 days")),
}
ALL = "all"
"""The state in the address of a list of all states, which even a default view does not replace."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Each is empty, or narrows the list; all of them together."""

    state: str = ""
    q: str = ""
    """Words that the title, id, arguments or error has, each at least from its beginning."""
    task: str = ""
    owner: str = ""
    """The name by which the owner logs in."""
    queue: str = ""
    worker: str = ""
    schedule: str = ""
    kind: str = ""
    """`single` or `workflow`."""
    time: str = ""
    """A key of `TIMES`: made since so long ago."""
    since: datetime | None = None
    until: datetime | None = None
    problems: tuple[str, ...] = ()
    """What of the address was not understood, for people."""

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Self:
        """The filters in an address; what is not understood narrows nothing, and is told in `problems`.

        >>> Filters.read({"state": "failed", "q": "orders"}).query
        'state=failed&q=orders'
        """
        problems: list[str] = []
        texts = {name: _text(data, name, problems) for name in _TEXTS}
        for name, known in (("state", set(State.values)), ("kind", set(KINDS)), ("time", set(TIMES))):
            if name == "state" and texts[name] == ALL:
                texts[name] = ""
            if texts[name] and texts[name] not in known:
                words = {"name": name, "value": texts[name], "known": enumerated(sorted(known))}
                problems.append(_("%(name)s is one of %(known)s, not “%(value)s”.") % words)
                texts[name] = ""
        moments = {name: _moment(data, name, problems) for name in ("since", "until")}
        if texts["q"] and not split(texts["q"]):
            problems.append(_("Search for letters or digits; “%s” has none.") % texts["q"])
            texts["q"] = ""
        given: dict[str, Any] = {**texts, **moments}
        found = cls(**given, problems=tuple(problems))
        if len(found.query) > LONGEST_QUERY:
            return cls(
                problems=(_("These filters are too long for an address. Use fewer, or shorter words."),)
            )
        return found

    @property
    def query(self) -> str:
        """The filters as a query string; equal filters give equal ones, and empty ones the empty one."""
        pairs = []
        for name in _NAMES:
            value = getattr(self, name)
            if isinstance(value, datetime):
                value = value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            if value:
                pairs.append((name, value))
        return urlencode(pairs)

    @property
    def address(self) -> str:
        """As `query`; that of no filters says so."""
        return self.query or f"state={ALL}"

    @property
    def without_state(self) -> "Filters":
        """The same for all states."""
        return replace(self, state="")

    @property
    def is_narrowed(self) -> bool:
        """Whether there is any filter but the state."""
        return self.without_state.query != ""

    @property
    def words(self) -> list[str]:
        """What is searched for."""
        return split(self.q)[:MOST_WORDS]

    @property
    def begins_at(self) -> datetime | None:
        """The moment since when jobs were made."""
        limits = [self.since] if self.since else []
        if self.time:
            limits.append(timezone.now() - TIMES[self.time][0])
        return max(limits, default=None)

    def but(self, **changes: Any) -> "Filters":
        """The same with other values."""
        return replace(self, **changes)


_NAMES = [field.name for field in fields(Filters) if field.name != "problems"]
_TEXTS = [name for name in _NAMES if name not in {"since", "until"}]


def _text(data: Mapping[str, Any], name: str, problems: list[str]) -> str:
    text = str(data.get(name) or "").replace("\0", "").strip()
    if len(text) > LONGEST:
        text = ngettext(
            "%(name)s has %(limit)d character at most.", "%(name)s has %(limit)d characters at most.", LONGEST
        )
        problems.append(text % {"name": name, "limit": LONGEST})
        return ""
    return text


def _moment(data: Mapping[str, Any], name: str, problems: list[str]) -> datetime | None:
    """A moment with or without its time zone, or a day; the end of a range includes its day."""
    text = str(data.get(name) or "").strip()
    if not text:
        return None
    try:
        found = parse_datetime(text) if len(text) > 10 else None
        day = parse_date(text) if found is None else None
        if day is not None:
            found = datetime(day.year, day.month, day.day)  # noqa: DTZ001  # It becomes aware below.
            found += timedelta(days=1) if name == "until" else timedelta()
        if found is not None:
            return found if timezone.is_aware(found) else timezone.make_aware(found)
    except (ValueError, OverflowError):
        pass
    problems.append(
        _("%(name)s is a day or a moment, as 2026-05-31 or 2026-05-31T14:00, not “%(value)s”.")
        % {"name": name, "value": text[:40]}
    )
    return None
