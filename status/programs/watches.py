"""The jobs that one socket watches."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from uuid import UUID

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from status import conf
from status.hub import get_hub
from status.hub.slots import Place
from status.programs.lines import Lines
from status.programs.messages import Error, Moved, Outbound
from status.programs.refusals import Refused
from status.programs.wire import Code, describe, is_older

logger = logging.getLogger(__name__)


class Watches:
    """One task for each job, which waits for the hub and writes to the socket; a slow peer misses only what is old."""

    def __init__(self, send: Callable[[Outbound], Awaitable[None]]) -> None:
        self._send = send
        self._tasks: dict[UUID, asyncio.Task[None]] = {}
        self._told: dict[UUID, str] = {}

    def must_have_room(self, job_id: UUID | None = None) -> None:
        """Raise `Refused` when one more is too many."""
        most = conf.current().socket_watches
        if job_id not in self._tasks and len(self._tasks) >= most:
            text = ngettext(
                "A socket watches %(count)d job at most: unwatch it, or open another socket.",
                "A socket watches %(count)d jobs at most: unwatch some, or open another socket.",
                most,
            )
            raise Refused("too-large", text % {"count": most})

    def add(self, job_id: UUID, since: str = "", log_after: Place | None = None) -> None:
        """Watch a job that the caller may watch; one that is watched already is told anew.

        Args:
            job_id: the job.
            since: the version that the program has.
            log_after: the place of the last log line that it has, `NOWHERE` if none; None: it wants no lines.
        """
        told = self._told.get(job_id, "")
        self.drop(job_id)
        self._told[job_id] = since if is_older(told, since) else told
        task = asyncio.get_running_loop().create_task(self._watch(job_id, since, log_after))
        self._tasks[job_id] = task
        task.add_done_callback(lambda done: self._forget(job_id, done))

    def drop(self, job_id: UUID) -> None:
        """Watch a job no more."""
        self._told.pop(job_id, None)
        task = self._tasks.pop(job_id, None)
        if task is not None:
            task.cancel()

    def drop_all(self) -> None:
        """Watch nothing more."""
        for job_id in list(self._tasks):
            self.drop(job_id)

    def _forget(self, job_id: UUID, done: "asyncio.Task[None]") -> None:
        if self._tasks.get(job_id) is done:
            del self._tasks[job_id], self._told[job_id]

    async def _watch(self, job_id: UUID, since: str, log_after: Place | None) -> None:
        known, over = since, False
        lines = None if log_after is None else Lines(job_id, log_after, self._send)
        try:
            async with get_hub().listen(job_id, log=lines is not None) as listener:
                async for job in listener.jobs():
                    document = describe(job)
                    over = document.over
                    if lines is not None:
                        await lines.tell(listener.entry.tail)
                        if over:
                            await lines.tell_stored()
                    # The last one is always told, for it ends the watch; else nothing goes back.
                    is_news = document.version != known and not is_older(document.version, self._told[job_id])
                    if over or is_news:
                        known = self._told[job_id] = document.version
                        await self._send(Moved(job=document))
            if not over:
                await self._tell(job_id, "not-found", _("The job was deleted."))
        except Exception:
            logger.exception("Job %s: a watch ended", job_id)
            detail = _("The job is not watched any more, by a fault of the server. Watch it again.")
            await self._tell(job_id, "failed", detail)

    async def _tell(self, job_id: UUID, code: Code, detail: str) -> None:
        await self._send(Error(ref=None, code=code, detail=detail, errors=[], id=job_id))
