"""What travels over the channel layer: whole snapshots, so that any one can stand for all before it."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, Self
from uuid import UUID

from status.states import RANK, TERMINAL, State


def _to_wire(at: datetime | None) -> float | None:
    return at.timestamp() if at else None


def _from_wire(seconds: float | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds is not None else None


@lru_cache(10_000)
def _job_id(hexadecimal: str) -> UUID:
    """Kept, for the same jobs come again and again; else it would take a third of the time of UUID(hex)."""
    return UUID(bytes=bytes.fromhex(hexadecimal))


def percents(fraction: float | None) -> int | None:
    """A part of 1 in whole percents, rounded down; None for None.

    >>> percents(29 / 100)
    29
    """
    # 29 / 100 * 100 is less than 29.
    return None if fraction is None else int(fraction * 100 + 1e-9)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A named part of a job's work."""

    name: str
    weight: float = 1.0
    state: str = "pending"
    """`pending`, `running` or `done`."""
    current: float = 0
    total: float | None = None
    """None: not known."""
    unit: str = ""
    detail: str = ""
    """The name of the innermost step running inside this one."""
    seconds: float | None = None
    """How long it has run; None before it began."""

    def to_wire(self) -> list[Any]:
        """The fields in order, for JSON and msgpack."""
        return [
            self.name,
            self.weight,
            self.state,
            self.current,
            self.total,
            self.unit,
            self.detail,
            self.seconds,
        ]

    @classmethod
    def from_wire(cls, fields: list[Any]) -> Self:
        """The step that `to_wire` wrote."""
        name, weight, state, current, total, unit, detail, seconds = fields
        return cls(
            name=name,
            weight=weight,
            state=state,
            current=current,
            total=total,
            unit=unit,
            detail=detail,
            seconds=seconds,
        )

    @property
    def fraction(self) -> float | None:
        """Its part done, 0 to 1; None while unknown."""
        if self.state == "done":
            return 1.0
        if self.total:
            return min(max(self.current / self.total, 0.0), 1.0)
        return 0.0 if self.state == "pending" else None

    @property
    def percent(self) -> int | None:
        """Its part done in whole percents, rounded down; None while unknown."""
        return percents(self.fraction)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One log line of a job; numbers count from 1 within the attempt, as people count attempts."""

    number: int
    attempt: int
    at: datetime
    level: int
    text: str

    @property
    def place(self) -> tuple[int, int]:
        """Orders all lines of a job."""
        return self.attempt, self.number

    def to_wire(self) -> list[Any]:
        """The fields in order, for msgpack."""
        return [self.number, self.attempt, self.at.timestamp(), self.level, self.text]

    @classmethod
    def from_wire(cls, fields: list[Any]) -> Self:
        """The line that `to_wire` wrote."""
        number, attempt, at, level, text = fields
        return cls(number=number, attempt=attempt, at=datetime.fromtimestamp(at, UTC), level=level, text=text)


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvent:
    """All live fields of a job at one moment, and the log lines new since the last event.

    `version` orders events of one job: whoever holds a newer one ignores an older one.
    """

    job: UUID
    attempt: int
    seq: int
    state: str
    failure: str = ""
    steps: tuple[Step, ...] = ()
    progress: float | None = None
    """The whole's part done, 0 to 1; None while unknown."""
    rate: float | None = None
    """Units of the running step a second."""
    time_left_seconds: float | None = None
    worker: str = ""
    stoppable: bool = False
    """Whether the process that runs it can be terminated without taking anything else along."""
    started_at: datetime | None = None
    finished_at: datetime | None = None
    next_at: datetime | None = None
    cancel_requested_at: datetime | None = None
    line_count: int = 0
    """The number of the attempt's last log line."""
    file_count: int = 0
    polls: int = 0
    """How many of the attempts were polls of remote work, which people do not count as attempts."""
    poll_at: datetime | None = None
    """Set while the job waits for a poll: when its message is to be sent."""
    tally: dict[str, int] = field(default_factory=dict, hash=False)
    """Of a canvas: how many of its members are in which state."""
    lines: tuple[Line, ...] = ()
    """The newest lines, ending with number `line_count`; none when there were too many to carry."""

    @property
    def version(self) -> tuple[int, int, int]:
        """Attempt, then how far the state is, then the sequence number."""
        return self.attempt, RANK[self.state], self.seq

    @property
    def tries(self) -> int:
        """The attempt as people count: a poll goes on with the attempt before it."""
        return self.attempt - self.polls

    @property
    def is_terminal(self) -> bool:
        """Whether the job has ended."""
        return self.state in TERMINAL

    @property
    def milestone(self) -> tuple[Any, ...]:
        """What a page must not be made to wait for when it changes: state, attempt, cancelling, step."""
        running = [(step.name, step.detail) for step in self.steps if step.state == "running"]
        return self.attempt, self.state, self.cancel_requested_at, running

    def over(self, held: "JobEvent | None") -> "JobEvent":
        """The newer of this and `held`.

        A cancel request is written by another process than progress is and so carries no sequence number of
        its own; within an attempt it stays once it was seen.
        """
        if held is None:
            return self
        newer, older = (self, held) if self.version > held.version else (held, self)
        asked = older.cancel_requested_at
        if asked is not None and newer.cancel_requested_at is None and older.attempt == newer.attempt:
            return replace(newer, cancel_requested_at=asked)
        return newer

    def is_behind(self, attempt: int, state: str, seq: int, cancel_requested_at: datetime | None) -> bool:
        """Whether `over` would take anything of an event that stands there.

        Example:
            >>> JobEvent(job=job.pk, attempt=1, seq=4, state="running").is_behind(1, "running", 5, None)
            True
        """
        if (attempt, RANK[State(state)], seq) > self.version:
            return True
        asked = cancel_requested_at is not None and self.cancel_requested_at is None
        return asked and attempt == self.attempt

    def to_wire(self) -> dict[str, Any]:
        """As a channel-layer message: primitives only."""
        return {
            "type": "status.job",
            "job": self.job.hex,
            "attempt": self.attempt,
            "seq": self.seq,
            "state": str(self.state),
            "failure": str(self.failure),
            "steps": [step.to_wire() for step in self.steps],
            "progress": self.progress,
            "rate": self.rate,
            "time_left_seconds": self.time_left_seconds,
            "worker": self.worker,
            "stoppable": self.stoppable,
            "started_at": _to_wire(self.started_at),
            "finished_at": _to_wire(self.finished_at),
            "next_at": _to_wire(self.next_at),
            "cancel_requested_at": _to_wire(self.cancel_requested_at),
            "line_count": self.line_count,
            "file_count": self.file_count,
            "polls": self.polls,
            "poll_at": _to_wire(self.poll_at),
            "tally": self.tally,
            "lines": [line.to_wire() for line in self.lines],
        }

    @classmethod
    def from_wire(cls, message: dict[str, Any]) -> Self:
        """The event that `to_wire` wrote.

        Raises KeyError, TypeError or ValueError for anything else.
        """
        return cls(
            job=_job_id(message["job"]),
            attempt=message["attempt"],
            seq=message["seq"],
            state=State(message["state"]),
            failure=message["failure"],
            steps=tuple([Step.from_wire(step) for step in message["steps"]]),
            progress=message["progress"],
            rate=message["rate"],
            time_left_seconds=message["time_left_seconds"],
            worker=message["worker"],
            stoppable=message["stoppable"],
            started_at=_from_wire(message["started_at"]),
            finished_at=_from_wire(message["finished_at"]),
            next_at=_from_wire(message["next_at"]),
            cancel_requested_at=_from_wire(message["cancel_requested_at"]),
            line_count=message["line_count"],
            file_count=message["file_count"],
            polls=message["polls"],
            poll_at=_from_wire(message["poll_at"]),
            tally=message["tally"],
            lines=tuple([Line.from_wire(line) for line in message["lines"]]),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MembersEvent:
    """Members of a task, which it started itself, have moved; what is shown of them is read again."""

    job: UUID

    def to_wire(self) -> dict[str, Any]:
        """As a channel-layer message."""
        return {"type": "status.members", "job": self.job.hex}

    @classmethod
    def from_wire(cls, message: dict[str, Any]) -> Self:
        """The event that `to_wire` wrote."""
        return cls(job=UUID(message["job"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicEvent:
    """The newest value of a topic."""

    topic: str
    version: int
    payload: dict[str, Any]
    at: datetime

    def to_wire(self) -> dict[str, Any]:
        """As a channel-layer message."""
        return {
            "type": "status.topic",
            "topic": self.topic,
            "version": self.version,
            "payload": self.payload,
            "at": self.at.timestamp(),
        }

    @classmethod
    def from_wire(cls, message: dict[str, Any]) -> Self:
        """The event that `to_wire` wrote."""
        return cls(
            topic=message["topic"],
            version=message["version"],
            payload=message["payload"],
            at=datetime.fromtimestamp(message["at"], UTC),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ListEvent:
    """A job was made that belongs into a list; the list is read again."""

    scope: str
    """The owner's primary key as text, or `all`."""

    def to_wire(self) -> dict[str, Any]:
        """As a channel-layer message."""
        return {"type": "status.list", "scope": self.scope}

    @classmethod
    def from_wire(cls, message: dict[str, Any]) -> Self:
        """The event that `to_wire` wrote."""
        return cls(scope=message["scope"])


@dataclass(frozen=True, slots=True, kw_only=True)
class LogoutEvent:
    """A session ended; its sockets are closed."""

    user: str
    session: str

    def to_wire(self) -> dict[str, Any]:
        """As a channel-layer message."""
        return {"type": "status.logout", "user": self.user, "session": self.session}

    @classmethod
    def from_wire(cls, message: dict[str, Any]) -> Self:
        """The event that `to_wire` wrote."""
        return cls(user=message["user"], session=message["session"])


@dataclass(frozen=True, slots=True, kw_only=True)
class InboxEvent:
    """A user's notifications have changed; what is shown of them is read again."""

    user: str
    """The primary key as text."""

    def to_wire(self) -> dict[str, Any]:
        """As a channel-layer message."""
        return {"type": "status.inbox", "user": self.user}

    @classmethod
    def from_wire(cls, message: dict[str, Any]) -> Self:
        """The event that `to_wire` wrote."""
        return cls(user=message["user"])


Event = JobEvent | MembersEvent | TopicEvent | ListEvent | LogoutEvent | InboxEvent

_KINDS: dict[str, type[Event]] = {
    "status.job": JobEvent,
    "status.members": MembersEvent,
    "status.topic": TopicEvent,
    "status.list": ListEvent,
    "status.logout": LogoutEvent,
    "status.inbox": InboxEvent,
}


def from_wire(message: dict[str, Any]) -> Event:
    """The event of a channel-layer message.

    Raises KeyError, TypeError or ValueError when the message is none of ours.

    >>> from_wire({"type": "status.list", "scope": "all"})
    ListEvent(scope='all')
    """
    return _KINDS[message["type"]].from_wire(message)
