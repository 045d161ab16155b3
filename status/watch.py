"""What the reporter remembers of a job that runs in its process, and how it ended."""

import logging
from collections import deque
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.translation import ngettext

from status import clean, conf, threads
from status.events import JobEvent, Line
from status.live import LiveJob
from status.pace import Pace
from status.speed import Speed
from status.states import State


@dataclass(slots=True, kw_only=True)
class Watch:
    """What the reporter remembers of a live job between two ticks."""

    live: LiveJob
    last: JobEvent | None = None
    pace: Pace = field(default_factory=Pace)
    published_at: float = 0.0
    checked_at: float = 0.0
    saved: JobEvent | None = None
    unsaved: deque[Line] = field(default_factory=deque)
    unit_speed: Speed = field(default_factory=Speed)
    whole_speed: Speed = field(default_factory=Speed)
    lock: threads.Lock = field(default_factory=threads.Lock)
    """Held while lines and sequence numbers are handed out: a job may end while it is being reported."""
    ended: bool = False
    """Its end is written; what was seen of it before must not be published as something newer."""

    def snapshot(self, now: float) -> JobEvent:
        """The live fields with rate and time left."""
        live = self.live
        active = live.active()
        rate = left = None
        if active is not None:
            rate = self.unit_speed.sample(active, clean.number(active.current) or 0, now)
        done = live.fraction()
        if done is not None:
            # With weights the whole is one quantity; without, each step is measured for itself.
            slope = self.whole_speed.sample(None if live.explicit else active, done, now)
            left = (1.0 - done) / slope if slope else None
        return live.event(rate=rate, time_left_seconds=left)

    def take_lines(self) -> list[Line]:
        """Move the new lines from the job to those not yet saved, and return them."""
        taken: list[Line] = []
        while self.live.lines:
            taken.append(self.live.lines.popleft())
        self.unsaved.extend(taken)
        while len(self.unsaved) > conf.current().log_buffer:
            self.unsaved.popleft()
            self.live.dropped += 1
        return taken

    def tell_dropped(self) -> None:
        """Say in the log how many of its lines could not be kept since that was last said."""
        dropped, self.live.dropped = self.live.dropped, 0
        text = ngettext("%(count)d line could not be kept.", "%(count)d lines could not be kept.", dropped)
        self.live.add_line(logging.WARNING, text % {"count": dropped})
        self.take_lines()


def moved(event: JobEvent, last: JobEvent | None) -> bool:
    """Whether there is anything new to tell; clocks alone are not news."""
    return last is None or _essence(event) != _essence(last)


def _essence(event: JobEvent) -> tuple[Any, ...]:
    steps = [(s.name, s.state, s.weight, s.current, s.total, s.unit, s.detail) for s in event.steps]
    return event.attempt, event.state, steps, event.cancel_requested_at, event.line_count, event.file_count


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How an attempt ended: the state and the columns that go with it."""

    state: str
    failure: str = ""
    next_at: datetime | None = None
    poll_at: datetime | None = None
    columns: dict[str, Any] = field(default_factory=dict)


def columns(event: JobEvent) -> dict[str, Any]:
    """What of a job is written besides its state; also what could not be when it began."""
    return {
        "steps": [step.to_wire() for step in event.steps],
        "progress": event.progress,
        "rate": event.rate,
        "time_left_seconds": event.time_left_seconds,
        "worker": event.worker,
        "stoppable": event.stoppable,
        "started_at": event.started_at,
        "line_count": event.line_count,
        "file_count": event.file_count,
        "heartbeat_at": timezone.now(),
    }


def unwritten(live: LiveJob, event: JobEvent) -> dict[str, Any]:
    """As `columns`, without what the row holds already: an index of a column that is written is written as well."""
    known = live.written
    return {k: v for k, v in columns(event).items() if k not in known or known[k] != v}


def finish_steps(live: LiveJob, ending: Ending) -> None:
    """A job that succeeded has done all its steps; else the running one stays where it was left."""
    if ending.state == State.SUCCEEDED:
        for step in live.steps:
            if step.state == "running":
                step.end()
