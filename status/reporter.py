"""One thread per worker process that reports for all jobs which run there.

It reads the live jobs ten times a second, publishes what changed, and once a second writes the rows and looks
for cancel requests. With Redis or the database down the tasks go on; the next success carries the newest
state. Beginnings and endings are written by the task's own thread, before they are published; an ending that
the database refuses is kept here and tried again.
"""

import logging
import os
import time
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import (
    DatabaseError,
    DataError,
    IntegrityError,
    InterfaceError,
    close_old_connections,
    connection,
    connections,
)
from django.utils import timezone

from status import channel, conf, forks, threads, workflow
from status.events import JobEvent, Line
from status.live import LiveJob
from status.models import Job, LogLine
from status.outbox import Membership
from status.states import TERMINAL, State
from status.telling import Untold
from status.watch import Ending, Watch, columns, finish_steps, moved, unwritten

logger = logging.getLogger(__name__)

MOST_LINES_IN_EVENT = 50
URGENT_SECONDS = 0.02
BUSY_TIMEOUT_MS = 500
LINGER_SECONDS = 1.0
LINGER_TICK_SECONDS = 0.1
"""After the last job the thread looks for another one so long and so often, before it sleeps until it is woken."""


class Reporter:
    """Reports for the jobs that run in this process; see `begin` and `end`."""

    def __init__(self) -> None:
        # In one process the next attempt may begin before this one has heard of its own end.
        self._watches: dict[tuple[UUID, int], Watch] = {}
        self._late: list[tuple[Watch, Ending]] = []
        self._moved: dict[UUID, tuple[float, datetime]] = {}
        """Canvases whose members moved: when to compute them anew (monotonic), and when that was seen."""
        self._untold = Untold()
        self._wake, self._asleep = threads.Event(), True
        self._begun = False
        """Whether a job has begun in this process."""
        self._busy_at = 0.0
        self._thread: threads.Thread | None = None
        self._starting = threads.Lock()

    def begin(self, live: LiveJob) -> None:
        """Report for `live` from now on."""
        self._begun = True
        self._watches[live.id, live.attempt] = Watch(live=live, checked_at=time.monotonic())
        if live.eager:
            return
        live.wake = self._wake.set
        if live.member is not None:
            self.refresh_soon([live.member.parent])
        self._start()
        if self._asleep:
            # Else its next look, at most a tenth of a second from now, finds it: many short jobs wake nobody.
            self._asleep = False
            self._wake.set()

    def reports(self, live: LiveJob) -> bool:
        """Whether `live` has begun here and not ended."""
        watch = self._watches.get((live.id, live.attempt))
        return watch is not None and watch.live is live

    def end(self, live: LiveJob, ending: Ending) -> None:
        """Write how `live` ended, then publish it; if the database refuses, keep it and try again."""
        watch = self._watches.pop((live.id, live.attempt), None) or Watch(live=live)
        finish_steps(live, ending)
        if not self._write_end(watch, ending):
            self._late.append((watch, ending))
            self._start()
            self._wake.set()

    def refresh_soon(self, parents: Iterable[UUID]) -> None:
        """Members of these have moved: have their figures computed, in this process or another."""
        seen = timezone.now()
        for parent in parents:
            due, _seen = self._moved.get(parent, (0.0, seen))
            self._moved[parent] = due, seen
        if self._moved:
            self._start()
            self._wake.set()

    def leave(self, live: LiveJob) -> None:
        """Write what is known of `live` for the last time: it ends with this process, and another one says so."""
        watch = self._watches.pop((live.id, live.attempt), None)
        if watch is not None:
            self._checkpoint([watch], time.monotonic())

    def flush(self, timeout_seconds: float) -> None:
        """Before the process ends: write what is late, send what is waiting."""
        deadline = time.monotonic() + timeout_seconds
        while (self._late or self._moved or self._untold) and time.monotonic() < deadline:
            self._write_late()
            self._refresh(time.monotonic())
            self._untold.tell()
            if self._late or self._moved or self._untold:
                time.sleep(0.1)
        # The thread may be about it.
        self._untold.tell()
        channel.flush(max(deadline - time.monotonic(), 0.1))

    def _start(self) -> None:
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                self._thread = threads.Thread(self._run, name="status-reporter")

    def _run(self) -> None:
        while True:
            try:
                with forks.hold_off():
                    wait = self._tick()
                    if not self._begun:
                        # The main process of a worker: its forks shall inherit no connection.
                        connections.close_all()
                self._wake.wait(wait)
                self._wake.clear()
            except Exception:
                logger.exception("The reporter goes on after an error")
                time.sleep(1.0)

    def _tick(self) -> float | None:
        """Report what is due; returns the seconds until the next tick, None for "when woken"."""
        now = time.monotonic()
        watches = list(self._watches.values())
        waits = [self._publish_safely(watch, now) for watch in watches]
        due = [w for w in watches if now - w.checked_at >= conf.current().checkpoint_seconds]
        if due:
            self._checkpoint(due, now)
        if self._late:
            self._write_late()
        refreshes = [*self._refresh(now), *self._tell(now)]
        if watches or self._late or self._moved or self._untold:
            self._busy_at = now
        elif now - self._busy_at < LINGER_SECONDS:
            return LINGER_TICK_SECONDS
        else:
            connections.close_all()
            self._asleep = True
            # One that has begun or ended in between did not see that.
            return 0.0 if self._watches or self._untold else None
        checks = [w.checked_at + conf.current().checkpoint_seconds - now for w in watches]
        return max(min([*waits, *checks, *refreshes, 1.0]), 0.005)

    def _refresh(self, now: float) -> list[float]:
        """Compute the canvases whose turn has come; returns the seconds until each of the others."""
        for parent, (due, seen) in list(self._moved.items()):
            if due > now:
                continue
            try:
                pause, parents = workflow.refresh_in_turn(parent, seen)
            except (DatabaseError, InterfaceError) as error:
                logger.warning("Job %s: its members are not counted yet: %r", parent, error)
                connection.close()
                pause, parents = 1.0, set()
            # Members may have moved meanwhile.
            if self._moved.get(parent) == (due, seen) and not pause:
                del self._moved[parent]
            elif parent in self._moved:
                self._moved[parent] = time.monotonic() + pause, self._moved[parent][1]
            for other in parents:
                self._moved.setdefault(other, (0.0, timezone.now()))
        return [max(due - now, 0.0) for due, _seen in self._moved.values()]

    def _tell_soon(self, **fields: Any) -> None:
        """Have the thread tell whose job has just ended; only the first of those who are told together wakes it."""
        if self._untold.add(**fields):
            self._start()
            self._wake.set()

    def _tell(self, now: float) -> list[float]:
        """Tell what is due; returns the seconds until what waits is."""
        if self._untold and now >= self._untold.due_at:
            _connect()
            self._untold.tell()
        return [max(self._untold.due_at - now, 0.0)] if self._untold else []

    def _publish_safely(self, watch: Watch, now: float) -> float:
        """As `_publish`; what goes wrong with one job is not the others' business."""
        try:
            return self._publish(watch, now)
        except Exception:
            logger.exception("Job %s cannot be reported", watch.live.id)
            return conf.current().checkpoint_seconds

    def _publish(self, watch: Watch, now: float) -> float:
        """Publish `watch` if something moved and its time has come; returns when to look again."""
        live = watch.live
        if live.cancel_requested_at is not None or live.fenced:
            live.attention = True
        pause = conf.current().publish_seconds
        wait = watch.pace.wait(now, pause)
        if wait and watch.last is not None and live.event().milestone != watch.last.milestone:
            wait = min(wait, watch.published_at + URGENT_SECONDS - now)
        if wait > 0:
            return wait
        event = watch.snapshot(now)
        if not moved(event, watch.last):
            live.attention = True
            return conf.current().checkpoint_seconds
        watch.published_at = now
        watch.pace.take(now, pause)
        with watch.lock:
            if not watch.ended:
                self._send(watch, event)
        if watch.pace.wait(now, pause) == 0:
            live.attention = True
        return pause

    def _send(self, watch: Watch, event: JobEvent) -> None:
        """Publish `event` under a new sequence number, with the lines that are new."""
        live, lines = watch.live, watch.take_lines()
        live.seq += 1
        if len(lines) > MOST_LINES_IN_EVENT:
            # Too many to carry: the hub shall find them in the table.
            self._save_lines(watch)
            lines = []
        watch.last = replace(event, seq=live.seq, lines=tuple(lines))
        channel.publish(watch.last)

    def _checkpoint(self, watches: list[Watch], now: float) -> None:
        """Write the rows of these jobs and learn which of them shall end."""
        try:
            _connect()
            for watch in watches:
                self._save_safely(watch, now)
            self.refresh_soon({w.live.member.parent for w in watches if w.live.member is not None})
            asked = Job.objects.filter(pk__in=[w.live.id for w in watches], cancel_requested_at__isnull=False)
            for job in asked.only("cancel_requested_at"):
                self._cancel(job.pk, job.cancel_requested_at)
        except (DatabaseError, InterfaceError) as error:
            logger.warning("Rows not written, next try in a second: %r", error)
            connection.close()
        for watch in watches:
            watch.checked_at = now

    def _save_safely(self, watch: Watch, now: float) -> None:
        """As `_save`; a row that cannot be written must not cost the others their lease."""
        try:
            with watch.lock:
                if not watch.live.fenced and not watch.ended:
                    self._save(watch, now)
        except (DatabaseError, InterfaceError) as error:
            if not isinstance(error, DataError | IntegrityError):
                raise
            logger.exception("Job %s: its row cannot be written", watch.live.id)
        except Exception:
            logger.exception("Job %s: its row cannot be written", watch.live.id)

    def _save(self, watch: Watch, now: float) -> None:
        live = watch.live
        self._save_lines(watch)
        live.seq += 1
        event = watch.snapshot(now)
        # Until the database has answered nobody knows.
        live.written, written = {}, columns(event)
        kept = Job.objects.advance(event.job, State.RUNNING, attempt=live.attempt, seq=live.seq, **written)
        live.written = written
        if not kept and (live.id, live.attempt) in self._watches:
            logger.warning("Job %s was overtaken: attempt %d stops", event.job, live.attempt)
            live.fenced = live.attention = True

    def _save_lines(self, watch: Watch) -> bool:
        """Write the lines that are not in the table yet; whether they are now."""
        watch.take_lines()
        if watch.live.dropped:
            watch.tell_dropped()
        if not watch.unsaved:
            return True
        lines = list(watch.unsaved)
        try:
            _insert_lines(watch.live, lines)
        except IntegrityError:
            # An older line of the same place is no error here: the job itself is gone.
            logger.warning("Job %s: its row is gone, %d log lines with it", watch.live.id, len(lines))
        except (DatabaseError, InterfaceError) as error:
            logger.warning("Job %s: log lines not written yet: %r", watch.live.id, error)
            return False
        for _line in lines:
            watch.unsaved.popleft()
        return True

    def _cancel(self, job_id: UUID, at: datetime | None) -> None:
        for watch in list(self._watches.values()):
            if watch.live.id == job_id and watch.live.cancel_requested_at is None:
                watch.live.cancel_requested_at = at
                watch.live.attention = True
                self._wake.set()

    def _write_end(self, watch: Watch, ending: Ending) -> bool:
        with watch.lock:
            return self._write_end_locked(watch, ending)

    def _write_end_locked(self, watch: Watch, ending: Ending) -> bool:
        live = watch.live
        live.seq += 1
        finished_at = None if ending.state == State.WAITING else timezone.now()
        at: dict[str, Any] = {
            "finished_at": finished_at,
            "next_at": ending.next_at,
            "poll_at": ending.poll_at,
        }
        event = live.event(ending.state, failure=ending.failure, **at)
        try:
            if not self._save_lines(watch):
                return False
            written = unwritten(live, event) | {"failure": ending.failure, **at, **ending.columns}
            tell = None if live.eager or ending.state not in TERMINAL else self._tell_soon
            won = Job.objects.advance(
                event.job, ending.state, attempt=live.attempt, seq=live.seq, tell=tell, **written
            )
        except (DatabaseError, InterfaceError) as error:
            logger.warning("Job %s: its end (%s) is not written yet: %r", live.id, ending.state, error)
            connection.close()
            return False
        watch.ended = True
        if won:
            channel.publish(event)
        else:
            logger.warning("Job %s: %s came too late, the row had moved on", live.id, ending.state)
        if live.member is not None:
            self._go_on(live.member, ending.state)
        return True

    def _go_on(self, member: Membership, state: str) -> None:
        """After a member ended: what follows begins now, the whole's figures are computed in their time."""
        try:
            parents = workflow.ended(member.parent) if state in TERMINAL else {member.parent}
        except (DatabaseError, InterfaceError) as error:
            logger.warning("Job %s: what follows is left to the sweep: %r", member.parent, error)
            parents = {member.parent}
        self.refresh_soon(parents)

    def _write_late(self) -> None:
        for entry in list(self._late):
            if self._write_end(*entry):
                self._late.remove(entry)


def _insert_lines(live: LiveJob, lines: Iterable[Line]) -> None:
    rows = [LogLine.of(live.id, line) for line in lines]
    # A batch whose COMMIT was done but whose answer was lost comes again.
    LogLine.objects.bulk_create(rows, batch_size=500, ignore_conflicts=True)


def _connect() -> None:
    """Have a connection that works; in SQLite one that does not wait for long.

    There a task may hold the one write lock, and the reporter rather comes again.
    """
    close_old_connections()
    if connection.connection is None and connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")


_reporter = Reporter()


def reporter() -> Reporter:
    """The reporter of this process."""
    return _reporter


def _forget_after_fork() -> None:
    global _reporter
    _reporter = Reporter()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
