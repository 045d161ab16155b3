"""What programs read, the same over HTTP and over the socket. New fields may come; none goes within a version."""

import hashlib
import re
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

import msgspec
from msgspec import Struct

from status.events import Line
from status.models import Attachment, Job
from status.states import TERMINAL

VERSION: Final = 1
VERSION_PATTERN: Final = re.compile(r"[0-9]{1,18}(\.[0-9]{1,18}){2}-[0-9a-f]{1,64}\Z", re.ASCII)

State = Literal["queued", "running", "waiting", "succeeded", "failed", "cancelled"]


class StepDocument(Struct, frozen=True, kw_only=True):
    """A named part of a job's work."""

    name: str
    state: Literal["pending", "running", "done"]
    weight: float
    current: float
    total: float | None
    """Null: not known."""
    unit: str
    detail: str
    seconds: float | None


class JobDocument(Struct, frozen=True, kw_only=True):
    """One run of a task, or of a workflow, as it is at one moment."""

    id: UUID
    version: str
    """Another whenever anything else here is; the ETag of the job, and `since` of a watch."""
    page: str
    """The path of its page, for people."""
    title: str
    task: str
    startable: str
    """The name under which it was started; empty if it was not started by a name."""
    owner: str | None
    """The owner's primary key as text."""
    parent: UUID | None
    """The workflow that it is a member of."""
    canvas: Literal["", "chain", "group"]
    """What a workflow does with its members; empty for a task."""
    members: dict[str, int]
    """Of a workflow: how many of its members are in which state."""
    state: State
    over: bool
    """Whether it has ended: succeeded, failed or cancelled."""
    failure: Literal["", "error", "timeout", "worker lost"]
    """Why it failed; empty unless it did."""
    error: str
    """In words for people; not empty also while it waits to be retried."""
    attempt: int
    """Counts from 1."""
    progress: float | None
    """The whole's part done, 0 to 1; null while unknown."""
    rate: float | None
    """Units of the running step a second."""
    time_left_seconds: float | None
    steps: list[StepDocument]
    worker: str
    line_count: int
    """Log lines of this attempt."""
    file_count: int
    """Files to download."""
    result: Any
    """What the task returned, if JSON holds it and it is not too large."""
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    next_at: datetime | None
    """When a waiting job goes on."""
    cancel_requested_at: datetime | None


class JobList(Struct, frozen=True, kw_only=True):
    """A page of jobs, newest first."""

    jobs: list[JobDocument]
    next: str | None
    """`after` of the next page; null on the last."""


class LineDocument(Struct, frozen=True, kw_only=True):
    """One log line."""

    attempt: int
    number: int
    """Counts from 1 within the attempt."""
    at: datetime
    level: int
    """As in Python's logging: 20 information, 30 warning, 40 error."""
    text: str


class LineList(Struct, frozen=True, kw_only=True):
    """Log lines, oldest first."""

    lines: list[LineDocument]
    next: str
    """`after` of what follows, now or later."""
    more: bool
    """Whether more has been written already."""


class FileDocument(Struct, frozen=True, kw_only=True):
    """A file that a job was given or that it made."""

    id: UUID
    name: str
    role: Literal["input", "output"]
    size: int
    """In bytes."""
    created_at: datetime
    url: str
    """Where it is downloaded."""


class FileList(Struct, frozen=True, kw_only=True):
    """The files of a job."""

    files: list[FileDocument]


class FieldError(Struct, frozen=True, kw_only=True):
    """What is wrong with one field of what was sent."""

    field: str
    """`job`, `params.count`; empty if it is about the whole."""
    detail: str


Code = Literal[
    "invalid",
    "unauthenticated",
    "forbidden",
    "not-found",
    "not-allowed",
    "conflict",
    "too-large",
    "too-fast",
    "failed",
]


class Problem(Struct, frozen=True, kw_only=True):
    """Why a request was refused (RFC 9457)."""

    title: str
    status: int
    detail: str
    code: Code
    errors: list[FieldError]
    type: str = "about:blank"


def describe(job: Job) -> JobDocument:
    """The document of a job; reads nothing from the database.

    Args:
        job: the row, or what `Job.at` made; tracebacks and signatures are not needed.

    Example:
        >>> describe(job).state
        'running'
    """
    event = job.event()
    document = JobDocument(
        id=job.pk,
        version="",
        page=job.get_absolute_url(),
        title=job.title,
        task=job.task,
        startable=job.startable,
        owner=None if job.owner_id is None else str(job.owner_id),
        parent=job.parent_id,
        canvas=str(job.canvas),  # type: ignore[arg-type]  # The choices of the column.
        members={str(state): count for state, count in job.tally.items()},
        state=str(job.state),  # type: ignore[arg-type]
        over=job.state in TERMINAL,
        failure=str(job.failure),  # type: ignore[arg-type]
        error=job.error,
        attempt=job.tries,
        progress=1.0 if job.state == "succeeded" else job.progress,
        rate=job.rate,
        time_left_seconds=job.time_left_seconds,
        steps=[
            StepDocument(
                name=step.name,
                state=step.state,  # type: ignore[arg-type]
                weight=step.weight,
                current=step.current,
                total=step.total,
                unit=step.unit,
                detail=step.detail,
                seconds=step.seconds,
            )
            for step in event.steps
        ],
        worker=job.worker,
        line_count=job.line_count,
        file_count=job.file_count,
        result=job.result,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        next_at=job.next_at,
        cancel_requested_at=job.cancel_requested_at,
    )
    digest = hashlib.blake2s(msgspec.json.encode(document), digest_size=12).hexdigest()
    attempt, rank, seq = event.version
    return msgspec.structs.replace(document, version=f"{attempt}.{rank}.{seq}-{digest}")


def is_older(version: str, than: str) -> bool:
    """Whether a job moved on between `version` and `than`: the row is written less often than is told.

    Of what changed without that, such as a cancel request, it is not known which was first.

    >>> is_older("1.1.9-a3f0", "1.1.10-77be"), is_older("1.1.9-a3f0", "")
    (True, False)
    """
    return _place(version) < _place(than)


def _place(version: str) -> list[int]:
    numbers = version.partition("-")[0].split(".")
    return [int(number) for number in numbers] if VERSION_PATTERN.match(version) else []


def describe_line(line: Line) -> LineDocument:
    """The document of a log line."""
    return LineDocument(
        attempt=line.attempt, number=line.number, at=line.at, level=line.level, text=line.text
    )


def place_text(place: tuple[int, int]) -> str:
    """`next` of log lines that end at `place`.

    >>> place_text((1, 17))
    '1.17'
    """
    return f"{place[0]}.{place[1]}"


def read_place(text: str) -> tuple[int, int]:
    """The place that `text` was made of.

    Raises ValueError for anything else.
    """
    attempt, _dot, number = text.partition(".")
    if not all(part.isascii() and part.isdigit() and len(part) <= 9 for part in (attempt, number)):
        raise ValueError("not the place of a log line")
    return int(attempt), int(number)


def describe_file(attachment: Attachment, url: str) -> FileDocument:
    """The document of a file, which is downloaded at `url`."""
    return FileDocument(
        id=attachment.pk,
        name=attachment.name,
        role=attachment.role,  # type: ignore[arg-type]  # The choices of the column.
        size=attachment.size,
        created_at=attachment.created_at,
        url=url,
    )
