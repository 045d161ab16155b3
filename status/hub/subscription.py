"""The hub's one subscription: the subjects somebody wants to know of, their groups, and their rows."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Collection, Iterable, Set
from functools import partial
from uuid import UUID

from django.db import DatabaseError, InterfaceError

from status import channel
from status.hub.entries import Entry
from status.hub.listeners import Listener
from status.hub.painting import Painter, read_tail
from status.hub.slots import Connection
from status.hub.together import Together
from status.regions import Subject
from status.rendering import load
from status.visitors import Visitor, read_visitors

logger = logging.getLogger(__name__)


class Subscription:
    """What is known of each subject; pages and programs share it."""

    def __init__(self) -> None:
        self._layer = channel.get_layer()
        self._channel = ""
        self._entries: dict[Subject, Entry] = {}
        self._users: dict[str, int] = {}
        self._programs: set[Connection] = set()
        self._painter = Painter()
        self._in_thread = self._painter.run
        self._reading = asyncio.Lock()
        self._reads = Together(self._read_together)
        self._visitors = Together(partial(self._in_thread, read_visitors))

    async def _start(self) -> None:
        """Have events received."""
        raise NotImplementedError

    async def visitor(self, session_key: str) -> Visitor:
        """Who is logged in with that session; read once for all who come at the same moment."""
        return await self._visitors.ask(session_key)

    # -- programs ------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def listen(self, job_id: UUID, *, log: bool = False) -> AsyncIterator[Listener]:
        """Know of one job, without a page: it joins the group, then reads the row, unless a page shows the job.

        With `log`, the tail of its log is kept up as well.

        Who asks must check with `status.access` that the user may watch it.

        Raises:
            ConnectionError: the channel layer cannot be reached.
            DatabaseError: the database cannot.

        Example:
            >>> async with get_hub().listen(job_id) as listener:
            ...     listener.job.state
            'running'
        """
        await self._start()
        subject = Subject.job(job_id)
        entry = self._entries.setdefault(subject, Entry(subject))
        listener = Listener(entry, self._settle, log=log)
        entry.listeners.add(listener)
        try:
            await self._join([entry])
            yield listener
        finally:
            entry.listeners.discard(listener)
            await self._release(entry)

    async def _settle(self, entries: Collection[Entry], logs: Set[Subject] = frozenset()) -> bool:
        """Read what the events did not carry; whether all is known now.

        What comes while rows are read may need them once more: an ending is shown with its result.
        """
        while await self._refresh(entries, logs) and any(entry.stale for entry in entries):
            pass
        return not any(entry.stale for entry in entries)

    async def admit(self, program: Connection) -> None:
        """Close `program`'s socket when its session or its token ends."""
        await self._start()
        self._programs.add(program)
        await self._join_user(program.user)

    async def dismiss(self, program: Connection) -> None:
        """Forget a program's socket."""
        if program in self._programs:
            self._programs.discard(program)
            await self._leave_user(program.user)

    # -- groups and rows -----------------------------------------------------------------------------------

    async def _join(self, entries: Iterable[Entry]) -> None:
        """Join first, then read: what happens in between arrives as an event.

        It is nobody's own: who asked first may go away before the others have what they wait for.
        """
        entries = list(entries)
        fresh = [entry for entry in entries if entry.joined is None]
        if fresh:
            joining = asyncio.get_running_loop().create_task(self._join_groups(fresh))
            # Whoever still waits gets the error; if nobody does, it is of no interest.
            joining.add_done_callback(lambda task: task.cancelled() or task.exception())
            for entry in fresh:
                entry.joined, entry.joining = joining, True
        for joined in {entry.joined for entry in entries if entry.joined is not None}:
            await asyncio.shield(joined)

    async def _join_groups(self, fresh: list[Entry]) -> None:
        try:
            for entry in fresh:
                await self._layer.group_add(entry.subject.group, self._channel)
            await self._reads.ask(fresh)
        except BaseException:
            for entry in fresh:
                entry.joined = None
            raise
        finally:
            # Its joiners may all have gone away meanwhile.
            for entry in fresh:
                entry.joining = False
                await self._release(entry)

    async def _read_together(self, asked: list[list[Entry]]) -> list[None]:
        """Read the rows of all who join at the same moment."""
        await self._read([entry for entries in asked for entry in entries])
        return [None] * len(asked)

    async def _read(self, entries: list[Entry]) -> None:
        found = await self._in_thread(load, [entry.subject for entry in entries])
        for entry in entries:
            shown = found[entry.subject]
            entry.job, entry.listed = shown.job, shown
            if shown.job is not None:
                entry.offer(shown.job.event())
            if shown.topic is not None:
                entry.offer_topic(shown.topic)

    async def _release(self, entry: Entry) -> None:
        """Leave the group of an entry that nobody needs any more; while it is being joined, that comes after."""
        is_needed = entry.joining or entry.lives or entry.listeners
        if not is_needed and self._entries.get(entry.subject) is entry:
            del self._entries[entry.subject]
            if entry.recount is not None:
                entry.recount.cancel()
            await self._leave_group(entry.subject.group)

    async def _join_user(self, user: str) -> None:
        self._users[user] = self._users.get(user, 0) + 1
        if user and self._users[user] == 1:
            await self._layer.group_add(channel.user_group(user), self._channel)

    async def _leave_user(self, user: str) -> None:
        self._users[user] = self._users.get(user, 0) - 1
        if self._users[user] <= 0:
            del self._users[user]
            if user:
                await self._leave_group(channel.user_group(user))

    async def _leave_group(self, group: str) -> None:
        try:
            await self._layer.group_discard(group, self._channel)
        except Exception as error:
            # Its messages find no entry and are dropped.
            logger.warning("Group %s was not left: %r", group, error)

    async def _refresh(self, entries: Iterable[Entry], logs: Set[Subject]) -> bool:
        """Read what the events did not carry: results, counts, missing log lines; whether anything was read."""
        # Who comes while another reads must not take for read what is being read.
        async with self._reading:
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
                return False
            else:
                rows = []
                return True
            finally:
                # Not read, be it that who asked for it went away midway.
                for entry in rows:
                    entry.stale = True

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
