"""The jobs that have ended, in the order of their endings; read by index from where one stopped before."""

from datetime import datetime
from uuid import UUID

from django.db.models import Q, QuerySet

from status.likely import Likelihood
from status.models import Job

SETTLE_SECONDS = 5.0
"""Endings younger than this are read the next time: others with an earlier time may still be committed."""
BATCH, MOST_BATCHES = 5_000, 4
"""So many endings are read at once, and so often in one go; the rest is read by the next."""

Place = tuple[datetime, UUID]
"""When a job ended, and its id, which decides between those that ended together."""
FIRST = UUID(int=0)


def ended_after(place: Place, until: datetime, *, members: bool = False) -> QuerySet[Job]:
    """The jobs that ended after `place` and up to `until`, the first to end first.

    Args:
        place: that of the last one read.
        until: a moment; take one that is `SETTLE_SECONDS` ago.
        members: those that are members of others; else those that are not.

    Example:
        >>> ended_after((yesterday, FIRST), timezone.now())[:BATCH]
    """
    at, pk = place
    # An index is made for each of the two.
    return Job.objects.filter(
        Q(finished_at__gt=at) | Q(pk__gt=pk),
        Likelihood(Q(parent__isnull=not members), 0.99),
        Likelihood(Q(finished_at__gte=at), 0.0001),
        finished_at__isnull=False,
        finished_at__lte=until,
    ).order_by("finished_at", "pk")
