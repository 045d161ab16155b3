"""What earlier runs of a job's task tell about it."""

from dataclasses import dataclass
from datetime import timedelta
from functools import cached_property, lru_cache
from statistics import median
from typing import Any
from uuid import UUID

from django.db import router
from django.db.models import Q

from status import access
from status.filters import LONGEST, MOST_WORDS, Filters
from status.listing import Listing
from status.models import Job
from status.models.search import split
from status.models.statements import Select, slot
from status.regions import RULED
from status.states import TERMINAL, State

MOST_RUNS = 30
MOST_LOOKED_AT = 500
"""They are looked for among so many of the newest jobs, of the task or of the user, however many there are."""

FEWEST_FOR_USUAL = 3
CHART_HEIGHT = 48
BAR_PITCH = 10
LOWEST = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One ended run of a task."""

    job_id: UUID
    title: str
    state: str
    took: timedelta
    is_this: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A run as a bar of the chart; lengths in units of its view box."""

    run: Run
    x: int
    y: float
    height: float


class Runs:
    """The ended runs of a task, oldest first, with what can be said of them all."""

    def __init__(self, runs: list[Run]) -> None:
        self.runs = runs

    def __len__(self) -> int:
        return len(self.runs)

    @cached_property
    def usual(self) -> timedelta | None:
        """The median duration of those that succeeded; None of fewer than three."""
        seconds = [run.took.total_seconds() for run in self.runs if run.state == State.SUCCEEDED]
        return timedelta(seconds=median(seconds)) if len(seconds) >= FEWEST_FOR_USUAL else None

    @property
    def bars(self) -> list[Bar]:
        """The chart: a bar for each run, as high as it took long; the newest at the end."""
        longest = self.longest.total_seconds() or 1.0
        heights = [max(run.took.total_seconds() / longest * CHART_HEIGHT, LOWEST) for run in self.runs]
        return [
            Bar(run=run, x=place * BAR_PITCH, y=round(CHART_HEIGHT - height, 1), height=round(height, 1))
            for place, (run, height) in enumerate(zip(self.runs, heights, strict=True))
        ]

    @property
    def chart_width(self) -> int:
        """The width of the chart's view box: room for as many runs as there can be."""
        return MOST_RUNS * BAR_PITCH

    @cached_property
    def longest(self) -> timedelta:
        """The longest duration; zero if there is none."""
        return max((run.took for run in self.runs), default=timedelta())


def runs_like(job: Job, user: Any) -> Runs:
    """The newest ended runs of the task of `job` that `user` may see, this one among them.

    Args:
        job: a run of a task; canvases have no task of their own.
        user: from the request.

    Returns:
        At most 30, oldest first; empty for a canvas.

    Example:
        >>> runs_like(job, request.user).usual
        datetime.timedelta(seconds=241)
    """
    if job.canvas:
        return Runs([])
    rows = _newest(job, user)
    return Runs(
        [
            Run(
                job_id=pk,
                title=title,
                state=state,
                took=max(ended - began, timedelta()),
                is_this=pk == job.pk,
            )
            for pk, title, state, began, ended in reversed(rows)
        ]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Likeness:
    """Other jobs that failed with the same error."""

    count: int
    more: bool
    """There may be more than that."""
    query: str
    """That of the list that shows them."""


def failed_alike(job: Job, user: Any) -> Likeness | None:
    """The jobs of the same task that `user` may see and that failed with the same error, but for its numbers.

    Args:
        job: any.
        user: from the request.

    Returns:
        None if it has not failed, or is the only one.

    Example:
        >>> failed_alike(job, request.user).query
        'state=failed&q=row+has+no+amount&task=orders.tasks.import_orders'
    """
    words = [word for word in split(job.error) if word.isalpha()]
    if job.state != State.FAILED or job.parent_id is not None or not words:
        return None
    filters = Filters(state=State.FAILED, task=job.task, q=" ".join(words[:MOST_WORDS])[:LONGEST])
    total = Listing(access.list_scope(user), filters).total()
    if total.number <= 1:
        return None
    return Likeness(count=total.number - 1, more=total.more, query=filters.query)


def _newest(job: Job, user: Any) -> list[tuple[Any, ...]]:
    scope, by_task = access.list_scope(user), access.sees_all(user)
    if scope.startswith(RULED):
        return list(_ended(access.visible_jobs(user), job.task, by_task, MOST_LOOKED_AT))
    return _made(router.db_for_read(Job), by_task, MOST_LOOKED_AT).run(task=job.task, owner=scope)


@lru_cache
def _made(alias: str, by_task: bool, most: int) -> Select[tuple[Any, ...]]:
    """Of all jobs, or of those of the owner in its slot."""
    seen = Job.objects.using(alias).filter(parent=None)
    seen = seen if by_task else seen.filter(owner=slot(Job, "owner"))
    return Select(_ended(seen, slot(Job, "task"), by_task, most))


def _ended(seen: Any, task: Any, by_task: bool, most: int) -> Any:
    # There is an index on tasks and one on owners, and none on both.
    newest = seen.filter(task=task).newest(most) if by_task else seen.newest(most).looked_up(Q(task=task))
    ended = newest.filter(state__in=sorted(TERMINAL), started_at__isnull=False, finished_at__isnull=False)
    columns = "pk", "title", "state", "started_at", "finished_at"
    return ended.order_by("-created_at", "-id").values_list(*columns)[:MOST_RUNS]
