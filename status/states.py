"""The states of a job, and their order within one attempt."""

from typing import Final

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _


class State(TextChoices):
    """What a job is doing, or how it ended."""

    QUEUED = "queued", _("Queued")
    RUNNING = "running", _("Running")
    WAITING = "waiting", _("Waiting")
    SUCCEEDED = "succeeded", _("Succeeded")
    FAILED = "failed", _("Failed")
    CANCELLED = "cancelled", _("Cancelled")


class Failure(TextChoices):
    """Why a job failed."""

    ERROR = "error", _("Error")
    TIMEOUT = "timeout", _("Timeout")
    WORKER_LOST = "worker lost", _("Worker lost")


class Canvas(TextChoices):
    """What a job of several members does with them; Celery's chord is a chain of a group and a task."""

    CHAIN = "chain", _("Chain")
    GROUP = "group", _("Group")


TERMINAL: Final = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELLED})
LIVE: Final = frozenset(State) - TERMINAL

# Within an attempt a job only moves up. This order makes an ending win over any number of progress reports
# that left the worker before it, whatever their sequence numbers say.
RANK: Final[dict[str, int]] = {
    State.QUEUED: 0,
    State.RUNNING: 1,
    State.WAITING: 2,
    State.SUCCEEDED: 3,
    State.FAILED: 3,
    State.CANCELLED: 3,
}


def below(state: str) -> list[str]:
    """The states which may move to `state` within the same attempt.

    >>> below("waiting")
    ['queued', 'running']
    """
    return [str(other) for other, rank in RANK.items() if rank < RANK[state]]
