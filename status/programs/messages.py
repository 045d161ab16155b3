"""What is said on the socket of programs, version 1: one JSON object a text message, told apart by `type`."""

from typing import Any, Final, Literal
from uuid import UUID

import msgspec
from msgspec import Struct

from status.programs.refusals import Refused
from status.programs.requests import Key, Name, read
from status.programs.wire import Code, FieldError, JobDocument, LineDocument, State

Ref = str | int | None
"""What the program calls its message; the answer has it too."""


class Asked(Struct, forbid_unknown_fields=True, kw_only=True, tag_field="type"):
    """What a program sends."""

    ref: Ref = None


class Start(Asked, tag="start"):
    """Start a job and watch it. The answer is `accepted`, then come `job`s."""

    job: Name
    """The name of a startable."""
    params: dict[str, Any] = {}
    key: Key = ""
    """While a live job of yours has this key, it is answered and no other is started."""


class Watch(Asked, tag="watch"):
    """Watch a job. The answer is `watching`, then come `job`s, and `log`s for who wants them."""

    id: UUID
    since: str = ""
    """The `version` you know: the first `job` comes when it is another."""
    log: bool = False
    """Whether to tell the lines of its log as well: `log`s come, the last lines first."""
    after: str = ""
    """`next` of the last `log` you have: all lines behind it come."""


class Unwatch(Asked, tag="unwatch"):
    """Hear no more of a job. The answer is `unwatched`."""

    id: UUID


class Cancel(Asked, tag="cancel"):
    """Cancel a job. The answer is `accepted`."""

    id: UUID


class Retry(Asked, tag="retry"):
    """Run a failed or cancelled job again and watch it. The answer is `accepted`, then come `job`s."""

    id: UUID


class List(Asked, tag="list"):
    """The jobs that you may watch, newest first. The answer is `jobs`."""

    state: list[State] = []
    after: str | None = None
    """`next` of the page before."""
    limit: int = 25


class Ping(Asked, tag="ping"):
    """Ask whether the socket lives. The answer is `pong`."""


Inbound = Start | Watch | Unwatch | Cancel | Retry | List | Ping


class Limits(Struct, kw_only=True):
    """What a program must keep to; what is beyond is answered by `error` and not done."""

    message_bytes: int
    """Of one message to the server."""
    messages_per_second: float
    """On average; `messages_at_once` may come together."""
    messages_at_once: int
    watches: int
    """Jobs watched at one time on one socket."""


class Told(Struct, kw_only=True, tag_field="type"):
    """What the server sends."""


class Hello(Told, tag="hello"):
    """The first message."""

    version: Literal[1]
    user: str
    """Your primary key as text."""
    scope: Literal["read", "act"]
    limits: Limits


class Accepted(Told, tag="accepted"):
    """A job was started, cancelled or retried, as it is now."""

    ref: Ref
    job: JobDocument


class Watching(Told, tag="watching"):
    """The job is watched from now on."""

    ref: Ref
    id: UUID


class Unwatched(Told, tag="unwatched"):
    """The job is not watched any more."""

    ref: Ref
    id: UUID


class Moved(Told, tag="job"):
    """A watched job as it is now. One whose `over` is true is the last of its watch."""

    job: JobDocument


class Log(Told, tag="log"):
    """Lines of a watched job's log, oldest first, each told once; before the `job` that they belong to."""

    id: UUID
    lines: list[LineDocument]
    next: str
    """`after` of what follows, now or later."""


class Jobs(Told, tag="jobs"):
    """A page of jobs."""

    ref: Ref
    jobs: list[JobDocument]
    next: str | None


class Pong(Told, tag="pong"):
    """The socket lives."""

    ref: Ref


class Error(Told, tag="error"):
    """Something was not done. The socket stays open."""

    ref: Ref
    code: Code
    detail: str
    errors: list[FieldError]
    id: UUID | None = None
    """The watched job that it is about, if no message is."""


Outbound = Hello | Accepted | Watching | Unwatched | Moved | Log | Jobs | Pong | Error

VERSION: Final = 1

_decoder: msgspec.json.Decoder[Inbound] = msgspec.json.Decoder(Inbound)


class _OnlyRef(Struct):
    ref: Ref = None


_ref_decoder = msgspec.json.Decoder(_OnlyRef)


def parse(text: str) -> Inbound:
    """The message of a text.

    Raises:
        Refused: it is none; the words and the field say why.

    Example:
        >>> parse('{"type": "ping", "ref": 1}')
        Ping(ref=1)
    """
    return read(text.encode("utf-8", "surrogatepass"), _decoder)


def ref_of(text: str) -> Ref:
    """The `ref` of a text that is no message, so that its error can be told apart; None if it has none.

    >>> ref_of('{"type": "pang", "ref": "a"}')
    'a'
    """
    try:
        return read(text.encode("utf-8", "surrogatepass"), _ref_decoder).ref
    except Refused:
        return None
