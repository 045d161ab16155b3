"""What a page shows live: subjects, regions, and the view that holds all regions of one page."""

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from uuid import UUID

from status import channel

RULED = "as:"
"""Begins the scope of a list that a rule of the project's chooses; the primary key of its user follows."""

_TAG = re.compile(r"[a-z][a-z0-9]*\Z")
_ID = re.compile(r"[A-Za-z][A-Za-z0-9_-]*\Z")


def scope_of_rule(user: str) -> str:
    """The scope of the list that the project's own rule chooses for the user with that primary key."""
    return f"{RULED}{user}"


class Kind(StrEnum):
    """What a subject is."""

    JOB = "j"
    TOPIC = "t"
    LIST = "l"
    COUNT = "c"


@dataclass(frozen=True, slots=True)
class Subject:
    """What a region shows: a job, a topic, the jobs that came into a list since the page was made, or how many
    of a list are in one state."""

    kind: Kind
    key: str

    def __hash__(self) -> int:
        # Looked up for each event: a text knows its hash, an enumeration computes it in Python.
        return hash(self.key)

    @classmethod
    def job(cls, job_id: UUID) -> "Subject":
        """The job of that id."""
        return cls(Kind.JOB, job_id.hex)

    @classmethod
    def topic(cls, name: str) -> "Subject":
        """The topic of that name."""
        return cls(Kind.TOPIC, name)

    @classmethod
    def new_jobs(cls, scope: str, since: datetime, query: str = "") -> "Subject":
        """The jobs of `scope` (an owner's primary key as text, `all`, or a rule's) made after `since`.

        Args:
            scope: whose.
            since: a moment.
            query: only those that these filters let through, see `status.filters.Filters.query`.
        """
        return cls(Kind.LIST, f"{int(since.timestamp() * 1_000_000)}:{scope}?{query}")

    @classmethod
    def count(cls, scope: str, query: str, state: str) -> "Subject":
        """How many jobs of `scope` are in `state`, or in all states, under the filters `query`."""
        return cls(Kind.COUNT, f"{state}:{scope}?{query}")

    @property
    def job_id(self) -> UUID:
        """The id of a job subject."""
        return UUID(self.key)

    @property
    def scope(self) -> str:
        """Whose list a list subject is."""
        return self.key.partition(":")[2].partition("?")[0]

    @property
    def state(self) -> str:
        """The state that a count is of."""
        return self.key.partition(":")[0]

    @property
    def query(self) -> str:
        """The filters of a list subject."""
        return self.key.partition("?")[2]

    @property
    def is_list(self) -> bool:
        """Whether it is about many jobs."""
        return self.kind in {Kind.LIST, Kind.COUNT}

    @property
    def since(self) -> datetime:
        """The moment after which a list subject counts."""
        return datetime.fromtimestamp(int(self.key.partition(":")[0]) / 1_000_000, UTC)

    @property
    def group(self) -> str:
        """The channel-layer group that carries its events."""
        if self.kind is Kind.JOB:
            return channel.job_group(self.job_id)
        if self.kind is Kind.TOPIC:
            return channel.topic_group(self.key)
        # Whose a job is for a rule of the project's, only a query tells.
        return channel.list_group("all" if self.scope.startswith(RULED) else self.scope)


@dataclass(frozen=True, slots=True)
class Region:
    """One live place on a page."""

    subject: Subject
    template: str
    id: str
    tag: str = "div"
    appends: bool = False
    """A log: what is new is appended, not swapped."""

    def __hash__(self) -> int:
        return hash(self.id)

    def __post_init__(self) -> None:
        if not _TAG.match(self.tag):
            raise ValueError(f"tag must be the name of an HTML element, not {self.tag!r}")
        if not _ID.match(self.id):
            raise ValueError(
                f"id must begin with a letter and hold only letters, digits, - and _: {self.id!r}"
            )


@lru_cache(10_000)
def region_id(subject: Subject, template: str) -> str:
    """A stable id: the same for the same subject and template, on every page and in every process."""
    text = f"{subject.kind}|{subject.key}|{template}"
    return f"live-{hashlib.blake2s(text.encode(), digest_size=6).hexdigest()}"


@dataclass(frozen=True, slots=True)
class LiveForm:
    """A form on a page that starts jobs over the page's socket."""

    startable: str
    """The name under which they are started."""
    id: str
    """Of its element, and what the ids of the places in it begin with."""

    def __post_init__(self) -> None:
        if not _ID.match(self.id):
            raise ValueError(
                f"id must begin with a letter and hold only letters, digits, - and _: {self.id!r}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """All regions of one page, for one user in one language."""

    user: str
    """The user's primary key as text; empty for a visitor without login."""
    language: str
    timezone: str
    regions: tuple[Region, ...]
    bell: bool = False
    """Whether it shows the user's unread notifications, and toasts of new ones."""
    forms: tuple[LiveForm, ...] = ()

    @property
    def subjects(self) -> frozenset[Subject]:
        """What the page shows, each once."""
        return frozenset(region.subject for region in self.regions)

    @property
    def stays(self) -> bool:
        """Whether there is something to wait for also when all its jobs have ended."""
        return self.bell or bool(self.forms)

    @property
    def jobs(self) -> frozenset[UUID]:
        """The jobs that it shows live itself, and so makes no toasts of."""
        return frozenset(subject.job_id for subject in self.subjects if subject.kind is Kind.JOB)

    @property
    def look(self) -> tuple[str, str, tuple[Region, ...]]:
        """What the frames depend on: pages of the same look share them, whoever the user is."""
        return self.language, self.timezone, self.regions
