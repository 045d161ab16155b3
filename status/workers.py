"""The workers: what each tells of itself, and which jobs it runs now."""

import dataclasses
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, Self

from django.db.models import Count, Q
from django.utils import timezone

from status import conf
from status.likely import Likelihood
from status.models import Job, Process
from status.presence import LATE
from status.states import State

MOST_OTHERS = 10
MOST_SHOWN = 5
"""Jobs of one worker that are named."""
MOST_READ = 500
KEPT_SECONDS = 86_400.0
"""A worker that has gone is shown for so long."""


class Standing(StrEnum):
    """Whether a process is there."""

    UP = "up"
    LOST = "lost"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """A task that runs and is no job."""

    id: str
    task: str
    since: float
    """When it began, in seconds since 1970."""

    @property
    def started_at(self) -> datetime:
        """When it began."""
        return datetime.fromtimestamp(self.since, UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a worker tells of itself."""

    pid: int = 0
    pool: str = ""
    concurrency: int = 0
    queues: tuple[str, ...] = ()
    """Those it takes messages from, the paused ones among them included."""
    memory_bytes: int | None = None
    """Of its main process, what that shares with others included; None: not known."""
    children: int = 0
    """How many processes its pool has; 0 for pools within the main process."""
    children_bytes: int | None = None
    """Of these together; what they share is counted for each."""
    active: int = 0
    """Tasks that have begun and not ended."""
    others: tuple[Execution, ...] = ()
    """Those of them that are no jobs, the oldest few."""
    rates: dict[str, float] = field(default_factory=dict)
    """Messages a second that it took, by queue, over the last minute."""
    celery: str = ""
    """Celery's version."""

    @classmethod
    def from_wire(cls, said: dict[str, Any]) -> Self:
        """What a row holds; what another version has written there and this one does not know is left out."""
        known = {f.name: said[f.name] for f in dataclasses.fields(cls) if f.name in said}
        known["queues"] = tuple(known.get("queues", ()))
        known["others"] = tuple(Execution(**other) for other in known.get("others", ()))
        return cls(**known)

    @property
    def all_bytes(self) -> int | None:
        """Of the main process and the pool's."""
        return None if self.memory_bytes is None else self.memory_bytes + (self.children_bytes or 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Worker:
    """A worker as people see it."""

    name: str
    standing: Standing
    since: datetime
    """Up since then, or not heard of since then."""
    told: Told
    jobs: tuple[Job, ...] = ()
    """What it runs now, the first to begin first; not all if they are many."""
    job_count: int = 0

    @property
    def is_up(self) -> bool:
        """Whether it is there."""
        return self.standing is Standing.UP

    @property
    def state(self) -> str:
        """The state of a job whose colour it has."""
        return {Standing.UP: "succeeded", Standing.LOST: "failed", Standing.STOPPED: "cancelled"}[
            self.standing
        ]

    @property
    def more(self) -> int:
        """How many of its jobs are not named."""
        return self.job_count - len(self.jobs)


def late_before(now: datetime) -> datetime:
    """Who has not told of itself since then is lost."""
    return now - timedelta(seconds=LATE * conf.current().worker_seconds)


def standing_of(process: Process, now: datetime) -> Standing:
    """Whether a process is there."""
    if process.stopped_at is not None:
        return Standing.STOPPED
    return Standing.UP if process.seen_at >= late_before(now) else Standing.LOST


def read_processes(now: datetime) -> list[Process]:
    """The workers of the last day, and the web servers' processes that are there; by name."""
    seen = Q(kind=Process.Kind.WORKER, seen_at__gte=now - timedelta(seconds=KEPT_SECONDS))
    there = Q(kind=Process.Kind.WEB, seen_at__gte=late_before(now))
    return list(Process.objects.filter(seen | there).order_by("name"))


def workers_of(processes: list[Process], now: datetime) -> list[Worker]:
    """The workers among `processes` with what they run: those that are up first, then the lost, then the stopped."""
    jobs, counts = _running()
    found = []
    for process in processes:
        if process.kind != Process.Kind.WORKER:
            continue
        standing = standing_of(process, now)
        found.append(
            Worker(
                name=process.name,
                standing=standing,
                since=process.started_at
                if standing is Standing.UP
                else process.stopped_at or process.seen_at,
                told=_without(Told.from_wire(process.said), jobs.get(process.name, [])),
                jobs=tuple(jobs.get(process.name, [])[:MOST_SHOWN]),
                job_count=counts.get(process.name, 0),
            )
        )
    return sorted(found, key=lambda worker: (list(Standing).index(worker.standing), worker.name))


def consumed() -> set[str]:
    """The queues that workers which are there take messages from."""
    now = timezone.now()
    there = Process.objects.filter(kind=Process.Kind.WORKER, seen_at__gte=late_before(now), stopped_at=None)
    return {queue for said in there.values_list("said", flat=True) for queue in Told.from_wire(said).queues}


def prune_processes() -> int:
    """Delete the rows of processes that are not shown any more; returns how many."""
    now = timezone.now()
    gone = Q(seen_at__lt=now - timedelta(seconds=KEPT_SECONDS))
    gone |= Q(kind=Process.Kind.WEB, seen_at__lt=late_before(now))
    rows = Process.objects.filter(gone)
    return rows._raw_delete(rows.db)


def _running() -> tuple[dict[str, list[Job]], dict[str, int]]:
    """The jobs that run, and how many, by worker; a query for each, by an index."""
    running = Job.objects.filter(Likelihood(Q(state=State.RUNNING), 0.0001), canvas="").order_by()
    counts = dict(running.values_list("worker").annotate(Count("pk")))
    jobs: dict[str, list[Job]] = {}
    for job in running.only("pk", "title", "task", "worker", "started_at", "created_at")[:MOST_READ]:
        jobs.setdefault(job.worker, []).append(job)
    for some in jobs.values():
        some.sort(key=lambda job: (job.started_at or job.created_at, job.pk))
    return jobs, counts


def _without(told: Told, jobs: list[Job]) -> Told:
    """What is told, without the tasks that became jobs when they began."""
    ids = {str(job.pk) for job in jobs}
    return dataclasses.replace(told, others=tuple(other for other in told.others if other.id not in ids))
