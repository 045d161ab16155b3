"""The schedules as their page shows them, with the job that each made last."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from celery import current_app
from django.db.models import OuterRef, Subquery
from django.utils import timezone
from django_celery_beat.models import PeriodicTask

from status import access
from status.models import Job, Topic
from status.schedules.allowed import is_own
from status.schedules.due import next_times
from status.schedules.words import in_words, zone_of
from status.sources.missed import PULSE, Missed

SHOWN = 50
"""Schedules on one page."""

SILENT_SECONDS = 60.0
"""Beat that has given no sign of life for so long is taken to be down; it gives one every five seconds or so."""

TOLD = timedelta(days=7)
"""What beat missed is told for so long after it was back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One schedule."""

    task: PeriodicTask
    words: str
    zone: str
    next_at: datetime | None
    """None: paused, or never again."""
    last_at: datetime | None
    job: Job | None
    """The job that it made last, if its runs are jobs and it is still kept."""
    missed: Missed | None

    @property
    def is_own(self) -> bool:
        """Whether it is part of the app, or of Celery, and not to be meddled with."""
        return is_own(self.task.task)

    @property
    def is_set(self) -> bool:
        """Whether it stands in the project's settings, which beat writes anew at each start."""
        return self.task.name in current_app.conf.beat_schedule


@dataclass(frozen=True, slots=True)
class Beat:
    """What is known of beat."""

    alive_at: datetime | None
    missed: Mapping[str, Missed]

    @property
    def is_silent(self) -> bool:
        """Whether it seems to be down."""
        return self.alive_at is None or timezone.now() - self.alive_at > timedelta(seconds=SILENT_SECONDS)


def beat() -> Beat:
    """What beat has told last; one query."""
    told = Topic.objects.filter(pk=PULSE).first()
    if told is None:
        return Beat(None, {})
    started_at = timezone.now().timestamp() - float(told.payload.get("started_at") or 0)
    missed = told.payload.get("missed", {}) if started_at < TOLD.total_seconds() else {}
    return Beat(told.updated_at, {name: Missed.from_wire(wire) for name, wire in missed.items()})


def page(user: Any, after: str = "", size: int = SHOWN) -> tuple[list[Row], bool]:
    """The schedules whose names follow `after`, and whether there are more; three queries."""
    tasks = list(_tasks(user).filter(name__gt=after).order_by("name")[: size + 1])
    made = {task.newest for task in tasks}
    jobs = Job.objects.defer("traceback", "signature", "result").in_bulk(
        [pk for pk in made if pk is not None]
    )
    told = beat()
    return [_row(task, jobs, told) for task in tasks[:size]], len(tasks) > size


def find(user: Any, task_id: int) -> Row | None:
    """One schedule; None if there is none."""
    task = _tasks(user).filter(pk=task_id).first()
    if task is None:
        return None
    return _row(task, Job.objects.in_bulk([task.newest] if task.newest else []), beat())


def _tasks(user: Any) -> Any:
    newest = access.visible_jobs(user).filter(schedule=OuterRef("name")).order_by("-created_at")
    tasks = PeriodicTask.objects.select_related("interval", "crontab", "solar", "clocked")
    return tasks.annotate(newest=Subquery(newest.values("pk")[:1]))


def _row(task: PeriodicTask, jobs: Mapping[UUID, Job], told: Beat) -> Row:
    job = jobs.get(task.newest)
    made_at = job.created_at if job is not None else None
    # Beat writes the last run into the database minutes later.
    last_at = max((at for at in (task.last_run_at, made_at) if at is not None), default=None)
    schedule = task.schedule if task.scheduler is not None else None
    return Row(
        task=task,
        words="" if schedule is None else in_words(schedule),
        zone="" if schedule is None else zone_of(schedule),
        # What somebody ran by hand does not put off the next.
        next_at=_next(task, schedule, made_at if job is not None and job.owner_id is None else None),
        last_at=last_at,
        job=job,
        missed=told.missed.get(task.name),
    )


def _next(task: PeriodicTask, schedule: Any, made_at: datetime | None) -> datetime | None:
    if schedule is None or not task.enabled or (task.one_off and task.total_run_count):
        return None
    now = timezone.now()
    if task.start_time is not None and task.start_time > now:
        now = task.start_time - timedelta(microseconds=1)
    last_run_at = task.last_run_at or task.date_changed or now
    if made_at is not None and task.interval is not None:
        last_run_at = max(last_run_at, made_at)
    times = next_times(schedule, min(last_run_at, now), now, 1)
    due = times[0] if times else None
    return None if due is None or (task.expires is not None and due >= task.expires) else due
