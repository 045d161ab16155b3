"""What belongs to a job, its log lines and files, and the retained values of topics."""

import dataclasses
import uuid

from django.db import models
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from status.events import Line
from status.models.job import Job

FOLDER = "status"


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

    @classmethod
    def of(cls, job_id: uuid.UUID, line: Line) -> "LogLine":
        """The unsaved row of a line that has travelled."""
        return cls(job_id=job_id, **dataclasses.asdict(line))

    def frozen(self) -> Line:
        """The line as it travels."""
        return Line(number=self.number, attempt=self.attempt, at=self.at, level=self.level, text=self.text)


def attachment_path(attachment: "Attachment", filename: str) -> str:
    """Where a file is kept: one folder per job, one per file, so that names cannot meet."""
    return f"{FOLDER}/{attachment.job_id}/{attachment.pk}/{filename}"


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
