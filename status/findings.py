"""What is wrong right now, the worst first, and what to do about it."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from status.wording import amount, shortly


class Kind(IntEnum):
    """What is wrong; the value is how bad that is."""

    BROKER = 100
    CHANNEL_LAYER = 95
    NO_WORKER = 90
    UNSERVED = 80
    BEAT = 70
    LOST = 60
    FAILING = 50
    SLOW = 40
    PAUSED = 30

    @property
    def key(self) -> str:
        """In lower case, for programs: `no worker`."""
        return self.name.lower().replace("_", " ")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong; what it says is in the language that is active when it is asked."""

    kind: Kind
    name: str = ""
    """Of the queue, worker or task."""
    count: int = 0
    """How many wait or failed, or were running."""
    of: int = 0
    """Of how many that ended."""
    seconds: float | None = None
    """Since when; None: not known."""
    who: str = ""
    """Who paused the queue; or the queue that the sweep goes to."""

    @property
    def state(self) -> str:
        """The state of a job whose colour it has."""
        return "waiting" if self.kind <= Kind.SLOW else "failed"

    @property
    def text(self) -> str:
        """What is wrong, in one sentence without a full stop."""
        return _TEXTS[self.kind](self)

    @property
    def advice(self) -> str:
        """What to do about it."""
        return _ADVICE[self.kind](self)


def ordered(findings: list[Finding]) -> list[Finding]:
    """The worst first; of one kind, what concerns most jobs, then by name.

    >>> [finding.name for finding in ordered([Finding(kind=Kind.PAUSED), Finding(kind=Kind.LOST, name="w1")])]
    ['w1', '']
    """
    return sorted(findings, key=lambda finding: (-finding.kind, -finding.count, finding.name))


def roughly(seconds: float | None) -> str:
    """A duration that changes at most six times a minute: "40 s", "4 min", "2 h 5 min".

    >>> roughly(47), roughly(250)
    ('40 s', '4 min')
    """
    if seconds is None:
        return _("some time")
    return shortly(seconds // 60 * 60 if seconds >= 60 else max(seconds, 0) // 10 * 10)


def _unserved(finding: Finding) -> str:
    if finding.seconds is None:
        if not finding.count:
            return _("Queue %(queue)s: nothing waits, no worker consumes it") % {"queue": finding.name}
        text = ngettext(
            "Queue %(queue)s: %(count)s waits, no worker consumes it",
            "Queue %(queue)s: %(count)s wait, no worker consumes it",
            finding.count,
        )
        return text % {"queue": finding.name, "count": amount(finding.count)}
    fields = {"queue": finding.name, "time": roughly(finding.seconds)}
    return _("Queue %(queue)s has waited %(time)s, no worker consumes it") % fields


def _beat(finding: Finding) -> str:
    if finding.seconds is None:
        return _("Beat has not been heard of yet")
    return _("Beat has not been heard of for %s") % roughly(finding.seconds)


def _lost(finding: Finding) -> str:
    fields = {"worker": finding.name, "time": roughly(finding.seconds)}
    return _("Worker %(worker)s was lost %(time)s ago") % fields


def _failing(finding: Finding) -> str:
    fields = {"task": finding.name, "failed": amount(finding.count), "ended": amount(finding.of)}
    fields["time"] = roughly(finding.seconds)
    return _("Task %(task)s failed %(failed)s of %(ended)s times in the last %(time)s") % fields


def _slow(finding: Finding) -> str:
    text = ngettext(
        "Queue %(queue)s: the oldest of those that wait has waited %(time)s, %(count)s waits",
        "Queue %(queue)s: the oldest of those that wait has waited %(time)s, %(count)s wait",
        finding.count,
    )
    return text % _waiting(finding)


def _paused(finding: Finding) -> str:
    fields = _waiting(finding)
    if not finding.count:
        return _("Queue %(queue)s has been paused for %(time)s, nothing waits") % fields
    text = ngettext(
        "Queue %(queue)s has been paused for %(time)s, %(count)s waits",
        "Queue %(queue)s has been paused for %(time)s, %(count)s wait",
        finding.count,
    )
    return text % fields


def _waiting(finding: Finding) -> dict[str, str]:
    return {"queue": finding.name, "time": roughly(finding.seconds), "count": amount(finding.count)}


_TEXTS: dict[Kind, Callable[[Finding], str]] = {
    Kind.BROKER: lambda _finding: _("The broker does not answer"),
    Kind.CHANNEL_LAYER: lambda _finding: _("The channel layer takes no messages: open pages stand still"),
    Kind.NO_WORKER: lambda _finding: _("No worker is up"),
    Kind.UNSERVED: _unserved,
    Kind.BEAT: _beat,
    Kind.LOST: _lost,
    Kind.FAILING: _failing,
    Kind.SLOW: _slow,
    Kind.PAUSED: _paused,
}

_ADVICE: dict[Kind, Callable[[Finding], str]] = {
    Kind.BROKER: lambda _finding: _(
        "See that it runs and can be reached from here. What is started meanwhile is sent once it is back."
    ),
    Kind.CHANNEL_LAYER: lambda _finding: _(
        "See that Redis runs and can be reached from here. Pages come right by themselves."
    ),
    Kind.NO_WORKER: lambda _finding: _("Start one: celery -A your_project worker"),
    Kind.UNSERVED: lambda finding: (
        _("Start a worker for it: celery -A your_project worker -Q %s") % finding.name
    ),
    Kind.BEAT: lambda finding: (
        _("Start it: celery -A your_project beat. A worker must consume the queue %s.") % finding.who
    ),
    Kind.LOST: lambda _finding: _("See its log and its machine. Its jobs end or run again by themselves."),
    Kind.FAILING: lambda _finding: _("Look at what it says in the jobs that failed."),
    Kind.SLOW: lambda _finding: _("Add workers or processes for it, or see what holds them up."),
    Kind.PAUSED: lambda finding: (
        _("Resume it when it may go on. %s paused it.") % finding.who
        if finding.who
        else _("Resume it when it may go on.")
    ),
}
