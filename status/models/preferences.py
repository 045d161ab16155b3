"""How each user wants to be told, and where their webhook goes."""

import base64
from typing import Any
from uuid import uuid4

from django.conf import settings
from django.db import models, transaction
from django.utils.crypto import salted_hmac
from django.utils.translation import gettext_lazy as _

from status import conf
from status.models.notification import Notification

SECRET_PREFIX = "whsec_"  # noqa: S105
CHANNELS = ("page", "email", "webhook")


def all_on_the_page() -> dict[str, list[str]]:
    """What holds for who has chosen nothing: for each channel, the kinds that are told by it."""
    return {name: list(Notification.Kind.values) if name == "page" else [] for name in CHANNELS}


class PreferencesManager(models.Manager["Preferences"]):
    """Changes how somebody is told."""

    def choose_none(self, user: Any, channel: str) -> None:
        """Choose that nothing goes out by a channel; the other channels stay as they are.

        Args:
            user: whom it went to.
            channel: one of `CHANNELS`.
        """
        with transaction.atomic():
            held = self.select_for_update().filter(pk=user.pk).first()
            if held is not None:
                held.chosen = {**held.chosen, channel: []}
                held.save(update_fields=["chosen"])


class Preferences(models.Model):
    """How one user wants to be told. Who has chosen nothing has no row, and is told on the page alone."""

    user = models.OneToOneField(
        settings.AUTH_USER_MODEL, models.CASCADE, primary_key=True, related_name="status_preferences"
    )
    # One column: it is read whenever a job ends.
    chosen = models.JSONField(_("kinds by channel"), default=all_on_the_page)
    language = models.CharField(_("language"), max_length=35, blank=True, default="")
    webhook_url = models.CharField(_("address of the webhook"), max_length=500, blank=True, default="")
    webhook_nonce = models.CharField(max_length=32, blank=True, default="", editable=False)
    """What the secret is made of, together with the project's key; by itself it opens nothing."""

    objects = PreferencesManager()

    class Meta:
        verbose_name = verbose_name_plural = _("preferences")

    def __str__(self) -> str:
        return str(self.user)

    def renew_secret(self) -> str:
        """Make a new secret, which replaces the one before; the caller saves the row.

        Returns:
            The secret, `whsec_` and 32 bytes in base64, to be shown once.
        """
        self.webhook_nonce = uuid4().hex
        return SECRET_PREFIX + base64.b64encode(self.secrets()[0]).decode()

    def secrets(self) -> list[bytes]:
        """The keys that webhooks are signed with: that of `SECRET_KEY`, then those of its fallbacks."""
        salt, value = "status.webhook", f"{self.pk}:{self.webhook_nonce}"
        keys = [settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS]
        return [salted_hmac(salt, value, secret=key, algorithm="sha256").digest() for key in keys]


def channels(kind: str, chosen: dict[str, list[str]] | None) -> set[str]:
    """The channels by which a notification of this kind goes out.

    Args:
        kind: one of `Notification.Kind`.
        chosen: that column of the user's preferences; None for who has none.

    Example:
        >>> channels("failed", None)
        {'page'}
    """
    if chosen is None:
        return {"page"}
    offered = {"page", *conf.current().tell_by}
    return {name for name, kinds in chosen.items() if kind in kinds and name in offered}


def language_of(user: Any) -> str:
    """The language in which a user is told: that of the page on which they chose how, else the project's."""
    held: Preferences | None = getattr(user, "status_preferences", None)
    return (held.language if held is not None else "") or str(settings.LANGUAGE_CODE)
