"""Personal tokens: what a program shows instead of a session."""

import hashlib
import secrets
from datetime import timedelta
from typing import Any, Self
from uuid import uuid4

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

PREFIX = "status_"
USED_WITHIN = timedelta(minutes=1)
"""That a token was used is noted this often at most."""


def token_hash(secret: str) -> str:
    """What is kept of a token. It is 256 random bits, so a plain hash is as good as a slow one."""
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


class Token(models.Model):
    """A personal token; of its secret there is only the hash."""

    class Scope(models.TextChoices):
        """What a program may do with it."""

        READ = "read", _("Read: watch jobs")
        ACT = "act", _("Act: start, cancel and retry jobs as well")

    id = models.UUIDField(primary_key=True, default=uuid4, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE, related_name="status_tokens")
    name = models.CharField(_("name"), max_length=100)
    hash = models.CharField(max_length=64, unique=True, editable=False)
    scope = models.CharField(_("scope"), max_length=4, choices=Scope.choices, default=Scope.READ)
    created_at = models.DateTimeField(_("made"), default=timezone.now)
    last_used_at = models.DateTimeField(_("last used"), null=True, blank=True)
    expires_at = models.DateTimeField(_("expires"), null=True, blank=True)
    """From then on it is refused; None: it has no end."""
    revoked_at = models.DateTimeField(_("revoked"), null=True, blank=True)

    class Meta:
        ordering = ["-created_at", "-id"]

    def __str__(self) -> str:
        return self.name

    @classmethod
    def make(cls, user: Any, name: str, scope: str, days: int | None = None) -> tuple[Self, str]:
        """A new token of `user`, and its secret, which is nowhere else.

        Args:
            user: as whom a program that shows it acts.
            name: what it is for.
            scope: how far it goes.
            days: until it ends; None: it does not.

        Example:
            >>> token, secret = Token.make(request.user, "nightly import", Token.Scope.ACT)
        """
        secret = PREFIX + secrets.token_urlsafe(32)
        expires_at = None if days is None else timezone.now() + timedelta(days=days)
        token = cls.objects.create(
            user=user, name=name, scope=scope, expires_at=expires_at, hash=token_hash(secret)
        )
        return token, secret

    @classmethod
    def of(cls, secret: str) -> Self | None:
        """The token of a secret, with its user, also one that has expired.

        None if there is none, it was revoked, or the user is not active.
        """
        found = cls.objects.select_related("user").filter(hash=token_hash(secret), revoked_at=None).first()
        if found is None or not found.user.is_active:
            return None
        now = timezone.now()
        used_lately = found.last_used_at is not None and found.last_used_at >= now - USED_WITHIN
        if not used_lately and not found.has_expired:
            cls.objects.filter(pk=found.pk).update(last_used_at=now)
        return found

    @property
    def has_expired(self) -> bool:
        """Whether it is refused because its end has come."""
        return self.expires_at is not None and self.expires_at <= timezone.now()

    @property
    def session(self) -> str:
        """What its sockets are known by, as those of a login are by their session."""
        return f"token:{self.pk.hex}"

    def revoke(self) -> bool:
        """Have it refused from now on; whether it was good until now."""
        held = type(self).objects.filter(pk=self.pk, revoked_at=None)
        return bool(held.update(revoked_at=timezone.now()))
