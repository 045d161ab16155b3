"""Counts what ended into buckets of task and time, so that figures over days need no look at the jobs themselves."""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Self
from uuid import UUID

from django.db import transaction
from django.utils import timezone

from status.durations import Durations
from status.endings import BATCH, FIRST, MOST_BATCHES, SETTLE_SECONDS, Place, ended_after
from status.models import Bucket, Topic
from status.states import State
from status.windows import LONGEST_SECONDS, WINDOWS, floor

PLACE = "status.counted"
"""The topic that keeps how far has been counted; nobody is told of it."""
MOST_SECONDS = 1.0
"""A worker that does this does nothing else meanwhile."""
STREAMS = ("jobs", "members")
COLUMNS = (
    *("finished_at", "pk", "task", "state", "failure", "canvas", "parent_id", "attempt", "polls"),
    *("created_at", "sent_at", "started_at"),
)
UPDATED = ["ended", "failed", "cancelled", "failures", "waits", "runs"]

Key = tuple[int, datetime, str]


@dataclass(slots=True)
class Count:
    """What a bucket holds, while it is counted."""

    ended: int = 0
    failed: int = 0
    cancelled: int = 0
    failures: dict[str, int] = field(default_factory=dict)
    waits: Durations = field(default_factory=Durations)
    runs: Durations = field(default_factory=Durations)

    @classmethod
    def of(cls, bucket: Bucket) -> Self:
        """What a row holds."""
        waits, runs = Durations.from_wire(bucket.waits), Durations.from_wire(bucket.runs)
        return cls(bucket.ended, bucket.failed, bucket.cancelled, dict(bucket.failures), waits, runs)

    def add(self, job: dict[str, Any]) -> None:
        """Count one that ended."""
        self.ended += 1
        self.cancelled += job["state"] == State.CANCELLED
        if job["state"] == State.FAILED:
            self.failed += 1
            self.failures[job["failure"]] = self.failures.get(job["failure"], 0) + 1
        if job["started_at"] is None:
            return
        self.runs.add((job["finished_at"] - job["started_at"]).total_seconds())
        # A member waits from when its turn came; a retry from when nobody noted.
        since = job["created_at"] if job["parent_id"] is None else job["sent_at"]
        if job["attempt"] - job["polls"] == 1 and since is not None:
            self.waits.add((job["started_at"] - since).total_seconds())

    def columns(self) -> dict[str, Any]:
        """For a row."""
        return {
            "ended": self.ended,
            "failed": self.failed,
            "cancelled": self.cancelled,
            "failures": self.failures,
            "waits": self.waits.to_wire(),
            "runs": self.runs.to_wire(),
        }


def count_ended() -> int:
    """Count what has ended since the last time, each job once, however many do this at once; returns how many.

    A long pause is made up for in several goes, so that none takes long.

    Example:
        >>> count_ended()
        12
    """
    counted, deadline = 0, time.monotonic() + MOST_SECONDS
    for _batch in range(MOST_BATCHES):
        found, more = _count_some(timezone.now() - timedelta(seconds=SETTLE_SECONDS))
        counted += found
        if not more or time.monotonic() > deadline:
            break
    return counted


def prune_buckets() -> int:
    """Delete the buckets that no window shows any more; returns how many."""
    now, gone = timezone.now(), 0
    for window in WINDOWS.values():
        old = Bucket.objects.filter(span_seconds=window.span_seconds, at__lt=window.begins(now))
        gone += old._raw_delete(old.db)
    return gone


def _count_some(until: datetime) -> tuple[int, bool]:
    """Count one batch; returns how many that were, and whether there may be more."""
    place = _place()
    places = {name: _read_place(place.payload.get(name)) for name in STREAMS}
    found: list[dict[str, Any]] = []
    more = False
    for name in STREAMS:
        jobs = list(ended_after(places[name], until, members=name == "members").values(*COLUMNS)[:BATCH])
        if jobs:
            places[name] = jobs[-1]["finished_at"], jobs[-1]["pk"]
        more = more or len(jobs) == BATCH
        found += jobs
    if not found:
        return 0, False
    payload = {name: [at.isoformat(), str(pk)] for name, (at, pk) in places.items()}
    with transaction.atomic():
        # Who has moved the place has counted these.
        held = Topic.objects.filter(pk=PLACE, version=place.version)
        if not held.update(version=place.version + 1, payload=payload, updated_at=timezone.now()):
            return 0, False
        _write(_sort(found))
    return len(found), more


def _place() -> Topic:
    topic = Topic.objects.filter(pk=PLACE).first()
    if topic is None:
        Topic.objects.bulk_create([Topic(name=PLACE, updated_at=timezone.now())], ignore_conflicts=True)
        topic = Topic.objects.get(pk=PLACE)
    return topic


def _read_place(written: list[str] | None) -> Place:
    """Where to go on; at first with what the longest window shows."""
    if written is None:
        return timezone.now() - timedelta(seconds=LONGEST_SECONDS), FIRST
    return datetime.fromisoformat(written[0]), UUID(written[1])


def _sort(jobs: Iterable[dict[str, Any]]) -> dict[Key, Count]:
    """Count jobs by bucket; a canvas is no execution, its members are."""
    begins = {window.span_seconds: window.begins(timezone.now()) for window in WINDOWS.values()}
    counts: dict[Key, Count] = {}
    for job in jobs:
        if job["canvas"]:
            continue
        for span, first in begins.items():
            at = floor(job["finished_at"], span)
            if at >= first:
                for task in (job["task"], ""):
                    counts.setdefault((span, at, task), Count()).add(job)
    return counts


def _write(counts: dict[Key, Count]) -> None:
    """Add counts to the rows."""
    known = Bucket.objects.filter(
        span_seconds__in={span for span, _at, _task in counts},
        at__in={at for _span, at, _task in counts},
        task__in={task for _span, _at, task in counts},
    )
    changed = []
    for bucket in known:
        count = counts.pop((bucket.span_seconds, bucket.at, bucket.task), None)
        if count is not None:
            _add_to(bucket, count)
            changed.append(bucket)
    Bucket.objects.bulk_update(changed, UPDATED, batch_size=100)
    fresh = [
        Bucket(span_seconds=span, at=at, task=task, **count.columns())
        for (span, at, task), count in counts.items()
    ]
    Bucket.objects.bulk_create(fresh, batch_size=500)


def _add_to(bucket: Bucket, count: Count) -> None:
    held = Count.of(bucket)
    held.ended += count.ended
    held.failed += count.failed
    held.cancelled += count.cancelled
    for kind, number in count.failures.items():
        held.failures[kind] = held.failures.get(kind, 0) + number
    held.waits.merge(count.waits)
    held.runs.merge(count.runs)
    for name, value in held.columns().items():
        setattr(bucket, name, value)
