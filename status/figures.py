"""What ended in a window of time, from the buckets: a few queries, however many jobs that were."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Sum, TextField
from django.db.models.functions import Cast

from status.durations import Durations
from status.models import Bucket
from status.windows import Window

MOST_TASKS = 20
TEXTS = {f"{name}_text": Cast(name, TextField()) for name in ("waits", "runs")}
"""The bins as the text they are stored as: a page reads thousands."""


@dataclass(slots=True, kw_only=True)
class Point:
    """One span."""

    at: datetime
    ended: int = 0
    failed: int = 0
    cancelled: int = 0
    waits: Durations = field(default_factory=Durations)
    runs: Durations = field(default_factory=Durations)

    @property
    def succeeded(self) -> int:
        """How many succeeded."""
        return self.ended - self.failed - self.cancelled


@dataclass(slots=True, kw_only=True)
class TaskLine:
    """One task, over the whole window."""

    task: str
    ended: int
    failed: int
    waits: Durations = field(default_factory=Durations)
    runs: Durations = field(default_factory=Durations)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What ended in a window, of one task or all."""

    window: Window
    task: str
    points: tuple[Point, ...]
    """As many as the window has spans, the oldest first."""
    failures: dict[str, int]
    """How many failed, by kind."""
    tasks: tuple[TaskLine, ...]
    """The tasks with most endings, whichever is chosen."""
    whole: Point
    """All points together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Failing:
    """A task of which much has failed lately."""

    task: str
    ended: int
    failed: int


def read_figures(window: Window, task: str, now: datetime) -> Figures:
    """The figures of a window up to now.

    Args:
        window: one of `windows.WINDOWS`.
        task: the task's name; empty: all together.
        now: the end of the window.

    Example:
        >>> read_figures(WINDOWS["24h"], "", timezone.now()).whole.ended
        4312
    """
    begins = window.begins(now)
    inside = Bucket.objects.filter(span_seconds=window.span_seconds, at__gte=begins)
    step = timedelta(seconds=window.span_seconds)
    points = {begins + step * number: Point(at=begins + step * number) for number in range(window.spans)}
    whole, failures = Point(at=begins), dict[str, int]()
    for bucket in inside.filter(task=task).defer("waits", "runs").annotate(**TEXTS):
        # One that has begun since is for the next time.
        for point in (whole, points.get(bucket.at)):
            if point is not None:
                _add(point, bucket)
        for kind, count in bucket.failures.items():
            failures[kind] = failures.get(kind, 0) + count
    return Figures(
        window=window,
        task=task,
        points=tuple(points.values()),
        failures=dict(sorted(failures.items(), key=lambda item: -item[1])),
        tasks=_tasks(window, begins),
        whole=whole,
    )


def _add(point: Point, bucket: Any) -> None:
    point.ended += bucket.ended
    point.failed += bucket.failed
    point.cancelled += bucket.cancelled
    point.waits.merge_text(bucket.waits_text)
    point.runs.merge_text(bucket.runs_text)


def _tasks(window: Window, begins: datetime) -> tuple[TaskLine, ...]:
    inside = Bucket.objects.filter(span_seconds=window.span_seconds, at__gte=begins).exclude(task="")
    sums = inside.values_list("task").annotate(ended=Sum("ended"), failed=Sum("failed"))
    lines = {
        task: TaskLine(task=task, ended=ended, failed=failed)
        for task, ended, failed in sums.order_by("-ended", "task")[:MOST_TASKS]
    }
    texts = inside.filter(task__in=lines).annotate(**TEXTS).values_list("task", *TEXTS)
    for task, waits, runs in texts:
        lines[task].waits.merge_text(waits)
        lines[task].runs.merge_text(runs)
    return tuple(lines.values())


def read_failing(now: datetime, *, seconds: int, least: int, part: float) -> list[Failing]:
    """The tasks of which much has failed in the last minutes, the worst first.

    Args:
        now: the end.
        seconds: how far back to look; an hour at most.
        least: so many must have failed.
        part: and so much of what ended, 0 to 1.
    """
    lately = Bucket.objects.filter(span_seconds=60, at__gte=now - timedelta(seconds=seconds)).exclude(task="")
    sums = lately.values_list("task").annotate(ended=Sum("ended"), failed=Sum("failed"))
    bad = sums.filter(failed__gte=least).order_by("-failed", "task")[:MOST_TASKS]
    found = [Failing(task=task, ended=ended, failed=failed) for task, ended, failed in bad]
    return [each for each in found if each.failed >= part * each.ended]
