"""The rows. `Job.objects.advance` is the one place where a job changes its state."""

import json
import uuid
from collections.abc import Iterable
from datetime import timedelta
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from django.conf import settings
from django.db import models
from django.db.models import F, Q
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from status import conf
from status.events import JobEvent, Line, Step
from status.registry import startables
from status.states import LIVE, TERMINAL, Failure, State, below


class JobQuerySet(models.QuerySet["Job"]):
    """Chooses and moves jobs."""

    def live(self) -> "JobQuerySet":
        """Those that have not ended."""
        return self.filter(state__in=sorted(LIVE))

    def advance(
        self,
        job_id: UUID,
        state: str,
        *,
        attempt: int,
        seq: int | None = None,
        only_from: Iterable[str] | None = None,
        **fields: Any,
    ) -> bool:
        """Move a job to `state` and write `fields`, unless the row knows better.

        The one guarded write. The UPDATE's WHERE refuses to leave a terminal state, refuses an older
        attempt, refuses to go back within an attempt, and refuses a sequence number that is not newer. So
        of two who end a job one wins, and whoever comes late changes nothing.

        Args:
            job_id: the job.
            state: the new state; for a progress report the same as before.
            attempt: the attempt that the caller speaks for.
            seq: its sequence number within the attempt; None for a caller who has none (not the worker that
                runs the attempt): the row's number is raised by one.
            only_from: narrows the states which may be left.
            fields: other columns to write in the same statement.

        Returns:
            Whether the row was changed.

        Example:
            >>> Job.objects.advance(job.id, State.CANCELLED, attempt=1, only_from=[State.QUEUED])
            True
        """
        newer = Q(attempt__lt=attempt) | Q(attempt=attempt, state__in=below(state))
        if seq is not None:
            newer |= Q(attempt=attempt, state=state, seq__lt=seq)
        changed = self.filter(newer, pk=job_id, state__in=sorted(only_from or LIVE))
        if state in TERMINAL:
            fields.setdefault("finished_at", timezone.now())
        return bool(
            changed.update(state=state, attempt=attempt, seq=F("seq") + 1 if seq is None else seq, **fields)
        )

    def reopen(self, job_id: UUID, *, attempt: int) -> bool:
        """Queue an ended job again as the attempt after `attempt`: the one way out of a terminal state.

        Only for a person who asks for it. Returns whether the job had failed or been cancelled in that attempt.
        """
        ended = self.filter(pk=job_id, attempt=attempt, state__in=[State.FAILED, State.CANCELLED])
        return bool(ended.update(state=State.QUEUED, attempt=attempt + 1, seq=0, **FRESH))

    def request_cancel(self, job_id: UUID) -> bool:
        """Note that the running job `job_id` shall end; whether this call was the first to ask."""
        asked = self.filter(pk=job_id, state=State.RUNNING, cancel_requested_at=None)
        return bool(asked.update(cancel_requested_at=timezone.now()))

    def events(self, job_ids: Iterable[UUID]) -> list[JobEvent]:
        """The live fields of these jobs, in one query."""
        return [job.event() for job in self.filter(pk__in=list(job_ids)).only(*LIVE_FIELDS)]


JobManager = models.Manager.from_queryset(JobQuerySet)

# An attempt begins with these.
FRESH: dict[str, Any] = {
    "failure": "",
    "steps": [],
    "progress": None,
    "rate": None,
    "time_left_seconds": None,
    "line_count": 0,
    "next_at": None,
    "sent_at": None,
    "started_at": None,
    "finished_at": None,
    "heartbeat_at": None,
    "cancel_requested_at": None,
    "result": None,
    "error": "",
    "traceback": "",
    "worker": "",
}

LIVE_FIELDS = (
    "id",
    "attempt",
    "seq",
    "state",
    "failure",
    "steps",
    "progress",
    "rate",
    "time_left_seconds",
    "worker",
    "started_at",
    "finished_at",
    "next_at",
    "cancel_requested_at",
    "line_count",
    "file_count",
)


# What an instance computes once from its columns.
_CACHED = {"step_list", "tail", "files"}


