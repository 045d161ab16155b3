"""Views of the list that people have named."""

from typing import Any

from django.conf import settings
from django.db import models, transaction
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class SavedView(models.Model):
    """Filters of the list of jobs under a name, of one user."""

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.CASCADE, related_name="status_saved_views", db_index=False
    )
    name = models.CharField(_("name"), max_length=60)
    query = models.CharField(_("filters"), max_length=1000)
    is_default = models.BooleanField(_("default"), default=False)
    created_at = models.DateTimeField(_("created at"), default=timezone.now)

    class Meta:
        verbose_name = _("saved view")
        verbose_name_plural = _("saved views")
        ordering = ["created_at", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["user", "name"], name="status_view_name"),
            models.UniqueConstraint(
                fields=["user"], condition=models.Q(is_default=True), name="status_view_default"
            ),
        ]

    def __str__(self) -> str:
        return self.name

    def save(self, *args: Any, **kwargs: Any) -> None:
        """As Django does; a new default takes the place of the old one."""
        with transaction.atomic():
            if self.is_default:
                others = SavedView.objects.filter(user_id=self.user_id, is_default=True).exclude(pk=self.pk)
                others.update(is_default=False)
            super().save(*args, **kwargs)

    @classmethod
    def of(cls, user: Any) -> "models.QuerySet[SavedView]":
        """Those of `user`, the first saved first."""
        return cls.objects.filter(user=user)
