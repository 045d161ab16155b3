"""The queues as people see them: how much waits and since when, how fast it comes and goes, who takes it."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Case, Count, F, Min, Q, When
from django.db.models.functions import Coalesce

from status.likely import Likelihood
from status.models import Job, Queue, Topic
from status.queues import queue_of
from status.states import State
from status.workers import Worker

OLD_SAMPLE_SECONDS = 120.0
SHORTEST_SAMPLE_SECONDS = 4.0


def cell_id(kind: str, name: str) -> str:
    """An id for what has a name that is none.

    >>> cell_id("queue", "default")
    'queue-6d07ae58a1'
    """
    return f"{kind}-{hashlib.blake2s(name.encode(), digest_size=5).hexdigest()}"


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLine:
    """A queue as people see it."""

    name: str
    depth: int | None
    """Messages that wait at the broker; None: it cannot say."""
    jobs: int
    """Jobs that wait for a worker."""
    oldest_seconds: float | None
    """How long the oldest of these has waited; None: none waits."""
    rate_in: float | None
    """Messages a second that come, over the last minute; None: not known."""
    rate_out: float
    """Messages a second that workers take."""
    workers: tuple[str, ...]
    """Those that are up and take from it, or would if it were not paused."""
    paused_at: datetime | None = None
    paused_by: str = ""

    @property
    def waiting(self) -> int:
        """How many wait: at the broker, or as jobs if it cannot say."""
        return self.jobs if self.depth is None else self.depth

    @property
    def in_per_minute(self) -> float | None:
        """Messages a minute that come."""
        return None if self.rate_in is None else 60 * self.rate_in

    @property
    def out_per_minute(self) -> float:
        """Messages a minute that workers take."""
        return 60 * self.rate_out


def read_waiting() -> dict[str, tuple[int, datetime]]:
    """How many jobs wait for a worker, and since when the oldest does, by queue."""
    # The sweep notes a new time for what it sends again.
    since = Case(
        When(Q(parent=None, attempt=1), then=F("created_at")), default=Coalesce("sent_at", "created_at")
    )
    queued = Job.objects.filter(Likelihood(Q(state=State.QUEUED), 0.0001), canvas="", held=False).order_by()
    found: dict[str, tuple[int, datetime]] = {}
    counted = queued.values_list("queue", "task").annotate(count=Count("pk"), oldest=Min(since))
    for queue, task, count, oldest in counted:
        name = queue or queue_of(task)
        before = found.get(name, (0, oldest))
        found[name] = before[0] + count, min(before[1], oldest)
    return found


def lines_of(
    names: Iterable[str],
    workers: list[Worker],
    rows: dict[str, Queue],
    waiting: dict[str, tuple[int, datetime]],
    depths: dict[str, int | None],
    samples: Topic | None,
    now: datetime,
) -> list[QueueLine]:
    """The queues of these names, put together from what is known of each.

    Args:
        names: all that are to be shown.
        workers: those that are up say what they consume, and how fast.
        rows: of queues that are paused.
        waiting: as `read_waiting` tells.
        depths: as `queues.read_depths` tells; empty while it is not known.
        samples: the topic with the depths of the last minute.
        now: the moment of all this.
    """
    up = [worker for worker in workers if worker.is_up]
    before = _sample(samples, now)
    found = []
    for name in sorted(names):
        row, (jobs, oldest) = rows.get(name), waiting.get(name, (0, None))
        rate_out = sum(worker.told.rates.get(name, 0.0) for worker in up)
        line = QueueLine(
            name=name,
            depth=depths.get(name),
            jobs=jobs,
            oldest_seconds=None if oldest is None else (now - oldest).total_seconds(),
            rate_in=_rate_in(name, depths, before, rate_out, now),
            rate_out=rate_out,
            workers=tuple(worker.name for worker in up if name in worker.told.queues),
            paused_at=row.paused_at if row else None,
            paused_by=str(row.paused_by or "") if row else "",
        )
        found.append(line)
    return found


def _sample(samples: Topic | None, now: datetime) -> tuple[float, dict[str, int | None]] | None:
    """The oldest depths of the last two minutes that are a few seconds old; the sweep writes them down."""
    for at, depths in samples.payload.get("samples", []) if samples else []:
        if SHORTEST_SAMPLE_SECONDS <= now.timestamp() - at <= OLD_SAMPLE_SECONDS:
            return at, depths
    return None


def _rate_in(
    name: str,
    depths: dict[str, int | None],
    before: tuple[float, dict[str, int | None]] | None,
    rate_out: float,
    now: datetime,
) -> float | None:
    """What came is what went and what there is more of."""
    depth, held = depths.get(name), before[1].get(name) if before else None
    if before is None or depth is None or held is None:
        return None
    return max(rate_out + (depth - held) / (now.timestamp() - before[0]), 0.0)