class Job(models.Model):
    """One run of a task as people see it. Its id is the Celery task id."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    task = models.CharField(_("task"), max_length=255)
    title = models.CharField(_("title"), max_length=255)
    startable = models.CharField(_("startable"), max_length=100, blank=True, default="")
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        null=True,
        blank=True,
        verbose_name=_("owner"),
        related_name="status_jobs",
        db_index=False,
    )
    key = models.CharField(_("key"), max_length=200, null=True, blank=True)
    signature = models.JSONField(_("signature"), default=dict)

    state = models.CharField(_("state"), max_length=12, choices=State.choices, default=State.QUEUED)
    failure = models.CharField(_("failure"), max_length=12, choices=Failure.choices, blank=True, default="")
    attempt = models.PositiveIntegerField(_("attempt"), default=1)
    most_attempts = models.PositiveIntegerField(_("most attempts"), null=True, blank=True)
    repeatable = models.BooleanField(_("safe to repeat"), default=False)
    schedule = models.CharField(_("schedule"), max_length=200, blank=True, default="")
    params = models.JSONField(_("parameters"), default=dict, blank=True)
    seq = models.PositiveBigIntegerField(default=0)

    created_at = models.DateTimeField(_("created at"), default=timezone.now)
    sent_at = models.DateTimeField(_("sent at"), null=True, blank=True)
    started_at = models.DateTimeField(_("started at"), null=True, blank=True)
    finished_at = models.DateTimeField(_("finished at"), null=True, blank=True)
    next_at = models.DateTimeField(_("next at"), null=True, blank=True)
    heartbeat_at = models.DateTimeField(_("heartbeat at"), null=True, blank=True)
    cancel_requested_at = models.DateTimeField(_("cancel requested at"), null=True, blank=True)

    queue = models.CharField(_("queue"), max_length=100, blank=True, default="")
    worker = models.CharField(_("worker"), max_length=200, blank=True, default="")

    steps = models.JSONField(_("steps"), default=list, blank=True)
    progress = models.FloatField(_("progress"), null=True, blank=True)
    rate = models.FloatField(_("rate"), null=True, blank=True)
    time_left_seconds = models.FloatField(_("time left in seconds"), null=True, blank=True)
    line_count = models.PositiveIntegerField(default=0)
    file_count = models.PositiveIntegerField(default=0)

    result = models.JSONField(_("result"), null=True, blank=True)
    error = models.TextField(_("error"), blank=True, default="")
    traceback = models.TextField(_("traceback"), blank=True, default="")

    objects = JobManager()

    class Meta:
        verbose_name = _("job")
        verbose_name_plural = _("jobs")
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(fields=["owner", "-created_at", "-id"], name="status_job_owner"),
            models.Index(fields=["-created_at", "-id"], name="status_job_created"),
            models.Index(fields=["state", "-created_at", "-id"], name="status_job_state"),
            models.Index(
                fields=["created_at"],
                name="status_job_unsent",
                condition=Q(state=State.QUEUED, sent_at=None),
            ),
            models.Index(fields=["heartbeat_at"], name="status_job_lease", condition=Q(state=State.RUNNING)),
            models.Index(fields=["next_at"], name="status_job_due", condition=Q(state=State.WAITING)),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["key"],
                name="status_job_live_key",
                condition=Q(state__in=sorted(LIVE), key__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        """The job's page."""
        return reverse("status:job", args=[self.pk])

    def refresh_from_db(self, *args: Any, **kwargs: Any) -> None:
        """As Django does, and forget what was computed from the old values."""
        for name in _CACHED:
            self.__dict__.pop(name, None)
        super().refresh_from_db(*args, **kwargs)

    def event(self) -> JobEvent:
        """The row's live fields."""
        return JobEvent(
            job=self.pk,
            attempt=self.attempt,
            seq=self.seq,
            state=self.state,
            failure=self.failure,
            steps=tuple(Step.from_wire(step) for step in self.steps),
            progress=self.progress,
            rate=self.rate,
            time_left_seconds=self.time_left_seconds,
            worker=self.worker,
            started_at=self.started_at,
            finished_at=self.finished_at,
            next_at=self.next_at,
            cancel_requested_at=self.cancel_requested_at,
            line_count=self.line_count,
            file_count=self.file_count,
        )

    def at(self, event: JobEvent) -> "Job":
        """This job as `event` shows it; neither self nor the row changes."""
        job = Job.__new__(Job)
        job.__dict__ = {name: value for name, value in self.__dict__.items() if name not in _CACHED}
        job.__dict__.update({name: getattr(event, name) for name in LIVE_FIELDS[1:]})
        job.steps = [step.to_wire() for step in event.steps]
        job.step_list = list(event.steps)
        job.__dict__["_files_of"] = self if event.file_count == self.file_count else None
        return job

    @property
    def is_live(self) -> bool:
        """Whether it has not ended."""
        return self.state in LIVE

    @property
    def is_cancelling(self) -> bool:
        """Whether it was asked to end and has not yet."""
        return self.is_live and self.cancel_requested_at is not None

    @property
    def percent(self) -> int | None:
        """Its part done in whole percents, rounded down; None while unknown."""
        if self.state == State.SUCCEEDED:
            return 100
        return None if self.progress is None else int(self.progress * 100)

    @cached_property
    def step_list(self) -> list[Step]:
        """Its steps in order."""
        return [Step.from_wire(step) for step in self.steps]

    @property
    def step(self) -> Step | None:
        """The step that runs, or the last that did."""
        begun = [step for step in self.step_list if step.state != "pending"]
        running = [step for step in begun if step.state == "running"]
        return next(reversed(running or begun), None)

    @property
    def step_number(self) -> int:
        """The place of `step` among all, from 1; 0 before the first."""
        return self.step_list.index(self.step) + 1 if self.step else 0

    @property
    def time_left(self) -> timedelta | None:
        """An estimate of how long it will still run."""
        if self.time_left_seconds is None or self.state != State.RUNNING:
            return None
        return timedelta(seconds=round(self.time_left_seconds))

    @property
    def ran_for(self) -> timedelta | None:
        """How long the last attempt ran, until now if it still does."""
        if self.started_at is None:
            return None
        return max((self.finished_at or timezone.now()) - self.started_at, timedelta())

    @cached_property
    def tail(self) -> list[Line]:
        """Its last log lines, oldest first; as many as `STATUS["LOG_TAIL"]`."""
        newest = self.lines.order_by("-attempt", "-number")[: conf.current().log_tail]
        return [line.frozen() for line in reversed(newest)]

    @cached_property
    def files(self) -> list["Attachment"]:
        """What it attached for download; for what `at` made, read once for all."""
        source: Job | None = self.__dict__.get("_files_of")
        if source is not None:
            return source.files
        return list(self.attachments.filter(role=Attachment.Role.OUTPUT).order_by("created_at", "pk"))

    @property
    def result_url(self) -> str:
        """Where the result is to be seen, if the task returned `{"url": …}` with a safe address."""
        url = self.result.get("url", "") if isinstance(self.result, dict) else ""
        if not isinstance(url, str) or urlsplit(url).scheme not in {"", "http", "https"}:
            return ""
        return url

    @property
    def result_label(self) -> str:
        """The text of the link to `result_url`."""
        label = self.result.get("label", "") if isinstance(self.result, dict) else ""
        return str(label) or self.result_url

    @property
    def result_text(self) -> str:
        """The result as indented JSON; empty if there is none."""
        return "" if self.result is None else json.dumps(self.result, indent=2, ensure_ascii=False)

    @property
    def template(self) -> str:
        """The partial that shows its result."""
        entry = startables.get(self.startable)
        return entry.result_template if entry else "status/partials/result.html"


