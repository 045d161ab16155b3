"""When a job was what: the moments of its row, in order."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils.translation import gettext as _

from status.models import Job
from status.states import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Something that happened to a job, or is still to come."""

    label: str
    at: datetime
    state: str
    """The state that began then; colours the mark."""
    lasted: timedelta | None = None
    """Until the next moment; None if it lasts, or is no length of time."""
    is_ahead: bool = False
    """Whether it is still to come."""


def timeline(job: Job) -> list[Moment]:
    """The moments of `job`, oldest first.

    Of attempts before the last one the row keeps only how many there were.

    >>> [moment.label for moment in timeline(job)]
    ['Queued', 'Started', 'Succeeded']
    """
    moments = []
    if job.started_at is not None:
        moments.append(_started(job))
    if job.cancel_requested_at is not None:
        moments.append(Moment(label=_("Asked to cancel"), at=job.cancel_requested_at, state=State.CANCELLED))
    if job.finished_at is not None:
        moments.append(Moment(label=job.get_state_display(), at=job.finished_at, state=job.state))
    # The clock of who started it may be ahead of the worker's.
    moments = [_queued(job), *sorted(moments, key=lambda moment: moment.at)]
    if job.state == State.WAITING and job.next_at is not None:
        label = _("Next check") if job.poll_at else _("Next attempt")
        moments.append(Moment(label=label, at=job.next_at, state=State.WAITING, is_ahead=True))
    return moments


def _queued(job: Job) -> Moment:
    is_first = job.tries == 1 and job.started_at is not None
    waited = job.started_at - job.created_at if is_first and job.started_at is not None else None
    return Moment(label=_("Queued"), at=job.created_at, state=State.QUEUED, lasted=_not_negative(waited))


def _started(job: Job) -> Moment:
    label = _("Started") if job.tries == 1 else _("Attempt %d started") % job.tries
    assert job.started_at is not None
    ran = job.finished_at - job.started_at if job.finished_at is not None else None
    return Moment(label=label, at=job.started_at, state=State.RUNNING, lasted=_not_negative(ran))


def _not_negative(length: timedelta | None) -> timedelta | None:
    # The clocks of two machines differ.
    return None if length is None else max(length, timedelta())
