"""What the hub holds of each subject and of each look of a page."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

from status import conf
from status.cells import Painted
from status.events import JobEvent, Line, TopicEvent
from status.hub.slots import NOWHERE, Connection, LogFeed, Place
from status.models import Job
from status.pace import Pace
from status.regions import Kind, Region, Subject, View
from status.rendering import Shown
from status.states import State

if TYPE_CHECKING:
    from status.hub.listeners import Listener


@dataclass(eq=False)
class Entry:
    """The newest known value of a subject that some page shows or some program listens to."""

    subject: Subject
    lives: set["Live"] = field(default_factory=set)
    listeners: set["Listener"] = field(default_factory=set)
    """Those that are no page."""
    joined: asyncio.Task[None] | None = None
    """Joins the group and reads the row."""
    joining: bool = False
    """Whether it still does."""
    job: Job | None = None
    """The row as last read: what an event does not carry."""
    event: JobEvent | None = None
    topic: TopicEvent | None = None
    listed: Shown = field(default_factory=Shown)
    """Of a list."""
    recount: asyncio.TimerHandle | None = None
    """Set while a list was counted so lately that the next count waits."""
    is_due: bool = False
    """Whether that count is wanted."""
    version: int = 0
    """Grows with every accepted change; the key of what was rendered from it."""
    stale: bool = False
    """The row must be read before the next rendering: it has what the event does not carry."""
    tail: list[Line] = field(default_factory=list)
    tail_stale: bool = True
    """Lines are missing from the tail; they are in the table, or soon will be."""

    @property
    def shown(self) -> Shown:
        """The value for the templates."""
        if self.subject.kind is Kind.JOB:
            return Shown(job=self.job.at(self.event) if self.job and self.event else self.job)
        return self.listed if self.subject.is_list else Shown(topic=self.topic)

    @property
    def is_over(self) -> bool:
        """Whether nothing more is to come: a job that has ended, or whose row is gone."""
        if self.subject.kind is not Kind.JOB:
            return False
        if self.job is not None and self.job.has_live_members:
            return False
        return self.job is None or (self.event is not None and self.event.is_terminal)

    @property
    def counts_beside(self) -> "list[Entry]":
        """The counts of lists on the pages that show it."""
        return [e for live in self.lives for e in live.entries.values() if e.subject.kind is Kind.COUNT]

    @property
    def tells_time(self) -> bool:
        """Whether its page says how long it is cancelling, or what is usually left: also when nothing is reported."""
        if self.is_over or self.event is None or self.job is None:
            return False
        if self.event.cancel_requested_at is not None:
            return True
        is_estimated = self.event.state == State.RUNNING and self.event.time_left_seconds is None
        return is_estimated and self.job.usual is not None

    @property
    def lacks_log(self) -> bool:
        """Whether a page shows its log, or a program hears it, and lines are missing."""
        if not self.tail_stale or self.job is None:
            return False
        if any(listener.log for listener in self.listeners):
            return True
        return any(region.appends for live in self.lives for region in live.regions_of(self.subject))

    def offer(self, event: JobEvent) -> bool:
        """Take `event` if it is newer; whether anything changed."""
        held = self.event
        newest = event.over(held)
        if newest is held:
            return False
        self._take_lines(event, newest)
        self.stale = self.stale or newest.is_terminal or (held is not None and _needs_row(newest, held))
        if self.job is not None and self.job.canvas:
            self.job.forget_members()
        self.event = replace(newest, lines=()) if newest.lines else newest
        self.version += 1
        return True

    def forget_members(self) -> None:
        """Members of the job have moved: what is shown of them is read again."""
        if self.job is not None:
            self.job.forget_members()
            self.version += 1

    def _take_lines(self, event: JobEvent, newest: JobEvent) -> None:
        """Add the event's lines to the tail; with a gap, the tail must be read."""
        if self.tail_stale:
            return
        if self.event is not None and self.event.tries != newest.tries:
            # The attempt before may have written lines which no event has carried.
            self.tail_stale = True
            return
        at = self.tail_end
        fresh = [line for line in event.lines if line.place > at]
        expected = at[1] + 1 if at[0] == event.tries else 1
        if fresh and fresh[0].number == expected:
            self.tail = [*self.tail, *fresh][-conf.current().log_tail :]
        self.tail_stale = self.lacks_lines(newest)

    @property
    def tail_end(self) -> Place:
        """The place of the tail's last line."""
        return self.tail[-1].place if self.tail else NOWHERE

    def lacks_lines(self, event: JobEvent) -> bool:
        """Whether the attempt has written lines which are not in the tail."""
        return event.line_count > 0 and self.tail_end < (event.tries, event.line_count)

    def offer_topic(self, event: TopicEvent) -> bool:
        """Take `event` if it is newer; whether it was."""
        if self.topic is not None and self.topic.version >= event.version:
            return False
        self.topic = event
        self.version += 1
        return True


def _needs_row(newest: JobEvent, held: JobEvent) -> bool:
    """Whether something changed of which an event carries only the fact: error of the attempt before, files."""
    waits = newest.state == State.WAITING and held.state != State.WAITING
    return waits or newest.attempt != held.attempt or newest.file_count != held.file_count


@dataclass(eq=False)
class Live:
    """All connections that show the same regions in the same language."""

    view: View
    entries: dict[Subject, Entry]
    connections: set[Connection] = field(default_factory=set)
    dirty: set[Region] = field(default_factory=set)
    html: dict[str, Painted] = field(default_factory=dict)
    """What each region was last painted with: equal means nothing to send, so `<details>` stay open."""
    feeds: dict[str, LogFeed] = field(default_factory=dict)
    pace: Pace = field(default_factory=Pace)
    beat: str = ""
    """The heartbeat that goes with its next frame."""
    timer: asyncio.TimerHandle | None = None
    over_since: float | None = None

    @cached_property
    def _by_subject(self) -> dict[Subject, tuple[Region, ...]]:
        found: dict[Subject, tuple[Region, ...]] = {}
        for region in self.view.regions:
            found[region.subject] = (*found.get(region.subject, ()), region)
        return found

    @cached_property
    def _places(self) -> dict[str, int]:
        return {region.id: place for place, region in enumerate(self.view.regions)}

    def regions_of(self, subject: Subject) -> tuple[Region, ...]:
        """The regions that show `subject`."""
        return self._by_subject.get(subject, ())

    def in_order(self, regions: Iterable[Region]) -> list[Region]:
        """Some of its regions in the order of the page."""
        return sorted(regions, key=lambda region: self._places[region.id])
