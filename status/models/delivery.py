"""What goes out of the house: one row for each notification and channel."""

from typing import Any
from uuid import uuid4

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from status.models.notification import Notification


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    """Chooses deliveries."""

    def last_of(self, user: Any, channel: str) -> "Delivery | None":
        """The newest to a user by a channel, with its notification."""
        mine = self.filter(user=user, channel=channel).select_related("notification")
        return mine.order_by("-created_at").first()


DeliveryManager = models.Manager.from_queryset(DeliveryQuerySet)


class Delivery(models.Model):
    """One notification on its way to one user by one channel."""

    class Channel(models.TextChoices):
        """The ways out."""

        EMAIL = "email", _("E-mail")
        WEBHOOK = "webhook", _("Webhook")

    class State(models.TextChoices):
        """How far it is."""

        PENDING = "pending", _("To be sent")
        SENDING = "sending", _("Being sent")
        SENT = "sent", _("Sent")
        FAILED = "failed", _("Given up")

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    notification = models.ForeignKey(
        Notification,
        models.CASCADE,
        related_name="deliveries",
        db_index=False,
        verbose_name=_("notification"),
    )
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="+", db_index=False, verbose_name=_("user")
    )
    channel = models.CharField(_("channel"), max_length=7, choices=Channel.choices)
    state = models.CharField(_("state"), max_length=7, choices=State.choices, default=State.PENDING)
    tries = models.PositiveSmallIntegerField(_("tries"), default=0)
    due_at = models.DateTimeField(_("due at"), null=True, blank=True)
    """When the sweep looks at it next; None once it has ended."""
    error = models.CharField(_("error"), max_length=500, blank=True, default="")
    created_at = models.DateTimeField(_("created at"), default=timezone.now)
    tried_at = models.DateTimeField(_("last tried at"), null=True, blank=True)

    objects = DeliveryManager()

    class Meta:
        verbose_name = _("delivery")
        verbose_name_plural = _("deliveries")
        ordering = ["-created_at", "-id"]
        indexes = [
            models.Index(fields=["due_at"], name="status_delivery_due", condition=Q(due_at__isnull=False)),
            models.Index(fields=["user", "channel", "-created_at"], name="status_delivery_last"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["notification", "channel"], name="status_delivery_once")
        ]

    def __str__(self) -> str:
        return f"{self.get_channel_display()}: {self.notification}"

    @property
    def is_under_way(self) -> bool:
        """Whether the first try has not ended yet."""
        return self.state == self.State.SENDING or (self.state == self.State.PENDING and not self.tries)
