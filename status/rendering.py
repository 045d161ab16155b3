"""Subjects as HTML: what a region holds, and the fragments that a frame is made of.

First paint, live update, poll and reconnect all come through here, without a request: what a region shows
depends on its subject and language alone, so one rendering serves everybody who sees it.
"""

import zoneinfo
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

from django.template import Template
from django.template.loader import get_template
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.safestring import mark_safe

from status import compiled, computed, conf, usual
from status.cells import PLACES, Painted, Places, changed_cells, format_attributes
from status.events import Line, TopicEvent
from status.filters import Filters
from status.listing import Listing
from status.looks import keeps_look
from status.memo import LOOK, look
from status.models import Job, Notification, Topic
from status.models.tree import members_of
from status.notifications import read_inboxes
from status.regions import Kind, LiveForm, Region, Subject, View
from status.told import Told

BEAT_ID = "live-beat"
BELL_ID = "live-bell"
TOAST_SLOTS = 3
MOST_COUNTED = 100
MOST_IN_BELL = 99
CARD = "status/partials/card.html"
FRESH_SECONDS = 60.0
"""What is unread and older makes no toast any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A subject's value at one moment."""

    job: Job | None = None
    topic: TopicEvent | None = None
    count: int = 0
    more: bool = False
    query: str = ""

    def context(self) -> dict[str, Any]:
        """The variables that a partial gets.

        For a job: `job`, and `branch`, its members. For a topic: the keys of its payload, and `topic` with
        `topic.at` and `topic.payload`. For a list: `count`, of jobs that came since the page was made, or that are
        in a state; `more`, whether there may be more; and `query`, the list's filters.
        """
        if self.job is not None:
            return {"job": self.job, "branch": partial(members_of, self.job)}
        if self.topic is not None:
            return {**self.topic.payload, "topic": self.topic}
        return {"count": self.count, "more": self.more, "query": self.query}


def load(subjects: Iterable[Subject]) -> dict[Subject, Shown]:
    """The values of subjects, from the rows: a query for all jobs, one for all topics, one for each list."""
    subjects = list(subjects)
    found: dict[Subject, Shown] = dict.fromkeys(subjects, Shown())
    job_ids = [subject.job_id for subject in subjects if subject.kind is Kind.JOB]
    if job_ids:
        jobs = list(Job.objects.filter(pk__in=job_ids).defer("traceback", "signature"))
        usual.tell(jobs)
        found |= {Subject.job(job.pk): Shown(job=job) for job in jobs}
    names = [subject.key for subject in subjects if subject.kind is Kind.TOPIC]
    if names:
        for event in load_topics(names):
            found[Subject.topic(event.topic)] = Shown(topic=event)
    for subject in subjects:
        if subject.kind is Kind.LIST:
            found[subject] = _load_new(subject)
    return found | _load_counts([subject for subject in subjects if subject.kind is Kind.COUNT])


def load_for(request: Any, subjects: Iterable[Subject], known: Mapping[Subject, Shown] | None = None) -> None:
    """Load these together, for the `{% live %}` of the page that answers `request`; `known` needs no loading."""
    request._status_shown = {**load(subjects), **(known or {})}


def hold_still(request: Any) -> None:
    """Do not reload the page that answers `request` where it has no JavaScript: somebody ticks boxes on it."""
    request._status_reloads = 0


def reload_seldom(request: Any) -> None:
    """Reload the page that answers `request` six times as seldom where it has no JavaScript: somebody types on it."""
    request._status_reloads = 6


def load_topics(names: Iterable[str]) -> list[TopicEvent]:
    """The values of topics: those that are retained in one query, and those that are computed."""
    names = list(names)
    retained = [name for name in names if not computed.is_computed(name)]
    rows = Topic.objects.filter(pk__in=retained) if retained else ()
    events = [
        TopicEvent(topic=row.name, version=row.version, payload=row.payload, at=row.updated_at)
        for row in rows
    ]
    return events + computed.read(names)


def _listing(scope: str, query: str) -> Listing:
    return Listing(scope, Filters.read(dict(parse_qsl(query))))


def _load_new(subject: Subject) -> Shown:
    listing = _listing(subject.scope, subject.query)
    count = listing.newer_than(subject.since, MOST_COUNTED)
    return Shown(count=count, more=count >= MOST_COUNTED, query=listing.filters.address)


def _load_counts(subjects: list[Subject]) -> dict[Subject, Shown]:
    """All states of a list are counted together."""
    found = {}
    for scope, query in {(subject.scope, subject.query) for subject in subjects}:
        counts = _listing(scope, query).counts()
        for subject in subjects:
            if (subject.scope, subject.query) == (scope, query):
                count = counts[subject.state]
                found[subject] = Shown(count=count.number, more=count.more)
    return found


def render(region: Region, shown: Shown, active: tuple[str | None, str] | None = None) -> str:
    """What stands inside a region's element, in the active language and time zone, which a caller may know."""
    if region.appends:
        return render_lines(region, shown.job.tail if shown.job else [])
    found = get_template(region.template)
    context = {**shown.context(), PLACES: Places(region.id)}
    code = getattr(found, "template", None)
    if not isinstance(code, Template):
        # Of another engine.
        return found.render(context)
    if keeps_look(code):
        context[LOOK] = active or look()
    return compiled.render(code, context)


def render_lines(region: Region, lines: list[Line]) -> str:
    """Log lines as the children of a log region's element."""
    return compiled.show(region.template, {"lines": lines})


