"""Places in a list of jobs, as they stand in addresses."""

import base64
from datetime import datetime
from typing import Self
from uuid import UUID

import msgspec
from django.db.models import Q


class Cursor(msgspec.Struct, frozen=True, array_like=True):
    """The place of a job in a list by time: where a page of jobs ended."""

    created_at: datetime
    id: UUID

    @property
    def text(self) -> str:
        """As it stands in addresses."""
        return base64.urlsafe_b64encode(msgspec.json.encode(self)).decode().rstrip("=")

    @classmethod
    def read(cls, text: str) -> Self:
        """The cursor that `text` was made of.

        Raises ValueError for anything else.
        """
        data = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
        found = msgspec.json.decode(data, type=cls)
        if found.created_at.tzinfo is None:
            raise ValueError("no time zone")
        return found

    @property
    def older(self) -> Q:
        """The jobs that come after this place, the newest being first."""
        beyond = Q(created_at__lt=self.created_at) | Q(created_at=self.created_at, pk__lt=self.id)
        # The first condition follows from the second, and is one that an index can serve.
        return Q(created_at__lte=self.created_at) & beyond

    @property
    def newer(self) -> Q:
        """The jobs that come before this place."""
        beyond = Q(created_at__gt=self.created_at) | Q(created_at=self.created_at, pk__gt=self.id)
        return Q(created_at__gte=self.created_at) & beyond
