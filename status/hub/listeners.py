"""Those who want to know of a job and are no page: they get the job itself, as the hub knows it."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from status import conf
from status.hub.entries import Entry
from status.hub.slots import NOWHERE
from status.models import Job
from status.pace import Pace


class Listener:
    """One who listens to one job. What it has not taken yet is replaced by what is newer."""

    def __init__(self, entry: Entry, settle: Callable[..., Awaitable[bool]], *, log: bool = False) -> None:
        """`settle` reads what the events of `entry` did not carry; whether it could. `log`: its tail, too."""
        self.entry = entry
        self.log = log
        self._settle = settle
        self._moved = asyncio.Event()
        self._urgent = asyncio.Event()
        self._pace = Pace()

    def wake(self, *, urgent: bool) -> None:
        """The entry has something new; what is urgent does not wait for its turn."""
        self._moved.set()
        if urgent:
            self._urgent.set()

    @property
    def job(self) -> Job | None:
        """The job as far as it is known now; None when it has no row."""
        return self.entry.shown.job

    async def jobs(self) -> AsyncIterator[Job]:
        """The job as it is now, then as it moves, at most once in `FRAME_SECONDS`; the last one has ended.

        For who wants the log it comes again also when `entry.tail` has got lines. It also ends when the row is gone.

        Example:
            >>> async with get_hub().listen(job_id) as listener:
            ...     async for job in listener.jobs():
            ...         print(job.state)
        """
        seen = (-1, NOWHERE)
        logs = {self.entry.subject} if self.log else frozenset()
        while True:
            self._moved.clear()
            self._urgent.clear()
            # While rows cannot be read, an ending waits for its result: the hub's repair comes back to it.
            if await self._settle([self.entry], logs):
                moment, job = (self.entry.version, self.entry.tail_end if self.log else NOWHERE), self.job
                if job is None:
                    return
                if moment != seen:
                    seen = moment
                    self._pace.take(time.monotonic(), conf.current().frame_seconds)
                    yield job
                    if not job.is_live:
                        return
            await self._turn()

    async def _turn(self) -> None:
        await self._moved.wait()
        wait = self._pace.wait(time.monotonic(), conf.current().frame_seconds)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await self._urgent.wait()