class LogLine(models.Model):
    """One line of a job's log; numbers count from 1 within the attempt, of which two may overlap."""

    job = models.ForeignKey(Job, models.CASCADE, related_name="lines", db_index=False)
    number = models.PositiveIntegerField()
    attempt = models.PositiveIntegerField()
    at = models.DateTimeField()
    level = models.PositiveSmallIntegerField()
    text = models.TextField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["job", "attempt", "number"], name="status_line_place")]

    def __str__(self) -> str:
        return self.text

    def frozen(self) -> Line:
        """The line as it travels."""
        return Line(number=self.number, attempt=self.attempt, at=self.at, level=self.level, text=self.text)


def attachment_path(attachment: "Attachment", filename: str) -> str:
    """Where a file is kept: one folder per job, one per file, so that names cannot meet."""
    return f"status/{attachment.job_id}/{attachment.pk}/{filename}"


class Attachment(models.Model):
    """A file that a job was given or that it made."""

    class Role(models.TextChoices):
        """Which of the two."""

        INPUT = "input", _("Input")
        OUTPUT = "output", _("Output")

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    job = models.ForeignKey(Job, models.CASCADE, related_name="attachments")
    field = models.CharField(max_length=100, blank=True, default="")
    role = models.CharField(max_length=6, choices=Role.choices, default=Role.OUTPUT)
    name = models.CharField(max_length=255)
    file = models.FileField(upload_to=attachment_path, max_length=500)
    size = models.PositiveBigIntegerField()
    created_at = models.DateTimeField(default=timezone.now)

    def __str__(self) -> str:
        return self.name

    def get_absolute_url(self) -> str:
        """Where it is downloaded."""
        return reverse("status:attachment", args=[self.job_id, self.pk])


class Topic(models.Model):
    """The newest value of a topic, so that a page opened later shows it at once."""

    name = models.CharField(max_length=100, primary_key=True)
    version = models.PositiveBigIntegerField(default=0)
    payload = models.JSONField(default=dict)
    updated_at = models.DateTimeField()

    def __str__(self) -> str:
        return self.name
