"""The row of a job."""

import json
import uuid
from datetime import timedelta
from functools import cached_property
from operator import attrgetter
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from status import conf
from status.addresses import job_address
from status.events import JobEvent, Line, Step, percents
from status.models.queries import LIVE_FIELDS, JobQuerySet, last_lines
from status.registry import startables
from status.states import LIVE, Canvas, Failure, State

if TYPE_CHECKING:
    from status.models.parts import Attachment
    from status.models.tree import Branch
    from status.usual import Usual

JobManager = models.Manager.from_queryset(JobQuerySet)

# The lists hold what people started; the members of a workflow are on its page.
LIST_INDEXES: dict[str, list[str]] = {"created": [], "owner_state": ["owner", "state"]}
LIST_INDEXES |= {name: [name] for name in ("owner", "state", "task", "queue", "worker", "schedule")}

# What an instance computes once from its columns.
_CACHED = {"step_list", "tail", "files", "branch"}

_MOVING = LIVE_FIELDS[1:]
_moving = attrgetter(*_MOVING)


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

    # Of what is a canvas, or a member of something; see workflow.py.
    canvas = models.CharField(_("canvas"), max_length=5, choices=Canvas.choices, blank=True, default="")
    root = models.ForeignKey("self", models.CASCADE, null=True, blank=True, related_name="+", db_index=False)
    parent = models.ForeignKey(
        "self", models.CASCADE, null=True, blank=True, related_name="members", db_index=False
    )
    position = models.PositiveIntegerField(_("position"), null=True, blank=True)
    weight = models.FloatField(_("weight"), default=1)
    may_fail = models.BooleanField(_("may fail"), default=False)
    held = models.BooleanField(_("held back"), default=False)
    given = models.JSONField(_("given by what came before"), null=True, blank=True)
    passes = models.BooleanField(_("passes its result on"), default=False)
    output = models.JSONField(_("result for what follows"), null=True, blank=True)
    tally = models.JSONField(_("members by state"), default=dict, blank=True)
    refreshed_at = models.DateTimeField(_("refreshed at"), null=True, blank=True)

    is_indexed = models.BooleanField(default=False)
    """Whether the words by which it is found are written; of members they are not."""

    state = models.CharField(_("state"), max_length=12, choices=State.choices, default=State.QUEUED)
    failure = models.CharField(_("failure"), max_length=12, choices=Failure.choices, blank=True, default="")
    attempt = models.PositiveIntegerField(_("attempt"), default=1)
    most_attempts = models.PositiveIntegerField(_("most attempts"), null=True, blank=True)
    repeatable = models.BooleanField(_("safe to repeat"), default=False)
    schedule = models.CharField(_("schedule"), max_length=200, blank=True, default="")
    params = models.JSONField(_("parameters"), default=dict, blank=True)
    seq = models.PositiveBigIntegerField(default=0)

    # Of a job that polls remote work; see sources/remote.py.
    polls = models.PositiveIntegerField(_("polls"), default=0)
    poll_at = models.DateTimeField(_("poll at"), null=True, blank=True)
    poll_signature = models.JSONField(_("signature of the next poll"), null=True, blank=True)
    on_cancel = models.JSONField(_("signature of what cancels the remote work"), null=True, blank=True)

    created_at = models.DateTimeField(_("created at"), default=timezone.now)
    sent_at = models.DateTimeField(_("sent at"), null=True, blank=True)
    started_at = models.DateTimeField(_("started at"), null=True, blank=True)
    finished_at = models.DateTimeField(_("finished at"), null=True, blank=True)
    next_at = models.DateTimeField(_("next at"), null=True, blank=True)
    heartbeat_at = models.DateTimeField(_("heartbeat at"), null=True, blank=True)
    cancel_requested_at = models.DateTimeField(_("cancel requested at"), null=True, blank=True)

    queue = models.CharField(_("queue"), max_length=100, blank=True, default="")
    worker = models.CharField(_("worker"), max_length=200, blank=True, default="")
    stoppable = models.BooleanField(_("may be stopped at once"), default=False)

    steps = models.JSONField(_("steps"), default=list, blank=True)
    progress = models.FloatField(_("progress"), null=True, blank=True)
    rate = models.FloatField(_("rate"), null=True, blank=True)
    time_left_seconds = models.FloatField(_("time left in seconds"), null=True, blank=True)
    line_count = models.PositiveIntegerField(default=0)
    file_count = models.PositiveIntegerField(default=0)

    result = models.JSONField(_("result"), null=True, blank=True)
    error = models.TextField(_("error"), blank=True, default="")
    traceback = models.TextField(_("traceback"), blank=True, default="")

    usual: "Usual | None" = None  # See usual.py.

    objects = JobManager()

    class Meta:
        verbose_name = _("job")
        verbose_name_plural = _("jobs")
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(fields=["state", "-created_at", "-id"], name="status_job_state"),
            # One for each filter of the lists, in their order; see status/listing.py. With its parent, which is
            # none, SQLite can count in the index alone.
            *(
                models.Index(
                    fields=[*fields, "-created_at", "-id", "parent"],
                    name=f"status_list_{name}",
                    condition=Q(parent__isnull=True),
                )
                for name, fields in LIST_INDEXES.items()
            ),
            models.Index(
                fields=["created_at"],
                name="status_job_unsent",
                condition=Q(sent_at__isnull=True, held=False),
            ),
            models.Index(fields=["heartbeat_at"], name="status_job_lease", condition=Q(state=State.RUNNING)),
            models.Index(fields=["next_at"], name="status_job_due", condition=Q(state=State.WAITING)),
            # SQLite uses a partial index only if the statement itself, without its parameters, implies the condition.
            models.Index(fields=["poll_at"], name="status_job_polls", condition=Q(poll_at__isnull=False)),
            models.Index(
                fields=["state", "finished_at"],
                name="status_job_call_off",
                condition=Q(on_cancel__isnull=False),
            ),
            # Only what has ended has that time. SQLite would not use an index on a list of states.
            models.Index(
                fields=["finished_at", "id"],
                name="status_job_ended",
                condition=Q(finished_at__isnull=False, parent__isnull=True),
            ),
            # SQLite would take an index of all parents for those without one, who are the lists, and sort them.
            models.Index(
                fields=["parent", "state", "position"],
                name="status_job_inside",
                condition=Q(parent__isnull=False),
            ),
            models.Index(
                fields=["created_at", "id"],
                name="status_job_unindexed",
                condition=Q(is_indexed=False, parent__isnull=True),
            ),
            models.Index(
                fields=["finished_at", "id"],
                name="status_job_member_ended",
                condition=Q(finished_at__isnull=False, parent__isnull=False),
            ),
            # Without those that are members of nothing, whose every change of state would be written here too.
            models.Index(fields=["root", "state"], name="status_job_below", condition=Q(root__isnull=False)),
            models.Index(fields=["key"], name="status_job_key", condition=Q(key__isnull=False)),
            models.Index(
                fields=["refreshed_at"],
                name="status_job_refreshed",
                condition=Q(refreshed_at__isnull=False),
            ),
        ]
        permissions = [
            ("stop_job", "Can stop a running job at once"),
            ("change_queue", "Can pause and resume a queue"),
            ("change_schedule", "Can make, edit, pause, run and delete schedules"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["parent", "position"],
                name="status_job_place",
                condition=Q(parent__isnull=False),
            ),
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
        return job_address(self.pk)

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
            stoppable=self.stoppable,
            started_at=self.started_at,
            finished_at=self.finished_at,
            next_at=self.next_at,
            cancel_requested_at=self.cancel_requested_at,
            line_count=self.line_count,
            file_count=self.file_count,
            polls=self.polls,
            poll_at=self.poll_at,
            tally=self.tally,
        )

    def at(self, event: JobEvent) -> "Job":
        """This job as `event` shows it; neither self nor the row changes."""
        job = Job.__new__(Job)
        job.__dict__ = dict(self.__dict__)
        for name in _CACHED:
            job.__dict__.pop(name, None)
        job.__dict__.update(zip(_MOVING, _moving(event), strict=True))
        job.steps = [step.to_wire() for step in event.steps]
        job.step_list = list(event.steps)
        job.__dict__["_files_of"] = self if event.file_count == self.file_count else None
        job.__dict__["_row"] = self
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
    def cancelling_for(self) -> timedelta | None:
        """How long ago it was asked to end, in whole seconds; None unless it is cancelling."""
        if not self.is_cancelling or self.cancel_requested_at is None:
            return None
        seconds = int((timezone.now() - self.cancel_requested_at).total_seconds())
        return timedelta(seconds=max(seconds, 0))

    @property
    def tries(self) -> int:
        """The attempt as people count: a poll goes on with the attempt before it."""
        return self.attempt - self.polls

    def get_state_display(self) -> str:  # type: ignore[no-redef]  # The plugin adds Django's.
        """The state's name for people; Django's own looks through all choices each time."""
        return str(State(self.state).label)

    @property
    def percent(self) -> int | None:
        """Its part done in whole percents, rounded down; None while unknown."""
        if self.state == State.SUCCEEDED:
            return 100
        return percents(self.progress)

    @cached_property
    def step_list(self) -> list[Step]:
        """Its steps in order."""
        return [Step.from_wire(step) for step in self.steps]

    @property
    def step(self) -> Step | None:
        """The step that runs, or the last that did."""
        last = None
        for step in reversed(self.step_list):
            if step.state == "running":
                return step
            if last is None and step.state != "pending":
                last = step
        return last

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
        newest = last_lines(type(self).lines.rel.related_model, self.pk, conf.current().log_tail)
        return [line.frozen() for line in reversed(newest)]

    @cached_property
    def files(self) -> list["Attachment"]:
        """What it attached for download; for what `at` made, read once for all."""
        source: Job | None = self.__dict__.get("_files_of")
        if source is not None:
            return source.files
        return list(self._last.attachments.filter(role="output").order_by("created_at", "pk"))

    @property
    def _last(self) -> "Job":
        """The task that came last: what it made is what a chain was for."""
        last = self
        while last.canvas == Canvas.CHAIN:
            found = last.members.filter(position__isnull=False).order_by("-position").first()
            if found is None:
                break
            last = found
        return last

    @property
    def cell_id(self) -> str:
        """The id of its figures in a list of members."""
        return f"member-{self.pk.hex}"

    @property
    def more_id(self) -> str:
        """The id of what is said about its members that are not shown."""
        return f"more-{self.pk.hex}"

    @property
    def row(self) -> "Job":
        """The job as it was read, of which this one is what `at` made; else itself."""
        read: Job = self.__dict__.get("_row", self)
        return read

    def forget_members(self) -> None:
        """Have its members read again when they are shown next."""
        self.__dict__.pop("branch", None)

    @property
    def has_live_members(self) -> bool:
        """Whether members were seen to move; nothing is read for that."""
        branch: Branch | None = self.__dict__.get("branch")
        return branch is not None and branch.is_live

    @property
    def was_skipped(self) -> bool:
        """Whether it is a member that was cancelled before its turn had come."""
        return self.state == State.CANCELLED and self.held

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
