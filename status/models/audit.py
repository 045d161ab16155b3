"""What people did, when, and to what."""

from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy


class Verb(models.TextChoices):
    """What somebody did."""

    START = "start", pgettext_lazy("what somebody did", "Started")
    START_AGAIN = "start again", pgettext_lazy("what somebody did", "Started again")
    CANCEL = "cancel", pgettext_lazy("what somebody did", "Cancelled")
    RETRY = "retry", pgettext_lazy("what somebody did", "Retried")
    STOP = "stop", pgettext_lazy("what somebody did", "Stopped at once")
    MAKE = "make", pgettext_lazy("what somebody did", "Made")
    EDIT = "edit", pgettext_lazy("what somebody did", "Edited")
    DELETE = "delete", pgettext_lazy("what somebody did", "Deleted")
    PAUSE = "pause", pgettext_lazy("what somebody did", "Paused")
    RESUME = "resume", pgettext_lazy("what somebody did", "Resumed")
    RUN = "run", pgettext_lazy("what somebody did", "Run by hand")
    REVOKE = "revoke", pgettext_lazy("what somebody did", "Revoked")


class Source(models.TextChoices):
    """Where somebody did it."""

    PAGE = "page", _("On a page")
    API = "api", _("Through the API")
    COMMAND = "command", _("On the command line")


KINDS = {
    "job": pgettext_lazy("what was acted on", "Job"),
    "schedule": pgettext_lazy("what was acted on", "Schedule"),
    "queue": pgettext_lazy("what was acted on", "Queue"),
    "token": pgettext_lazy("what was acted on", "Token"),
}
"""What the kinds of subjects of this app are called."""


class AuditEntry(models.Model):
    """One thing that somebody did. It refers to no other row, so that it outlives its user and its subject."""

    at = models.DateTimeField(_("when"), default=timezone.now)
    user_key = models.CharField(max_length=64, blank=True, default="")
    """The user's primary key as text; empty on the command line."""
    name = models.CharField(_("who"), max_length=150, blank=True, default="")
    # Without `choices`: a new verb is no migration.
    verb = models.CharField(_("what was done"), max_length=20)
    source = models.CharField(_("where"), max_length=10)
    through = models.CharField(_("token"), max_length=100, blank=True, default="")
    """The name of the token that a program showed."""
    kind = models.CharField(_("kind of subject"), max_length=20)
    subject = models.CharField(_("id of the subject"), max_length=200, blank=True, default="")
    title = models.CharField(_("title of the subject"), max_length=255, blank=True, default="")
    details = models.JSONField(_("details"), default=dict, blank=True)

    class Meta:
        verbose_name = _("entry of the audit trail")
        verbose_name_plural = _("audit trail")
        ordering = ["-at", "-id"]
        # It is on a page of its own; nobody adds or changes an entry by hand.
        default_permissions = ()
        permissions = [("view_audit", "Can read what people did")]
        indexes = [
            models.Index(fields=["-at", "-id"], name="status_audit_at"),
            models.Index(fields=["subject", "-at", "-id"], name="status_audit_subject"),
            models.Index(fields=["title", "-at", "-id"], name="status_audit_title"),
            models.Index(fields=["name", "-at", "-id"], name="status_audit_name"),
            models.Index(fields=["verb", "-at", "-id"], name="status_audit_verb"),
            models.Index(fields=["kind", "-at", "-id"], name="status_audit_kind"),
        ]

    def __str__(self) -> str:
        return f"{self.name} {self.verb} {self.kind} {self.subject}"

    @property
    def verb_label(self) -> str:
        """What was done, for people; a verb of somebody's own as it is."""
        return str(Verb(self.verb).label) if self.verb in Verb.values else self.verb

    @property
    def source_label(self) -> str:
        """Where it was done, for people."""
        return str(Source(self.source).label) if self.source in Source.values else self.source

    @property
    def kind_label(self) -> str:
        """What kind of thing it was done to, for people; one of somebody's own as it is."""
        return str(KINDS.get(self.kind, self.kind))
