"""The rows."""

from status.models.job import Job
from status.models.notification import Notification
from status.models.parts import Attachment, LogLine, Topic, attachment_path
from status.models.queries import FRESH

__all__ = ["FRESH", "Attachment", "Job", "LogLine", "Notification", "Topic", "attachment_path"]
