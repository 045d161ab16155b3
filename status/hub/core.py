"""The hub: receives events, keeps the newest of each subject, renders, and hands frames to connections."""

import asyncio
import contextlib
import logging
import time
import weakref
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from django.db import DatabaseError, InterfaceError

from status import access, channel, conf
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
from status.hub.entries import Entry, Live
from status.hub.painting import Painter, paint, paint_block, read_events, read_tail
from status.hub.people import People
from status.hub.slots import Connection, Frame, LogFeed, Place
from status.regions import Kind, Region, Subject, View
from status.rendering import BEAT_ID, beat, last_beat, load, look_of, swap

logger = logging.getLogger(__name__)


class Hub:
    """One per event loop; a web process has one."""

    def __init__(self) -> None:
        self._layer = channel.get_layer()
        self._channel = ""
        self._lives: dict[Any, Live] = {}
        self._entries: dict[Subject, Entry] = {}
        self._ready: set[Live] = set()
        self._kick = asyncio.Event()
        self._starting: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._painter = Painter()
        self._in_thread = self._painter.run
        self._people = People(self._layer, self._in_thread)

    # -- connections come and go ---------------------------------------------------------------------------

    async def attach(self, connection: Connection, view: View, user: Any) -> None:
        """Show `view` to `connection` from now on: join the groups, read the rows, send one frame.

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
        live.connections.add(connection)
        try:
            await self._people.join(connection, view)
            await self._join(live)
            jobs = {s: e.job for s, e in live.entries.items() if s.kind is Kind.JOB}
            await self._in_thread(access.check, user, view.subjects, jobs)
            await self._greet(live, connection)
        except BaseException:
            await self.detach(connection, view)
            raise

    async def detach(self, connection: Connection, view: View) -> None:
        """Forget a connection, and leave the groups that nobody needs any more."""
        connection.stop()
        live = self._lives.get(view.look)
        if live is None or connection not in live.connections:
            return
        live.connections.discard(connection)
        await self._leave(self._people.leave(connection))
        if live.connections:
            return
        del self._lives[view.look]
        self._ready.discard(live)
        if live.timer is not None:
            live.timer.cancel()
        for subject, entry in live.entries.items():
            entry.lives.discard(live)
            if not entry.lives and self._entries.get(subject) is entry:
                del self._entries[subject]
                await self._leave(self._layer.group_discard(subject.group, self._channel))

    async def _greet(self, live: Live, connection: Connection) -> None:
        """The first frame: all regions as they are now, to this connection alone."""
        await self._paint([(live, set(live.view.regions))])
        swapped = [region for region in live.view.regions if not region.appends]
        parts = {region.id: str(swap(region, live.html[region.id])) for region in swapped}
        with look_of(live.view):
            parts[BEAT_ID] = beat()
        parts |= await self._people.greeting(connection)
        connection.ready = True
        connection.put(Frame(parts=parts, logs=dict(live.feeds)))

    async def _join(self, live: Live) -> None:
        """Join first, then read: what happens in between arrives as an event."""
        fresh = [entry for entry in live.entries.values() if entry.joined is None]
        loop = asyncio.get_running_loop()
        for entry in fresh:
            entry.joined = loop.create_future()
        try:
            for entry in fresh:
                await self._layer.group_add(entry.subject.group, self._channel)
            if fresh:
                await self._read(fresh)
        except BaseException as error:
            for entry in fresh:
                joined, entry.joined = entry.joined, None
                if joined is not None and not joined.done():
                    joined.set_exception(ConnectionError(f"{entry.subject.group} was not joined: {error!r}"))
                    joined.exception()
            raise
        for entry in fresh:
            if entry.joined is not None:
                entry.joined.set_result(None)
        for entry in live.entries.values():
            if entry.joined is not None:
                await entry.joined

    async def _read(self, entries: list[Entry]) -> None:
        found = await self._in_thread(load, [entry.subject for entry in entries])
        for entry in entries:
            shown = found[entry.subject]
            entry.job, entry.count = shown.job, shown.count
            if shown.job is not None:
                entry.offer(shown.job.event())
            if shown.topic is not None:
                entry.offer_topic(shown.topic)

    async def _leave(self, leaving: Awaitable[None]) -> None:
        try:
            await leaving
        except Exception as error:
            # Its messages find no entry and are dropped.
            logger.warning("A group was not left: %r", error)

    # -- events come in ------------------------------------------------------------------------------------

    async def _start(self) -> None:
        if self._starting is None or (self._starting.done() and self._starting.exception() is not None):
            self._starting = asyncio.get_running_loop().create_task(self._start_once())
        await asyncio.shield(self._starting)

    async def _start_once(self) -> None:
        self._channel = self._people.channel = await self._layer.new_channel()
        loop = asyncio.get_running_loop()
        loops = (self._receive, self._flush, self._people.flush, self._beat, self._repair)
        self._tasks = [loop.create_task(self._for_ever(work)) for work in loops]

    async def _for_ever(self, work: Callable[[], Any]) -> None:
        while True:
            try:
                await work()
            except Exception:
                logger.exception("The hub goes on after an error")
                await asyncio.sleep(1.0)

    async def _receive(self) -> None:
        message = await self._layer.receive(self._channel)
        try:
            event = from_wire(message)
        except (KeyError, TypeError, ValueError) as error:
            logger.warning("A message that is no event was dropped: %r", error)
            return
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
                if entry is not None and entry.offer_topic(event):
                    self._mark(entry)
            case ListEvent():
                for entry in self._lists(event.scope):
                    entry.stale = True
                    self._mark(entry)
            case LogoutEvent():
                await self._people.log_out(event)
            case InboxEvent():
                self._people.mark([event.user])

    def _accept_job(self, event: JobEvent, *, read: bool = False) -> None:
        entry = self._entries.get(Subject.job(event.job))
        if entry is None:
            return
        held = entry.event.milestone if entry.event else None
        if entry.offer(event) and entry.event is not None:
            self._mark(entry, urgent=entry.event.milestone != held, counts=not read)

    def _lists(self, scope: str) -> list[Entry]:
        return [e for s, e in self._entries.items() if s.kind is Kind.LIST and s.scope == scope]

    def _mark(self, entry: Entry, *, urgent: bool = False, counts: bool = True) -> None:
        """Paint the regions of `entry`: at once if their page had no frame lately, else in time.

        What does not count goes out beside the pace; else each update of a job that reports at that pace would be late.
        """
        now = time.monotonic()
        for live in entry.lives:
            live.dirty.update(live.regions_of(entry.subject))
            live.counts = live.counts or counts
            wait = 0.0 if urgent or not counts else live.pace.wait(now, conf.current().frame_seconds)
            if wait == 0:
                self._make_ready(live)
            elif live.timer is None and live not in self._ready:
                live.timer = asyncio.get_running_loop().call_later(wait, self._make_ready, live)

    def _make_ready(self, live: Live) -> None:
        if live.timer is not None:
            live.timer.cancel()
            live.timer = None
        self._ready.add(live)
        self._kick.set()

    # -- frames go out -------------------------------------------------------------------------------------

    async def _flush(self) -> None:
        await self._kick.wait()
        self._kick.clear()
        lives, self._ready = self._ready, set()
        work = []
        for live in lives:
            if live.counts:
                live.pace.take(time.monotonic(), conf.current().frame_seconds)
            dirty, live.dirty, live.counts = live.dirty, set(), False
            work.append((live, dirty))
        for live, frame in await self._paint(work):
            for connection in live.connections:
                if connection.ready:
                    connection.put(frame)

    async def _paint(self, work: list[tuple[Live, set[Region]]]) -> list[tuple[Live, Frame]]:
        """Paint regions anew; returns what changed by that, as frames."""
        logs = [(live, region) for live, regions in work for region in regions if region.appends]
        for live, region in logs:
            self._open_feed(live, region)
        entries = {live.entries[region.subject] for live, regions in work for region in regions}
        logged = {region.subject for _live, region in logs}
        # What came while rows were read may need them once more: an ending is shown with its result.
        while await self._refresh(entries, logged) and any(entry.stale for entry in entries):
            pass
        moment = {entry.subject: (entry.version, entry.shown) for entry in entries}
        painted = await self._in_thread(paint, work, moment)
        return [(live, frame) for live, frame in painted if frame.parts or frame.logs]

    async def _refresh(self, entries: Iterable[Entry], logs: set[Subject]) -> bool:
        """Read what the events did not carry: results, counts, missing log lines; whether anything was read."""
        rows = [e for e in entries if e.stale]
        tails = [e for e in entries if e.tail_stale and e.subject in logs and e.job is not None]
        if not rows and not tails:
            return False
        for entry in rows:
            entry.stale = False
        try:
            if rows:
                await self._read_again(rows)
            for entry in tails:
                await self._read_tail(entry)
        except (DatabaseError, InterfaceError) as error:
            logger.warning("Rows not read, next try with the next repair: %r", error)
            for entry in rows:
                entry.stale = True
            return False
        return True

    async def _read_again(self, entries: list[Entry]) -> None:
        await self._read(entries)
        for entry in entries:
            entry.version += 1

    async def _read_tail(self, entry: Entry) -> None:
        assert entry.job is not None
        entry.tail = await self._in_thread(read_tail, entry.job.pk)
        entry.tail_stale = entry.event is not None and entry.lacks_lines(entry.event)
        for live in entry.lives:
            for region in live.regions_of(entry.subject):
                if region.id in live.feeds:
                    live.feeds[region.id].is_due_for_block = True

    def _open_feed(self, live: Live, region: Region) -> None:
        async def block() -> tuple[Place, str]:
            return await self._in_thread(paint_block, live, region)

        if region.id not in live.feeds:
            live.feeds[region.id] = LogFeed(block, most_appended=2 * conf.current().log_tail)

    # -- clocks --------------------------------------------------------------------------------------------

    async def _beat(self) -> None:
        """Tell every page that its socket lives; count the lists anew, in case a message was lost."""
        await asyncio.sleep(conf.current().beat_seconds)
        frames: dict[str, Frame] = {}
        now = asyncio.get_running_loop().time()
        for live in list(self._lives.values()):
            language = live.view.language
            if language not in frames:
                with look_of(live.view):
                    frames[language] = Frame(parts={BEAT_ID: beat()})
            for connection in list(live.connections):
                if connection.is_stuck(now):
                    await connection.close(1011)
                elif connection.ready:
                    connection.put(frames[language])
        self._people.mark_all()
        for entry in self._entries.values():
            if entry.subject.kind is Kind.LIST:
                entry.stale = True
                self._mark(entry)

    async def _repair(self) -> None:
        """Read the rows of what is shown and still moves: what a lost message left stale becomes right."""
        await asyncio.sleep(conf.current().repair_seconds)
        entries = [entry for entry in self._entries.values() if not entry.is_over]
        ids = [e.subject.job_id for e in entries if e.subject.kind is Kind.JOB]
        names = [e.subject.key for e in entries if e.subject.kind is Kind.TOPIC]
        try:
            events: list[Event] = [*(await self._in_thread(read_events, ids, names))]
        except (DatabaseError, InterfaceError) as error:
            logger.warning("Rows not read, next try in %g s: %r", conf.current().repair_seconds, error)
            return
        for event in events:
            await self._accept(event, read=True)
        found = {event.job for event in events if isinstance(event, JobEvent)}
        for entry in self._entries.values():
            if entry.subject.kind is Kind.JOB and entry.subject.job_id in set(ids) - found:
                entry.job = None
            if entry.job is not None and entry.job.has_live_members and not entry.job.canvas:
                entry.forget_members()
                self._mark(entry, counts=False)
            if entry.stale or entry.is_cancelling or (entry.tail_stale and entry.job is not None):
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
