"""What people are told, and whether they have read it."""

from typing import Any
from urllib.parse import urlsplit

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from status.addresses import job_address
from status.models.job import Job


class NotificationQuerySet(models.QuerySet["Notification"]):
    """Chooses notifications."""

    def of(self, user: Any) -> "NotificationQuerySet":
        """Those of one user."""
        return self.filter(owner=user)

    def unread(self) -> "NotificationQuerySet":
        """Those which their owner has not read."""
        return self.filter(read_at__isnull=True)


NotificationManager = models.Manager.from_queryset(NotificationQuerySet)


class Notification(models.Model):
    """One thing that one user is told. Of each attempt's end there is one at most."""

    class Kind(models.TextChoices):
        """How a job ended, that it waits for somebody, or a message from a task or a view."""

        SUCCEEDED = "succeeded", _("Succeeded")
        FAILED = "failed", _("Failed")
        CANCELLED = "cancelled", _("Cancelled")
        WAITING = "waiting", _("Waits for someone")
        MESSAGE = "message", _("Message")

    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        verbose_name=_("owner"),
        related_name="status_notifications",
        db_index=False,
    )
    kind = models.CharField(_("kind"), max_length=12, choices=Kind.choices, default=Kind.MESSAGE)
    job = models.ForeignKey(
        Job, models.CASCADE, null=True, blank=True, related_name="notifications", db_index=False
    )
    attempt = models.PositiveIntegerField(_("attempt"), null=True, blank=True)
    title = models.CharField(_("title"), max_length=255)
    url = models.CharField(_("address"), max_length=500, blank=True, default="")
    created_at = models.DateTimeField(_("created at"), default=timezone.now)
    read_at = models.DateTimeField(_("read at"), null=True, blank=True)

    objects = NotificationManager()

    class Meta:
        verbose_name = _("notification")
        verbose_name_plural = _("notifications")
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["owner", "-id"], name="status_note_owner"),
            models.Index(
                fields=["owner", "created_at"], name="status_note_unread", condition=Q(read_at__isnull=True)
            ),
            # To prune messages; what tells of jobs goes with these.
            models.Index(fields=["created_at"], name="status_note_message", condition=Q(job__isnull=True)),
        ]
        constraints = [models.UniqueConstraint(fields=["job", "attempt"], name="status_note_once")]

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        """Where it is opened, which makes it read."""
        return reverse("status:notification", args=[self.pk])

    @property
    def target(self) -> str:
        """Where opening it leads to; empty for nowhere."""
        if self.url:
            return self.url
        return job_address(self.job_id) if self.job_id is not None else ""

    @property
    def is_read(self) -> bool:
        """Whether its owner has read it."""
        return self.read_at is not None


def is_safe_address(url: str) -> bool:
    """Whether `url` may stand in a link: http, https or relative.

    >>> is_safe_address("javascript:alert(1)")
    False
    """
    return urlsplit(url).scheme in {"", "http", "https"}