def swap(region: Region, inner: str) -> str:
    """A fragment that replaces what stands inside the region's element; the element itself stays.

    The attribute is always written: over the socket htmx swaps every top-level element by its id, but in an
    HTTP answer only those that carry it (https://htmx.org/attributes/hx-swap-oob/).
    """
    return mark_safe(f'<{region.tag} id="{region.id}" hx-swap-oob="innerHTML">{inner}</{region.tag}>')  # noqa: S308


def changes(region: Region, before: Painted | None, after: Painted) -> dict[str, str]:
    """The fragments that turn a region which holds `before` into `after`, by keys of `Frame.parts`.

    Where only cells differ, see `{% cell %}`, only those are swapped: links and focus beside them stay.
    """
    cells = None if before is None else changed_cells(before, after)
    if cells is None:
        return {region.id: swap(region, after.html)}
    return {
        f"{region.id}/{key}": f'<span id="{key}" hx-swap-oob="innerHTML">{inner}</span>'
        for key, inner in cells.items()
    }


def append(region: Region, inner: str) -> str:
    """A fragment whose children are added at the end of the region's element."""
    return mark_safe(f'<{region.tag} hx-swap-oob="beforeend:#{region.id}">{inner}</{region.tag}>')  # noqa: S308


def beat(told: Told | None = None, *, polling: bool = False) -> str:
    """The heartbeat element.

    It shows "connection lost", and fetches the page's frame, when no newer one has replaced it in time.

    Args:
        told: what the page has been told of notifications; default: all that there is now.
        polling: the socket is known to be dead; come again after `POLL_SECONDS`.
    """
    settings = conf.current()
    wait = settings.poll_seconds if polling else settings.beat_late_seconds
    url = f"{reverse('status:frame')}?{(told or Told.now()).query}"
    values = {"wait_seconds": f"{wait:g}", "polling": polling, "url": url}
    return compiled.show("status/partials/beat.html", values)


def last_beat(reason: str) -> str:
    """A heartbeat element that waits for nothing: `ended`, or `refused` with a link to log in again."""
    return compiled.show("status/partials/beat_last.html", {"reason": reason})


@contextmanager
def look_of(view: View) -> Iterator[None]:
    """The language and time zone in which a page was made."""
    with translation.override(view.language), timezone.override(zoneinfo.ZoneInfo(view.timezone)):
        yield


@dataclass(frozen=True, slots=True)
class PaintedPage:
    """The regions of a page at one moment, the same for all who may see them."""

    found: dict[Subject, Shown]
    html: str


def paint(view: View) -> PaintedPage:
    """Read what a page shows, and render every region of it."""
    found = load(view.subjects)
    with look_of(view):
        return PaintedPage(
            found, "".join(swap(region, render(region, found[region.subject])) for region in view.regions)
        )


def whole_frame(view: View, painted: PaintedPage, told: Told) -> tuple[str, Told]:
    """Everything on a page that moves, for one who comes over HTTP.

    Args:
        view: the page.
        painted: its regions.
        told: what it has been told of notifications.

    Returns:
        The fragments, and what the page has been told with them.
    """
    with look_of(view):
        notes, told = _notes(view, told) if view.bell else ("", told)
        # The socket is dead: from here on the forms post as they would without JavaScript.
        senders = swap_senders(()) if view.forms else ""
        return f"{painted.html}{notes}{senders}{beat(told, polling=True)}", told


def _notes(view: View, told: Told) -> tuple[str, Told]:
    """The bell, and toasts of what is news to a page that polls."""
    inbox = read_inboxes([view.user], FRESH_SECONDS)[view.user]
    news = [row for row in inbox.fresh if row.created_at > told.until and row.job_id not in view.jobs]
    fragments, turn = [swap_bell(inbox.count)], told.turn
    # Of many at once the newest; the bell counts them all.
    for row in news[-TOAST_SLOTS:]:
        fragments.append(swap_toast(turn, render_toast(row)))
        turn = (turn + 1) % TOAST_SLOTS
    return "".join(fragments), Told(max([told.until, *(row.created_at for row in news)]), turn)


def render_bell(count: int) -> str:
    """What stands inside the bell: how many notifications are unread."""
    return compiled.show("status/partials/bell.html", {"count": count, "is_many": count > MOST_IN_BELL})


def swap_bell(count: int) -> str:
    """A fragment that replaces the number at the bell; the link around it stays."""
    return mark_safe(f'<span id="{BELL_ID}" hx-swap-oob="innerHTML">{render_bell(count)}</span>')  # noqa: S308


def swap_senders(forms: Iterable[LiveForm]) -> str:
    """A fragment after which these forms go over the page's socket when they are submitted, and no others."""
    return compiled.show("status/partials/senders.html", {"forms": forms})


def card(job: Job, region: Region, inner: str, attributes: dict[str, Any] | None = None) -> str:
    """The default card: a panel with the job's title as a link, and the region with `inner` in it."""
    painted = element(region, inner, {"class": "contents", **(attributes or {})})
    return compiled.show("status/card.html", {"job": job, "region": painted})


def render_toast(notification: Notification) -> str:
    """What stands inside a place for toasts."""
    return compiled.show("status/partials/toast.html", {"notification": notification})


def swap_toast(slot: int, inner: str) -> str:
    """A fragment that fills a place for toasts, or empties it.

    The places are few and fixed, so that a page which stays open for days holds no more of them.
    """
    return mark_safe(f'<div id="toast-{slot}" hx-swap-oob="innerHTML">{inner}</div>')  # noqa: S308


def element(region: Region, inner: str, attributes: dict[str, Any]) -> str:
    """The region's element for the first paint."""
    extra = format_attributes(attributes)
    return mark_safe(f'<{region.tag} id="{region.id}"{extra}>{inner}</{region.tag}>')  # noqa: S308
