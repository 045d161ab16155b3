"""How long the runs of a task usually take, and so how much is left of one that cannot tell itself."""

import math
import time
from bisect import bisect_right
from collections.abc import Iterable
from datetime import timedelta
from statistics import median

from django.utils import timezone

from status.models import Job
from status.states import State

MOST_RUNS = 100
"""So many of the newest runs of a task are looked at."""
FEWEST_RUNS = 3
KEPT_SECONDS = 300.0
MOST_TASKS = 1000
LONGER_THAN_USUAL = timedelta()


class Usual:
    """How long the runs of a task that succeeded took.

    Args:
        seconds: of each run, at least one.

    Example:
        >>> usual = Usual([100.0, 110.0, 120.0])
        >>> usual.left(timedelta(seconds=30)), usual.left(timedelta(seconds=121))
        (datetime.timedelta(seconds=80), datetime.timedelta(0))
    """

    __slots__ = ("_late", "_seconds")

    def __init__(self, seconds: Iterable[float]) -> None:
        self._seconds = sorted(seconds)
        self._late = self._seconds[math.ceil(0.95 * len(self._seconds)) - 1]

    def left(self, ran: timedelta) -> timedelta:
        """What is left of a run that has gone on for `ran`, by the median of those that took longer.

        Rounded up, so that it changes seldom: to ten seconds, from two minutes on to minutes, from two hours on to ten
        minutes. `LONGER_THAN_USUAL` for a run that takes longer than 95 % of them did.
        """
        so_far = ran.total_seconds()
        if so_far >= self._late:
            return LONGER_THAN_USUAL
        left = median(self._seconds[bisect_right(self._seconds, so_far) :]) - so_far
        grain = 10 if left <= 110 else 60 if left <= 7140 else 600
        return timedelta(seconds=math.ceil(left / grain) * grain)


_known: dict[str, tuple[float, Usual | None]] = {}


def tell(jobs: Iterable[Job]) -> None:
    """Let each of `jobs` that has not ended know how long its task usually takes.

    What is known of a task is kept for five minutes, for all that this process shows. Else it costs a query.

    Args:
        jobs: any; those whose task has fewer than three runs that succeeded, and workflows, know nothing.

    Example:
        >>> tell([job]); job.usual.left(timedelta(minutes=1))
        datetime.timedelta(seconds=180)
    """
    for job in jobs:
        if job.is_live and not job.canvas:
            job.usual = _of(job.task)


def left(job: Job) -> timedelta | None:
    """What is usually left of a job that runs and has no estimate of its own; None for others, and where nobody knows.

    Example:
        >>> left(job)
        datetime.timedelta(seconds=120)
    """
    if job.usual is None or job.time_left is not None or job.state != State.RUNNING or job.started_at is None:
        return None
    return job.usual.left(max(timezone.now() - job.started_at, timedelta()))


def forget() -> None:
    """Read all of it again; for tests."""
    _known.clear()


def _of(task: str) -> Usual | None:
    now = time.monotonic()
    until, usual = _known.get(task, (0.0, None))
    if until <= now:
        if len(_known) >= MOST_TASKS:
            _known.clear()
        usual = _read(task)
        _known[task] = now + KEPT_SECONDS, usual
    return usual


def _read(task: str) -> Usual | None:
    """By the index of the lists, in which members of workflows are not."""
    newest = Job.objects.filter(parent=None, task=task).newest(MOST_RUNS)
    ended = newest.filter(state=State.SUCCEEDED, started_at__isnull=False, finished_at__isnull=False)
    runs = ended.values_list("started_at", "finished_at").iterator()
    seconds = [max((end - start).total_seconds(), 0.0) for start, end in runs if start and end]
    return Usual(seconds) if len(seconds) >= FEWEST_RUNS else None
