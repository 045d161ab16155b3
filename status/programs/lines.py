"""The log lines that one watch tells: each once, in order."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final
from uuid import UUID

from django.db.models import Q

from status import conf
from status.events import Line
from status.hub.slots import NOWHERE, Place
from status.inbound import in_thread
from status.models import LogLine
from status.programs.messages import Log
from status.programs.wire import describe_line, place_text

MOST_LINES: Final = 1000
"""Of one answer."""

MOST_WAITS: Final = 3
"""Lines that are not in the table then went with their worker."""


def lines_after(job_id: UUID, place: Place, limit: int) -> list[Line]:
    """The lines of a job's log behind `place`, oldest first, `limit` at most; reads the database."""
    attempt, number = place
    behind = Q(attempt__gt=attempt) | Q(attempt=attempt, number__gt=number)
    # The second condition follows from the first, and is one that an index can serve.
    found = LogLine.objects.filter(behind, job_id=job_id, attempt__gte=attempt)
    return [line.frozen() for line in found.order_by("attempt", "number")[:limit]]


class Lines:
    """How far a watch is in the log of its job."""

    def __init__(self, job_id: UUID, after: Place, send: Callable[[Log], Awaitable[None]]) -> None:
        """`after` is the place of the last line that the program has; `NOWHERE`: it begins with the tail."""
        self._job_id, self._at = job_id, after
        self._send = send

    async def tell(self, tail: list[Line]) -> None:
        """Tell what is new in `tail`, the last lines as the hub knows them; what is older comes from the table."""
        for wait_seconds in (0.0, *[conf.current().checkpoint_seconds] * MOST_WAITS):
            if self._leads_to(tail):
                break
            # Workers write lines a little after they tell of them.
            await asyncio.sleep(wait_seconds)
            await self.tell_stored()
        fresh = [line for line in tail if line.place > self._at]
        if fresh:
            await self._tell(fresh)

    async def tell_stored(self) -> None:
        """Tell what is in the table and was not told."""
        while found := await in_thread(lines_after, self._job_id, self._at, MOST_LINES):
            await self._tell(found)

    def _leads_to(self, tail: list[Line]) -> bool:
        """Whether no line is missing between what was told and `tail`, as far as numbers tell."""
        if not tail or self._at == NOWHERE or tail[0].place <= self._at:
            return True
        attempt, number = self._at
        return tail[0].place == (attempt, number + 1)

    async def _tell(self, lines: list[Line]) -> None:
        self._at = lines[-1].place
        await self._send(
            Log(id=self._job_id, lines=[describe_line(line) for line in lines], next=place_text(self._at))
        )
