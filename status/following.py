"""Following one job from outside a page: what the channel layer says, held against the row."""

import asyncio
import contextlib
import logging
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self
from uuid import UUID

from django.db import DatabaseError, InterfaceError, connection
from django.db.models import Q

from status import channel, conf
from status.events import JobEvent, Line, MembersEvent, from_wire
from status.models import Job

logger = logging.getLogger(__name__)
_client_log = logging.getLogger("channels_redis.pubsub")

JOIN_SECONDS = 1.0
READ_SECONDS = 0.5
"""A job with members is read anew at most this often, however much they report."""
LONGEST_PAUSE_SECONDS = 5.0

News = JobEvent | MembersEvent | None


class Gone(Exception):
    """The job has no row any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """A job as it is now, and the log lines that are new since the moment before."""

    job: Job
    lines: tuple[Line, ...] = ()


class _Once(logging.Filter):
    """Says one line where the channel layer's client would write a traceback each second that Redis is down."""

    def __init__(self, job_id: UUID) -> None:
        super().__init__()
        self._job_id, self._said = job_id, False

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno < logging.WARNING:
            return True
        self.say(record.exc_info[1] if record.exc_info else record.getMessage())
        return False

    def say(self, reason: object) -> None:
        if not self._said:
            self._said = True
            logger.warning("Job %s: no messages come, its row is read instead: %s", self._job_id, reason)


class _Listener:
    """A thread with an event loop that hands over what comes for one job; silent while Redis is down."""

    def __init__(self, job_id: UUID, news: "queue.SimpleQueue[News]") -> None:
        self._job_id, self._news = job_id, news
        self.joined = threading.Event()
        self._trouble = _Once(job_id)
        _client_log.addFilter(self._trouble)
        self._loop = asyncio.new_event_loop()
        self._task = self._loop.create_task(self._listen_for_ever())
        self._thread = threading.Thread(target=self._run, name="status-listener", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(JOIN_SECONDS)
        _client_log.removeFilter(self._trouble)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._task)
        self._loop.close()

    async def _listen_for_ever(self) -> None:
        layer, pause = channel.get_layer(), 0.25
        while layer is not None:
            try:
                name = await layer.new_channel()
                await layer.group_add(channel.job_group(self._job_id), name)
                self.joined.set()
                # What came before is in the row.
                self._news.put(None)
                while True:
                    self._take(await layer.receive(name))
            except Exception as error:
                self._trouble.say(error)
                self.joined.clear()
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def _take(self, message: dict[str, object]) -> None:
        try:
            event = from_wire(message)
        except (KeyError, TypeError, ValueError) as error:
            logger.warning("A message that is no event was dropped: %r", error)
            return
        if isinstance(event, JobEvent | MembersEvent):
            self._news.put(event)


class Following:
    """One job, moment by moment, until it has ended; a context manager and an iterator.

    Events of the channel layer make it quick. The row is the truth: it is read when the group was joined, every
    `REPAIR_SECONDS`, every `CHECKPOINT_SECONDS` while there is no channel layer to hear from, and at the end. So it
    ends also when messages are lost or Redis is down.

    Args:
        job_id: the job.

    Raises:
        Gone: there is no such row, or it was deleted meanwhile.

    Example:
        >>> with Following(job.pk) as following:
        ...     states = [moment.job.state for moment in following]
    """

    def __init__(self, job_id: UUID) -> None:
        self._job_id = job_id
        self._news: queue.SimpleQueue[News] = queue.SimpleQueue()
        self._row: Job | None = None
        self._event: JobEvent | None = None
        self._read_at = 0.0
        self._place = (0, 0)
        self._lacks_lines = True
        self._is_stale = False

    def __enter__(self) -> Self:
        self._listener = _Listener(self._job_id, self._news)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.stop()

    def __iter__(self) -> Iterator[Moment]:
        self._listener.joined.wait(JOIN_SECONDS)
        lines = self._read()
        while True:
            if self._row is not None and self._event is not None:
                yield Moment(job=self._row.at(self._event), lines=tuple(lines))
                if self._event.is_terminal and self._row.state == self._event.state:
                    return
            lines = self._next()

    def _next(self) -> list[Line]:
        """Wait for news, or for the time to read the row; returns the new lines."""
        try:
            news = self._news.get(timeout=max(self._due() - time.monotonic(), 0.0))
        except queue.Empty:
            return self._read()
        lines: list[Line] = []
        while True:
            lines += self._accept(news)
            if self._news.empty():
                break
            news = self._news.get()
        if self._event is not None and self._event.is_terminal:
            lines += self._read()
        return lines

    def _due(self) -> float:
        """When to read the row next, by the monotonic clock."""
        settings = conf.current()
        if self._is_stale:
            return self._read_at + READ_SECONDS
        hears = self._listener.joined.is_set() and not self._lacks_lines
        return self._read_at + (settings.repair_seconds if hears else settings.checkpoint_seconds)

    def _accept(self, news: News) -> list[Line]:
        if not isinstance(news, JobEvent):
            self._is_stale = True
            return []
        held = self._event
        newest = news.over(held)
        if newest is held:
            return []
        self._event = replace(newest, lines=())
        row = self._row
        # Results, errors and members are not in an event.
        if row is None or row.canvas or newest.attempt != row.attempt or row.has_live_members:
            self._is_stale = True
        return self._lines_of(news)

    def _lines_of(self, event: JobEvent) -> list[Line]:
        """The event's lines, if they follow on what was shown; else the table must be read."""
        fresh = [line for line in event.lines if line.place > self._place]
        attempt, number = self._place
        if fresh and fresh[0].place == (attempt or 1, number + 1):
            self._place = fresh[-1].place
        else:
            fresh = []
        self._lacks_lines = event.line_count > 0 and self._place < (event.tries, event.line_count)
        return fresh

    def _read(self) -> list[Line]:
        """Read the row and the lines that are missing; what the database refuses is tried again."""
        self._read_at = time.monotonic()
        self._is_stale = False
        try:
            row = (
                Job.objects.select_related("owner").defer("signature", "given", "output").get(pk=self._job_id)
            )
            event = row.event()
            newest = event.over(self._event)
            newest = event if event.is_terminal and event.attempt == newest.attempt else newest
            lines = self._read_lines() if self._lacks_lines or newest != self._event else []
        except Job.DoesNotExist:
            raise Gone from None
        except (DatabaseError, InterfaceError) as error:
            logger.warning("Job %s: its row is not read, the next try comes soon: %r", self._job_id, error)
            connection.close()
            return []
        self._row, self._event = row, newest
        self._lacks_lines = self._place < (newest.tries, newest.line_count) and newest.line_count > 0
        return lines

    def _read_lines(self) -> list[Line]:
        attempt, number = self._place
        rows = Job(pk=self._job_id).lines.filter(
            Q(attempt__gt=attempt) | Q(attempt=attempt, number__gt=number)
        )
        if self._place == (0, 0):
            newest = rows.order_by("-attempt", "-number")[: conf.current().log_tail]
            lines = [row.frozen() for row in reversed(newest)]
        else:
            lines = [row.frozen() for row in rows.order_by("attempt", "number")]
        if lines:
            self._place = lines[-1].place
        return lines
