"""Subjects as HTML: what a region holds, and the fragments that a frame is made of.

First paint, live update, poll and reconnect all come through here, without a request: what a region shows
depends on its subject and language alone, so one rendering serves everybody who sees it.
"""

import re
import zoneinfo
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

from django.template.loader import get_template
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.html import format_html
from django.utils.safestring import mark_safe

from status import conf
from status.events import Line, TopicEvent
from status.filters import Filters
from status.listing import Listing
from status.models import Job, Notification, Topic
from status.models.tree import members_of
from status.notifications import count_unread
from status.regions import Kind, Region, Subject, View

BEAT_ID = "live-beat"
BELL_ID = "live-bell"
TOAST_SLOTS = 3
MOST_COUNTED = 100
MOST_IN_BELL = 99

_CELL = re.compile(r"<!--cell ([\w-]+)-->(.*?)<!--/cell-->", re.DOTALL)


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
        for job in Job.objects.filter(pk__in=job_ids).defer("traceback", "signature"):
            found[Subject.job(job.pk)] = Shown(job=job)
    names = [subject.key for subject in subjects if subject.kind is Kind.TOPIC]
    if names:
        for event in load_topics(names):
            found[Subject.topic(event.topic)] = Shown(topic=event)
    for subject in subjects:
        if subject.kind is Kind.LIST:
            found[subject] = _load_new(subject)
    return found | _load_counts([subject for subject in subjects if subject.kind is Kind.COUNT])


def load_for(request: Any, subjects: Iterable[Subject]) -> None:
    """Load these together, for the `{% live %}` of the page that answers `request`."""
    request._status_shown = load(subjects)


def hold_still(request: Any) -> None:
    """Do not reload the page that answers `request` where it has no JavaScript: somebody ticks boxes on it."""
    request._status_still = True


def load_topics(names: Iterable[str]) -> list[TopicEvent]:
    """The retained values of topics, in one query."""
    return [
        TopicEvent(topic=row.name, version=row.version, payload=row.payload, at=row.updated_at)
        for row in Topic.objects.filter(pk__in=list(names))
    ]


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


def render(region: Region, shown: Shown) -> str:
    """What stands inside a region's element, in the active language."""
    if region.appends:
        return render_lines(region, shown.job.tail if shown.job else [])
    return get_template(region.template).render(shown.context())


def render_lines(region: Region, lines: list[Line]) -> str:
    """Log lines as the children of a log region's element."""
    return get_template(region.template).render({"lines": lines})


def swap(region: Region, inner: str) -> str:
    """A fragment that replaces what stands inside the region's element; the element itself stays.

    The attribute is always written: over the socket htmx swaps every top-level element by its id, but in an
    HTTP answer only those that carry it (https://htmx.org/attributes/hx-swap-oob/).
    """
    return mark_safe(f'<{region.tag} id="{region.id}" hx-swap-oob="innerHTML">{inner}</{region.tag}>')  # noqa: S308


def changes(region: Region, before: str | None, html: str) -> dict[str, str]:
    """The fragments that turn a region which holds `before` into `html`, by keys of `Frame.parts`.

    Where only cells differ, see `{% cell %}`, only those are swapped: links and focus beside them stay.
    """
    if before is not None:
        frame_before, cells_before = _cells(before)
        frame, cells = _cells(html)
        if frame == frame_before and cells.keys() == cells_before.keys():
            changed = [key for key, inner in cells.items() if inner != cells_before[key]]
            return {
                f"{region.id}/{key}": f'<span id="{key}" hx-swap-oob="innerHTML">{cells[key]}</span>'
                for key in changed
            }
    return {region.id: swap(region, html)}


def _cells(html: str) -> tuple[str, dict[str, str]]:
    """What stands around the cells of a region, and what stands in them."""
    cells = dict(_CELL.findall(html))
    return _CELL.sub("", html) if cells else html, cells


def append(region: Region, inner: str) -> str:
    """A fragment whose children are added at the end of the region's element."""
    return mark_safe(f'<{region.tag} hx-swap-oob="beforeend:#{region.id}">{inner}</{region.tag}>')  # noqa: S308


def beat(*, polling: bool = False) -> str:
    """The heartbeat element.

    It shows "connection lost", and fetches the page's frame, when no newer one has replaced it in time.

    Args:
        polling: the socket is known to be dead; come again after `POLL_SECONDS`.
    """
    settings = conf.current()
    wait = settings.poll_seconds if polling else settings.beat_late_seconds
    template = get_template("status/partials/beat.html")
    return template.render({"wait_seconds": f"{wait:g}", "polling": polling, "url": reverse("status:frame")})


def last_beat(reason: str) -> str:
    """A heartbeat element that waits for nothing: `ended`, or `refused` with a link to log in again."""
    return get_template("status/partials/beat_last.html").render({"reason": reason})


@contextmanager
def look_of(view: View) -> Iterator[None]:
    """The language and time zone in which a page was made."""
    with translation.override(view.language), timezone.override(zoneinfo.ZoneInfo(view.timezone)):
        yield


def whole_frame(view: View, found: dict[Subject, Shown]) -> str:
    """Every region of a page, for one who comes over HTTP."""
    with look_of(view):
        fragments = [swap(region, render(region, found[region.subject])) for region in view.regions]
        if view.bell:
            fragments.append(swap_bell(count_unread(view.user)))
        return "".join([*fragments, beat(polling=True)])


def render_bell(count: int) -> str:
    """What stands inside the bell: how many notifications are unread."""
    return get_template("status/partials/bell.html").render({"count": count, "is_many": count > MOST_IN_BELL})


def swap_bell(count: int) -> str:
    """A fragment that replaces the number at the bell; the link around it stays."""
    return mark_safe(f'<span id="{BELL_ID}" hx-swap-oob="innerHTML">{render_bell(count)}</span>')  # noqa: S308


def render_toast(notification: Notification) -> str:
    """What stands inside a place for toasts."""
    return get_template("status/partials/toast.html").render({"notification": notification})


def swap_toast(slot: int, inner: str) -> str:
    """A fragment that fills a place for toasts, or empties it.

    The places are few and fixed, so that a page which stays open for days holds no more of them.
    """
    return mark_safe(f'<li id="toast-{slot}" hx-swap-oob="innerHTML">{inner}</li>')  # noqa: S308


def cell(key: str, inner: str, tag: str, attributes: dict[str, Any]) -> str:
    """A part of a region that is swapped by itself, marked so that `changes` finds it."""
    extra = format_attributes(attributes)
    return mark_safe(f'<{tag} id="{key}"{extra}><!--cell {key}-->{inner}<!--/cell--></{tag}>')  # noqa: S308


def element(region: Region, inner: str, attributes: dict[str, Any]) -> str:
    """The region's element for the first paint."""
    extra = format_attributes(attributes)
    return mark_safe(f'<{region.tag} id="{region.id}"{extra}>{inner}</{region.tag}>')  # noqa: S308


def format_attributes(attributes: dict[str, Any]) -> str:
    """Attributes as HTML; `_` in a name becomes `-`, so that `data_job` can be written in a template tag."""
    return "".join(
        format_html(' {}="{}"', name.replace("_", "-"), value)
        for name, value in attributes.items()
        if value not in (None, False)
    )
