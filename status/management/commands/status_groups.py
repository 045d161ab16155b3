"""`manage.py status_groups`."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction

from status.roles import make_groups


class Command(BaseCommand):
    """Makes the groups of the roles."""

    help = (
        "Make the groups Job viewers, Job operators and Job administrators, and give them the permissions that they "
        "lack. What somebody gave them beside these stays, so it may be run after each deployment."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Make them, and say what is new."""
        try:
            with transaction.atomic():
                given = make_groups()
        except LookupError as error:
            raise CommandError(str(error)) from error
        for group, permissions in given.items():
            self.stdout.write(f"{group}: {', '.join(permissions) or 'nothing new'}")
