"""The rows."""

from status.models.audit import AuditEntry
from status.models.delivery import Delivery
from status.models.house import Bucket, Process, Queue
from status.models.job import Job
from status.models.notification import Notification
from status.models.parts import Attachment, LogLine, Topic, attachment_path
from status.models.preferences import Preferences
from status.models.queries import FRESH
from status.models.saved import SavedView
from status.models.search import SearchText
from status.models.tokens import Token

__all__ = [
    "FRESH",
    "Attachment",
    "AuditEntry",
    "Bucket",
    "Delivery",
    "Job",
    "LogLine",
    "Notification",
    "Preferences",
    "Process",
    "Queue",
    "SavedView",
    "SearchText",
    "Token",
    "Topic",
    "attachment_path",
]
