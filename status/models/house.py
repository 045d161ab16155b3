"""What the house runs on: its processes, its queues, and what ended in each span of time."""

from typing import Any

from django.conf import settings
from django.db import models
from django.utils.translation import gettext_lazy as _


class Process(models.Model):
    """A process that tells of itself every few seconds: a worker, or a web server's."""

    class Kind(models.TextChoices):
        """Which of the two."""

        WORKER = "worker", _("Worker")
        WEB = "web", _("Web server")

    name = models.CharField(_("name"), max_length=200, primary_key=True)
    kind = models.CharField(_("kind"), max_length=6, choices=Kind.choices)
    started_at = models.DateTimeField(_("started at"))
    seen_at = models.DateTimeField(_("seen at"))
    stopped_at = models.DateTimeField(_("stopped at"), null=True, blank=True)
    """When it said that it stops; None: it runs, or was lost."""
    said: Any = models.JSONField(_("what it said"), default=dict)

    class Meta:
        verbose_name = _("process")
        verbose_name_plural = _("processes")
        default_permissions = ()

    def __str__(self) -> str:
        return self.name


class Queue(models.Model):
    """A queue that is paused; of others there is no row."""

    name = models.CharField(_("name"), max_length=100, primary_key=True)
    paused_at = models.DateTimeField(_("paused at"), null=True, blank=True)
    paused_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("paused by"),
    )

    class Meta:
        verbose_name = _("queue")
        verbose_name_plural = _("queues")
        default_permissions = ("change",)

    def __str__(self) -> str:
        return self.name


class Bucket(models.Model):
    """What ended of one task in one span of time; see `sources/counting.py`."""

    span_seconds = models.PositiveIntegerField()
    at = models.DateTimeField()
    """When the span begins."""
    task = models.CharField(max_length=255)
    """The task's name; empty: all tasks together."""
    ended = models.PositiveIntegerField(default=0)
    failed = models.PositiveIntegerField(default=0)
    cancelled = models.PositiveIntegerField(default=0)
    failures: Any = models.JSONField(default=dict)
    """How many failed by the kind of failure."""
    waits: Any = models.JSONField(default=dict)
    """How long they waited for a worker: `durations.Durations` as it is written."""
    runs: Any = models.JSONField(default=dict)
    """How long they ran."""

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["span_seconds", "at", "task"], name="status_bucket_place")
        ]

    def __str__(self) -> str:
        return f"{self.task or '*'} {self.at:%Y-%m-%d %H:%M}"
