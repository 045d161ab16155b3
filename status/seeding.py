"""A believable history of jobs, for looking at pages and for measuring: rows only, no task runs for it.

Seeded jobs are known by their ids, and their owners by the domain of their address.
"""

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from celery import current_app

from status.canvas import title_of
from status.events import Step
from status.models import Job
from status.registry import startables
from status.states import LIVE, Canvas, Failure, State

FIRST_ID = UUID(int=0x5EED5EED << 96)
LAST_ID = UUID(int=(0x5EED5EEE << 96) - 1)
DOMAIN = "seed.invalid"
"""No mail goes there (RFC 2606)."""

NAMES = ("amelia", "bruno", "chidi", "dana", "emre", "fatima", "george", "hana", "ines", "jonas")
FAR = timedelta(days=3650)
"""What is live now has its clocks set so far ahead that no sweep takes it for lost or overdue."""

# How busy each hour of a working day is.
HOURS = (2, 2, 4, 2, 2, 3, 6, 14, 34, 52, 58, 54, 40, 48, 56, 54, 46, 32, 20, 14, 10, 8, 5, 3)
WEEKEND = 0.3

ERRORS: tuple[tuple[str, str, str], ...] = (
    (Failure.ERROR, "ValueError", "Row {number}: 'n/a' is no amount."),
    (Failure.ERROR, "ConnectionError", "warehouse.internal:5432 refused the connection."),
    (Failure.ERROR, "PermissionError", "The bucket exports may not be written to."),
    (Failure.ERROR, "KeyError", "'customer_id'"),
    (Failure.ERROR, "HTTPError", "502 Bad Gateway from the payment provider."),
    (Failure.TIMEOUT, "SoftTimeLimitExceeded", "It ran longer than its time limit."),
    (Failure.WORKER_LOST, "", "The worker {worker} was lost: nothing was heard of it."),
)
ERROR_WEIGHTS = (30, 16, 8, 10, 14, 12, 10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A task as it appears in the history."""

    task: str
    title: str
    """With `{number}`, `{month}`, `{region}` and `{file}`."""
    weight: float
    """How often it comes, compared with the others."""
    seconds: float
    """How long it takes, in the median."""
    steps: tuple[str, ...] = ()
    unit: str = ""
    queue: str = "default"
    schedule: str = ""
    """Then nobody owns it."""
    fails: float = 0.05
    canvas: str = ""
    members: tuple[str, ...] = ()
    """The tasks of a workflow."""


OWN: tuple[Kind, ...] = (
    Kind(
        task="orders.tasks.import_orders",
        title="Import {file}",
        weight=16,
        seconds=48,
        steps=("Read", "Check", "Import"),
        unit="rows",
        fails=0.08,
    ),
    Kind(
        task="orders.tasks.send_invoice",
        title="Invoice {number}",
        weight=34,
        seconds=1.6,
        queue="mail",
        fails=0.02,
    ),
    Kind(
        task="reports.tasks.revenue",
        title="Revenue of {month}, {region}",
        weight=7,
        seconds=130,
        steps=("Query", "Sum up", "Draw"),
        queue="reports",
    ),
    Kind(
        task="media.tasks.encode_video",
        title="Encode {file}",
        weight=4,
        seconds=620,
        steps=("Probe", "Encode", "Pack"),
        unit="frames",
        queue="media",
        fails=0.1,
    ),
    Kind(
        task="search.tasks.reindex",
        title="Reindex products, {region}",
        weight=3,
        seconds=240,
        unit="products",
        steps=("Index",),
    ),
    Kind(
        task="billing.tasks.charge_cards",
        title="charge-cards",
        weight=5,
        seconds=22,
        schedule="charge-cards",
        queue="payments",
        fails=0.04,
    ),
    Kind(
        task="ops.tasks.backup",
        title="nightly-backup",
        weight=1.5,
        seconds=900,
        steps=("Dump", "Upload"),
        unit="bytes",
        schedule="nightly-backup",
        fails=0.03,
    ),
    Kind(
        task="ops.tasks.clear_sessions",
        title="clear-sessions",
        weight=8,
        seconds=0.4,
        schedule="clear-sessions",
        fails=0.005,
    ),
    Kind(
        task="celery.chain",
        title="Close the books of {month}",
        weight=0.8,
        seconds=300,
        canvas=Canvas.CHAIN,
        members=("reports.tasks.collect", "reports.tasks.balance", "reports.tasks.render_pdf"),
        queue="reports",
    ),
)


def kinds() -> tuple[Kind, ...]:
    """The tasks of the history: the project's startables, and a shop's."""
    found = []
    for entry in startables.values():
        module = entry.origin.rpartition(".")[0]
        is_task = entry.origin in current_app.tasks
        found.append(
            Kind(
                task=entry.origin if is_task else f"celery.{Canvas.GROUP}",
                title=f"{entry.title}: {{file}}",
                weight=5,
                seconds=35,
                steps=("Read", "Profile", "Write report") if is_task else (),
                unit="rows",
                canvas="" if is_task else Canvas.GROUP,
                members=()
                if is_task
                else tuple(sorted(name for name in current_app.tasks if name.startswith(f"{module}.")))[:3],
            )
        )
    return (*found, *OWN)


class History:
    """Jobs of the last weeks, the oldest first; the same for the same seed, count and moment."""

    def __init__(self, count: int, *, now: datetime, days: int, owners: list[Any], seed: int) -> None:
        self.count, self.now, self.days, self.owners = count, now, days, owners
        self.random = random.Random(seed)  # noqa: S311  # It guards nothing.
        self.kinds = kinds()
        self.workers = [f"celery@node-{number}" for number in range(1, 7)]

    def jobs(self) -> Iterator[list[Job]]:
        """Each job with its members behind it."""
        live = min(max(self.count // 400, 6), 60) if self.count >= 20 else 0
        moments = self._moments(self.count - live)
        weights = [kind.weight for kind in self.kinds]
        for at, kind in zip(moments, self.random.choices(self.kinds, weights, k=len(moments)), strict=True):
            yield self._ended(kind, at)
        ages = sorted((self.random.expovariate(1 / 90) for _ in range(live)), reverse=True)
        chosen = self.random.choices([kind for kind in self.kinds if not kind.canvas], k=live)
        states = [State.WAITING, State.QUEUED, *self.random.choices(sorted(LIVE), [5, 6, 1], k=live)][:live]
        for age, kind, state in zip(ages, chosen, states, strict=True):
            yield [self._live(kind, self.now - timedelta(seconds=age), state)]

    def _moments(self, count: int) -> list[datetime]:
        """When jobs were made: by the hour of the day and the day of the week, until two minutes ago."""
        end = self.now - timedelta(minutes=2)
        hours = [end - timedelta(hours=back) for back in range(self.days * 24)]
        busy = [HOURS[hour.hour] * (WEEKEND if hour.weekday() >= 5 else 1) for hour in hours]
        picked = self.random.choices(hours, busy, k=count)
        return sorted(hour - timedelta(hours=self.random.random()) for hour in picked)

    def _row(self, kind: Kind, at: datetime) -> Job:
        chance = self.random
        months = ("January", "February", "March", "April", "May", "June", "September", "October")
        values = {
            "number": chance.randint(10_000, 99_999),
            "month": chance.choice(months),
            "region": chance.choice(("North", "South", "East", "West", "Overseas")),
            "file": f"{chance.choice(('orders', 'returns', 'stock', 'prices', 'clip'))}-{chance.randint(1, 999):03}"
            + (".mp4" if kind.unit == "frames" else ".csv"),
        }
        return Job(
            id=UUID(int=FIRST_ID.int | chance.getrandbits(96)),
            task=kind.task,
            title=kind.title.format(**values),
            owner=None if kind.schedule else self._owner(),
            canvas=kind.canvas,
            queue=kind.queue,
            schedule=kind.schedule,
            signature={"task": kind.task, "args": [], "kwargs": values if not kind.schedule else {}},
            created_at=at,
            sent_at=at,
            is_indexed=True,
        )

    def _owner(self) -> Any:
        """The first owners have more than the last."""
        place = int(len(self.owners) * self.random.random() ** 1.6)
        return self.owners[place]

    def _ended(self, kind: Kind, at: datetime) -> list[Job]:
        chance = self.random
        job = self._row(kind, at)
        dice = chance.random()
        state = State.FAILED if dice < kind.fails else State.SUCCEEDED
        if kind.fails <= dice < kind.fails + 0.025:
            state = State.CANCELLED
        job.state, job.seq = state, 9
        if state == State.CANCELLED and chance.random() < 0.4 and not kind.canvas:
            job.finished_at = at + timedelta(seconds=chance.expovariate(1 / 40))
            job.queue = ""
            return [job]
        seconds = min(kind.seconds * math.exp(chance.gauss(0, 0.55)), 1800)
        part = 1.0 if state == State.SUCCEEDED else chance.uniform(0.05, 0.95)
        job.started_at = at + timedelta(seconds=0.02 + chance.expovariate(1 / 3))
        job.finished_at = min(job.started_at + timedelta(seconds=seconds * part), self.now)
        job.worker = chance.choice(self.workers)
        job.progress = part
        job.steps = self._steps(kind, part, seconds)
        job.attempt = 2 if chance.random() < 0.03 else 1
        if state == State.FAILED:
            self._fail(job)
        elif state == State.CANCELLED:
            job.cancel_requested_at = job.finished_at
        elif chance.random() < 0.5:
            job.result = {"rows": chance.randint(10, 90_000)}
        return [job, *self._members(kind, job)]

    def _fail(self, job: Job) -> None:
        ((failure, name, text),) = self.random.choices(ERRORS, ERROR_WEIGHTS)
        job.failure = failure
        job.error = text.format(number=self.random.randint(2, 9_000), worker=job.worker)
        if name:
            place = f'  File "{job.task.rpartition(".")[0].replace(".", "/")}.py", line 57'
            job.traceback = f"Traceback (most recent call last):\n{place}\n{name}: {job.error}\n"

    def _steps(self, kind: Kind, part: float, seconds: float) -> list[Any]:
        """The steps of a job that is so far: those before are done."""
        count = len(kind.steps)
        steps = []
        for number, name in enumerate(kind.steps):
            own = min(max(part * count - number, 0.0), 1.0)
            total = self.random.randint(200, 90_000) if kind.unit else None
            state = "done" if own == 1 else "running" if own > 0 else "pending"
            took = seconds / count * own if own else None
            current = round(own * total) if total else 0
            step = Step(name=name, state=state, current=current, total=total, unit=kind.unit, seconds=took)
            steps.append(step.to_wire())
        return steps

    def _members(self, kind: Kind, job: Job) -> list[Job]:
        if not kind.members or job.started_at is None or job.finished_at is None:
            return []
        share = (job.finished_at - job.started_at) / len(kind.members)
        rows = []
        for position, task in enumerate(kind.members):
            row = self._row(Kind(task=task, title=title_of(task), weight=1, seconds=1), job.created_at)
            row.parent = row.root = job
            row.owner, row.position, row.queue = job.owner, position, kind.queue
            is_last = position == len(kind.members) - 1
            row.state = job.state if is_last else State.SUCCEEDED
            row.error, row.failure = (job.error, job.failure) if is_last else ("", "")
            row.started_at = job.started_at + share * position
            row.finished_at = row.started_at + share
            row.worker, row.seq, row.progress = job.worker, 9, 1.0
            rows.append(row)
        job.worker = job.queue = ""
        counts: dict[str, int] = {}
        for row in rows:
            counts[row.state] = counts.get(row.state, 0) + 1
        job.tally = counts
        return rows

    def _live(self, kind: Kind, at: datetime, state: str) -> Job:
        """A job that is under way now."""
        chance = self.random
        job = self._row(kind, at)
        ahead = self.now + FAR
        job.sent_at = ahead
        job.state = state
        if job.state == State.QUEUED:
            job.queue = ""
            return job
        part = chance.uniform(0.03, 0.97)
        job.started_at, job.heartbeat_at = at, ahead
        job.seq, job.worker, job.progress = 9, chance.choice(self.workers), part
        job.steps = self._steps(kind, part, kind.seconds * part)
        if job.state == State.WAITING:
            job.error, job.next_at = "warehouse.internal:5432 refused the connection.", ahead
        else:
            job.time_left_seconds = kind.seconds * (1 - part)
        return job
