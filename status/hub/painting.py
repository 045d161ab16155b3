"""What runs in the hub's thread: reading rows and rendering regions."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar
from uuid import UUID

from django.core.exceptions import SynchronousOnlyOperation
from django.db import close_old_connections, connections

from status.cells import Painted
from status.events import JobEvent, Line, TopicEvent
from status.hub.entries import Live
from status.hub.slots import NOWHERE, Frame, Place
from status.models import Job
from status.regions import Region, Subject
from status.rendering import (
    BEAT_ID,
    Shown,
    append,
    beat,
    changes,
    load_topics,
    look_of,
    render,
    render_lines,
    swap,
)

T = TypeVar("T")
Memo = dict[tuple[Any, ...], Painted]
Moment = dict[Subject, tuple[int, Shown]]
Work = list[tuple[Live, set[Region]]]

_QUICK = {f"status/partials/{name}.html" for name in ("badge", "bar", "card", "figures", "progress", "row")}
"""Ours that show nothing but a job's own columns. Yours of the same name may read rows: then that was found out."""

MOST_QUICK = 50
"""So many regions take the event loop a few milliseconds."""


class Painter:
    """One thread: what it reads and renders it does in the order in which it was asked, so that no frame overtakes."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="status-hub")
        self._last: Future[Any] | None = None

    @property
    def is_idle(self) -> bool:
        """Whether all that it was asked is done: what is painted elsewhere now overtakes nothing."""
        return self._last is None or self._last.done()

    async def run(self, work: Callable[..., T], *args: Any) -> T:
        """Call `work` in the thread, with a connection to the database that is still good."""

        def run() -> T:
            close_old_connections()
            try:
                return work(*args)
            finally:
                close_old_connections()

        future = self._thread.submit(run)
        if work is not read_events:
            # To read all rows takes long, and paints nothing.
            self._last = future
        return await asyncio.wrap_future(future)

    async def stop(self) -> None:
        """End the thread, with its connections."""
        await asyncio.get_running_loop().run_in_executor(self._thread, connections.close_all)
        self._thread.shutdown(wait=False)


def read_events(
    held: Mapping[UUID, JobEvent | None], topics: list[str]
) -> tuple[list[JobEvent | TopicEvent], set[UUID]]:
    """What the rows say that is newer than what the hub has: one query for jobs, one for topics.

    One query more reads the jobs that are newer. To read a thousand whole ones would keep the interpreter from the
    event loop for so long that updates of two rounds went with one frame.

    Args:
        held: the newest event of each job that is shown and still moves; None: nothing is known.
        topics: the names of those that are shown.

    Returns:
        The events, and the jobs whose rows are gone.
    """
    events: list[JobEvent | TopicEvent] = []
    gone = set(held)
    if held:
        newer = []
        for job_id, *standing in Job.objects.standings(held):
            gone.remove(job_id)
            event = held[job_id]
            if event is None or event.is_behind(*standing):
                newer.append(job_id)
        if newer:
            events += Job.objects.events(newer)
    if topics:
        events += load_topics(topics)
    return events, gone


def read_tail(job_id: UUID) -> list[Line]:
    """The last log lines of a job."""
    return Job(pk=job_id).tail


def take_turn(ready: dict[Live, None]) -> list[Live]:
    """Take from the pages that are due those that came first, as many as the event loop may paint; at least one.

    A thread would take the interpreter from the loop for longer, and the first frames would wait for the last.
    """
    lives: list[Live] = []
    regions: set[Region] = set()
    while ready:
        live = next(iter(ready))
        regions |= live.dirty
        if lives and len(regions) > MOST_QUICK:
            break
        del ready[live]
        lives.append(live)
    return lives


def first_frame(live: Live) -> Frame:
    """All regions of a page as they were painted last, with a heartbeat."""
    swapped = [region for region in live.view.regions if not region.appends]
    parts = {region.id: str(swap(region, live.html[region.id].html)) for region in swapped}
    with look_of(live.view):
        parts[BEAT_ID] = beat()
    return Frame(parts=parts, logs=dict(live.feeds))


def paint_at_once(work: Work, moment: Moment) -> list[tuple[Live, Frame]] | None:
    """As `paint`, in the event loop; None where it takes the thread, to which going costs as much as a card."""
    templates = [region.template for _live, regions in work for region in regions]
    if len(templates) > MOST_QUICK or not _QUICK.issuperset(templates):
        return None
    try:
        return paint(work, moment)
    except SynchronousOnlyOperation:
        _QUICK.difference_update(templates)
        return None


def paint(work: Work, moment: Moment) -> list[tuple[Live, Frame]]:
    """Render regions; each subject, template and language once, whoever shows it.

    Args:
        work: the regions of each page.
        moment: their subjects' versions and values; what has come since is for the next frame.

    Returns:
        For each page a frame of what is different now.
    """
    memo: Memo = {}
    pages: dict[tuple[str, str], Work] = {}
    for live, regions in work:
        pages.setdefault((live.view.language, live.view.timezone), []).append((live, regions))
    for same in pages.values():
        with look_of(same[0][0].view):
            for live, regions in same:
                for region in regions:
                    if not region.appends:
                        _render(live, region, moment, memo)
    # Only now is noted what pages show: where one rendering fails, nobody's changes are lost by that.
    return [(live, _paint_page(live, regions, moment, memo)) for live, regions in work]


def _paint_page(live: Live, regions: set[Region], moment: Moment, memo: Memo) -> Frame:
    frame = Frame()
    for region in live.in_order(regions):
        if region.appends:
            if _paint_log(live, region, memo):
                frame.logs[region.id] = live.feeds[region.id]
            continue
        painted = _render(live, region, moment, memo)
        before = live.html.get(region.id)
        if before is None or before.html != painted.html:
            live.html[region.id] = painted
            frame.parts.update(changes(region, before, painted))
    return frame


def _render(live: Live, region: Region, moment: Moment, memo: Memo) -> Painted:
    version, shown = moment[region.subject]
    look = live.view.language, live.view.timezone
    # The id too: the region's own cells have it in theirs.
    key = (region.template, region.id, region.subject, version, look)
    painted = memo.get(key)
    if painted is None:
        painted = memo[key] = Painted(render(region, shown, look))
    return painted


def _paint_log(live: Live, region: Region, memo: Memo) -> bool:
    """Bring a page's feed up to the tail; whether it has anything new."""
    feed, tail = live.feeds[region.id], live.entries[region.subject].tail
    last = tail[-1].place if tail else NOWHERE
    fresh = [line for line in tail if line.place > feed.last]
    # Where the tail begins behind what was sent, lines are missing in between.
    if feed.is_due_for_block or (fresh and fresh[0] is tail[0] and feed.last != NOWHERE):
        feed.reset(last)
        return True
    if not fresh:
        return False
    key = (region, feed.last, last, live.view.language, live.view.timezone)
    if key not in memo:
        with look_of(live.view):
            memo[key] = Painted(append(region, render_lines(region, fresh)))
    feed.push(last, memo[key].html, len(fresh))
    return True


def paint_block(live: Live, region: Region) -> tuple[Place, str]:
    """The place of a log's last line, and its tail as a replacing fragment."""
    tail = live.entries[region.subject].tail
    with look_of(live.view):
        return (tail[-1].place if tail else NOWHERE), swap(region, render_lines(region, tail))
