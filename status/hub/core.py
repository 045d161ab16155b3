"""The hub: receives events, keeps the newest of each subject, renders, and hands frames to connections."""

import asyncio
import contextlib
import logging
import time
import weakref
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from django.db import DatabaseError, InterfaceError

from status import access, channel, computed, conf
from status.counters import counters
from status.events import (
    Event,
    InboxEvent,
    JobEvent,
    ListEvent,
    LogoutEvent,
    MembersEvent,
    TopicEvent,
    from_wire,
)
from status.hub.arrivals import Arrival, check
from status.hub.entries import Entry, Live
from status.hub.painting import first_frame, paint, paint_at_once, paint_block, read_events, take_turn
from status.hub.people import People
from status.hub.probe import Probe
from status.hub.slots import Connection, Frame, LogFeed, Place, hand_out
from status.hub.subscription import Subscription
from status.hub.together import Together
from status.layer import receive_all
from status.regions import Kind, Region, Subject, View
from status.rendering import BEAT_ID, beat, last_beat, look_of

logger = logging.getLogger(__name__)

RIDE_SECONDS = 0.2
"""What is not news, as the heartbeat, waits so long for a frame that it can go with."""
COUNT_SECONDS = 1.0
"""The jobs of a list are counted at most so often."""


class Hub(Subscription):
    """One per event loop; a web process has one. This part of it serves the pages."""

    def __init__(self) -> None:
        super().__init__()
        self._lives: dict[Any, Live] = {}
        self._ready: dict[Live, None] = {}
        self._kick = asyncio.Event()
        self._starting: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self.probe = Probe(self._start, lambda: self._channel)
        self._people = People(self._join_user, self._leave_user, self._in_thread)
        self._arrivals = Together(self._greet)

    # -- connections come and go ---------------------------------------------------------------------------

    async def attach(
        self, connection: Connection, view: View, user: Any, polled_until: datetime | None = None
    ) -> View:
        """Show `view` to `connection` from now on: join the groups, read the rows, send one frame.

        Args:
            connection: the socket.
            view: what it shows.
            user: who looks.
            polled_until: of what is older the page was told before, without a socket; see `status.told`.

        Returns:
            The same view; its regions are shared by all who look at them.

        Raises:
            access.Denied: `user` may not see all of it.
        """
        await self._start()
        live = self._lives.get(view.look)
        if live is None:
            entries = {s: self._entries.setdefault(s, Entry(s)) for s in view.subjects}
            live = self._lives[view.look] = Live(view, entries)
            for entry in entries.values():
                entry.lives.add(live)
        shared = live.view
        view = replace(view, regions=shared.regions, language=shared.language, timezone=shared.timezone)
        live.connections.add(connection)
        try:
            await self._people.join(connection, view, polled_until)
            await self._join(live.entries.values())
            await self._arrivals.ask(Arrival(live, connection, view, user))
        except BaseException:
            await self.detach(connection, view)
            raise
        return view

    async def detach(self, connection: Connection, view: View) -> None:
        """Forget a connection, and leave the groups that nobody needs any more."""
        connection.stop()
        live = self._lives.get(view.look)
        if live is None or connection not in live.connections:
            return
        live.connections.discard(connection)
        await self._people.leave(connection)
        if live.connections:
            return
        del self._lives[view.look]
        self._ready.pop(live, None)
        if live.timer is not None:
            live.timer.cancel()
        for entry in live.entries.values():
            entry.lives.discard(live)
            await self._release(entry)

    async def _greet(self, arrivals: list[Arrival]) -> list[access.Denied | None]:
        """The first frame for all who came at the same moment: all regions as they are now, to them alone."""
        refusals: list[access.Denied | None] = await self._in_thread(check, arrivals)
        welcome = [each for each, refusal in zip(arrivals, refusals, strict=True) if refusal is None]
        lives = {arrival.live for arrival in welcome}
        for live, frame in await self._paint([(live, set(live.view.regions)) for live in lives]):
            # What changed since their last frame was painted here, and will not be painted for them again.
            if frame.parts or frame.logs:
                hand_out(frame, live.connections)
        told = await self._people.greetings([arrival.connection for arrival in welcome])
        # From here on nothing is awaited: what is painted next goes to these as well.
        first = {live: first_frame(live) for live in lives}
        for arrival in welcome:
            frame, connection = first[arrival.live], arrival.connection
            connection.ready = True
            connection.put(frame.then(Frame(parts=told[connection])) if told[connection] else frame)
        return refusals

    # -- events come in ------------------------------------------------------------------------------------

    async def _start(self) -> None:
        if self._starting is None or (self._starting.done() and self._starting.exception() is not None):
            self._starting = asyncio.get_running_loop().create_task(self._start_once())
        await asyncio.shield(self._starting)

    async def _start_once(self) -> None:
        self._channel = await self._layer.new_channel()
        loops = (self._receive, self._flush, self._people.flush, self._beat, self._repair)
        self._tasks = [asyncio.create_task(self._for_ever(work)) for work in loops]

    async def _for_ever(self, work: Callable[[], Any]) -> None:
        while True:
            try:
                await work()
            except Exception:
                logger.exception("The hub goes on after an error")
                await asyncio.sleep(1.0)

    async def _receive(self) -> None:
        for message in await receive_all(self._layer, self._channel):
            if self.probe.takes(message):
                continue
            try:
                counters.receive(message)
                event = from_wire(message)
            except (KeyError, TypeError, ValueError) as error:
                logger.warning("A message that is no event was dropped: %r", error)
                continue
            await self._accept(event)

    async def _accept(self, event: Event, *, read: bool = False) -> None:
        match event:
            case JobEvent():
                self._accept_job(event, read=read)
            case MembersEvent():
                entry = self._entries.get(Subject.job(event.job))
                if entry is not None:
                    entry.forget_members()
                    self._mark(entry)
            case TopicEvent():
                entry = self._entries.get(Subject.topic(event.topic))
                if entry is not None and computed.is_computed(event.topic):
                    computed.forget(event.topic)
                    entry.stale = True
                    self._mark(entry, urgent=True)
                elif entry is not None and entry.offer_topic(event):
                    self._mark(entry)
            case ListEvent():
                for entry in self._lists(event.scope):
                    self._count_soon(entry)
            case LogoutEvent():
                await self._log_out(event)
            case InboxEvent():
                self._people.mark([event.user])

    def _accept_job(self, event: JobEvent, *, read: bool = False) -> None:
        entry = self._entries.get(Subject.job(event.job))
        if entry is None:
            return
        held = entry.event.milestone if entry.event else None
        if entry.offer(event) and entry.event is not None:
            is_urgent = entry.event.milestone != held
            counters.repaired += read and is_urgent
            self._mark(entry, urgent=is_urgent, counts=not read)
            for beside in entry.counts_beside if is_urgent else ():
                self._count_soon(beside)
            return
        counters.outdated += not read

    def _lists(self, scope: str) -> list[Entry]:
        return [e for s, e in self._entries.items() if s.is_list and s.group == channel.list_group(scope)]

    def _count_soon(self, entry: Entry) -> None:
        """Count a list anew: at once, unless it was counted within the last second."""
        if entry.recount is not None:
            entry.is_due = True
            return
        entry.recount = asyncio.get_running_loop().call_later(COUNT_SECONDS, self._count_again, entry)
        entry.stale, entry.is_due = True, False
        self._mark(entry)

    def _count_again(self, entry: Entry) -> None:
        entry.recount = None
        if entry.is_due:
            self._count_soon(entry)

    def _mark(self, entry: Entry, *, urgent: bool = False, counts: bool = True) -> None:
        """Paint the regions of `entry`: at once if their page had no frame lately, else in time.

        What does not count is nothing new: it goes with the next frame, or soon by itself.
        """
        for listener in entry.listeners:
            listener.wake(urgent=urgent or not counts)
        now = time.monotonic()
        for live in entry.lives:
            counters.conflated += counts and bool(live.dirty)
            live.dirty.update(live.regions_of(entry.subject))
            if urgent:
                self._make_ready(live)
            else:
                wait = live.pace.wait(now, conf.current().frame_seconds) if counts else RIDE_SECONDS
                self._schedule(live, wait)

    def _schedule(self, live: Live, wait_seconds: float) -> None:
        """Have `live` painted in so many seconds, unless it is sooner anyway."""
        if wait_seconds <= 0:
            self._make_ready(live)
        elif live not in self._ready:
            loop = asyncio.get_running_loop()
            at = loop.time() + wait_seconds
            if live.timer is None or at < live.timer.when():
                if live.timer is not None:
                    live.timer.cancel()
                live.timer = loop.call_at(at, self._make_ready, live)

    def _make_ready(self, live: Live) -> None:
        if live.timer is not None:
            live.timer.cancel()
            live.timer = None
        self._ready[live] = None
        self._kick.set()

    # -- frames go out -------------------------------------------------------------------------------------

    async def _flush(self) -> None:
        await self._kick.wait()
        lives = take_turn(self._ready)
        if self._ready:
            # What comes in meanwhile is read in between, and goes with the frames that are still to be painted.
            await asyncio.sleep(0)
        else:
            self._kick.clear()
        work, beats = [], {}
        painted: list[tuple[Live, Frame]] = []
        for live in lives:
            # All count, also what was urgent: a page gets no more frames than the pace says.
            live.pace.take(time.monotonic(), conf.current().frame_seconds)
            dirty, live.dirty = live.dirty, set()
            beats[live], live.beat = live.beat, ""
            work.append((live, dirty))
        try:
            painted = await self._paint(work)
        except Exception:
            # The pages are told all the same that their sockets live.
            painted = [(live, Frame()) for live, _dirty in work]
            raise
        finally:
            for live, frame in painted:
                if beats[live]:
                    frame.parts[BEAT_ID] = beats[live]
                if frame.parts or frame.logs:
                    hand_out(frame, live.connections)

    async def _paint(self, work: list[tuple[Live, set[Region]]]) -> list[tuple[Live, Frame]]:
        """Paint regions anew; returns for each page what changed by that, which may be nothing."""
        logs = [(live, region) for live, regions in work for region in regions if region.appends]
        for live, region in logs:
            self._open_feed(live, region)
        entries = {live.entries[region.subject] for live, regions in work for region in regions}
        await self._settle(entries, {region.subject for _live, region in logs})
        moment = {entry.subject: (entry.version, entry.shown) for entry in entries}
        if not moment:
            return [(live, Frame()) for live, _regions in work]
        painted = paint_at_once(work, moment) if self._painter.is_idle else None
        return await self._in_thread(paint, work, moment) if painted is None else painted

    def _open_feed(self, live: Live, region: Region) -> None:
        async def block() -> tuple[Place, str]:
            return await self._in_thread(paint_block, live, region)

        if region.id not in live.feeds:
            live.feeds[region.id] = LogFeed(block, most_appended=2 * conf.current().log_tail)

    # -- clocks --------------------------------------------------------------------------------------------

    async def _beat(self) -> None:
        """Tell every page that its socket lives; count the lists anew, in case a message was lost."""
        await asyncio.sleep(conf.current().beat_seconds)
        beats: dict[str, str] = {}
        now = asyncio.get_running_loop().time()
        for live in list(self._lives.values()):
            language = live.view.language
            if language not in beats:
                with look_of(live.view):
                    beats[language] = beat()
            live.beat = beats[language]
            self._schedule(live, RIDE_SECONDS)
            for connection in list(live.connections):
                if connection.is_stuck(now):
                    await connection.close(1011)
        self._people.mark_all()
        for entry in self._entries.values():
            if entry.subject.is_list:
                self._count_soon(entry)

    async def _repair(self) -> None:
        """Read the rows of what is shown and still moves: what a lost message left stale becomes right."""
        await asyncio.sleep(conf.current().repair_seconds)
        entries = [entry for entry in self._entries.values() if not entry.is_over]
        held = {e.subject.job_id: e.event for e in entries if e.subject.kind is Kind.JOB}
        names = [e.subject.key for e in entries if e.subject.kind is Kind.TOPIC]
        try:
            events, gone = await self._in_thread(read_events, held, names)
        except (DatabaseError, InterfaceError) as error:
            logger.warning("Rows not read, next try in %g s: %r", conf.current().repair_seconds, error)
            return
        for event in events:
            await self._accept(event, read=True)
        for entry in self._entries.values():
            if entry.subject.kind is Kind.JOB and entry.subject.job_id in gone:
                entry.job = None
                for listener in entry.listeners:
                    listener.wake(urgent=True)
            if entry.job is not None and entry.job.has_live_members and not entry.job.canvas:
                entry.forget_members()
                self._mark(entry, counts=False)
            if entry.subject.kind is Kind.COUNT:  # Most of its jobs are on no page: nobody tells of these.
                self._count_soon(entry)
            if entry.stale or entry.tells_time or entry.lacks_log:
                self._mark(entry, counts=False)
        await self._finish_pages()

    async def _finish_pages(self) -> None:
        """Close what has had nothing to wait for lately: 1000, after which htmx does not come back."""
        now = time.monotonic()
        for live in list(self._lives.values()):
            if not all(entry.is_over for entry in live.entries.values()):
                live.over_since = None
            elif live.over_since is None:
                live.over_since = now
            elif now - live.over_since >= conf.current().linger_seconds:
                with look_of(live.view):
                    last = last_beat("ended")
                for connection in list(live.connections):
                    if not self._people.stays(connection):
                        await connection.close(1000, last)

    async def _log_out(self, event: LogoutEvent) -> None:
        for program in list(self._programs):
            if program.user == event.user and program.session == event.session:
                await program.close(4401)
        await self._people.log_out(event)

    async def stop(self) -> None:
        """End the hub's tasks and its thread; for tests."""
        for task in self._tasks:
            task.cancel()
        for task in self._tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self._painter.stop()


_hubs: "weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Hub]" = weakref.WeakKeyDictionary()


def get_hub() -> Hub:
    """The hub of the running event loop; made when the first page comes."""
    loop = asyncio.get_running_loop()
    if loop not in _hubs:
        _hubs[loop] = Hub()
    return _hubs[loop]
