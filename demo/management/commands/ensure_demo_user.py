from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.contrib.auth.models import User
from django.core.management.base import BaseCommand

NAME = PASSWORD = "demo"  # noqa: S105


class Command(BaseCommand):
    """Makes the account that the README names, and shuts it once DEBUG is off."""

    help = "While DEBUG is on, make the superuser demo with the password demo; otherwise deactivate it."

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it; the second time it changes nothing."""
        users: Any = get_user_model()._default_manager
        user: User | None = users.filter(username=NAME).first()
        if user is None and settings.DEBUG:
            users.create_superuser(NAME, email=f"{NAME}@example.org", password=PASSWORD)
        elif user is not None and user.is_active != settings.DEBUG and user.check_password(PASSWORD):
            user.is_active = settings.DEBUG
            user.save(update_fields=["is_active"])
