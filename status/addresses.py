"""The addresses that pages write most often: what `reverse` finds anew each time is found once."""

from collections.abc import Mapping
from functools import lru_cache
from uuid import UUID

from django.conf import settings
from django.urls import NoReverseMatch, get_script_prefix, get_urlconf, reverse
from django.utils.translation import get_language

NOBODY = UUID(int=0)

PLACES = {
    "jobs": "status:jobs",
    "startables": "status:startables",
    "house": "status:house",
    "schedules": "status:schedules",
    "audit": "status:audit",
    "tokens": "status:tokens",
    "appearance": "status:appearance",
    "language": "status:language",
    "api": "status_api:openapi",
    "site_status": "site-status",
    "admin": "admin:index",
    "login": "login",
    "logout": "logout",
}
"""What the header and the footer lead to, by the names of its addresses in the project."""


def job_address(job_id: UUID) -> str:
    """The path of a job's page, as `reverse` gives it.

    Example:
        >>> job_address(job.pk)
        '/jobs/8f14e45f-ceea-467f-a8f5-6a1e0b3c2d10/'
    """
    return _pattern(*_world()).replace(str(NOBODY), str(job_id))


def places() -> Mapping[str, str]:
    """The paths of `PLACES`; empty for those that the project does not have.

    Example:
        >>> places()["jobs"]
        '/jobs/'
    """
    return _places(*_world())


def _world() -> tuple[str, str, str | None]:
    """What paths depend on: a project may be below a prefix, or have the language in its paths."""
    return get_urlconf() or settings.ROOT_URLCONF, get_script_prefix(), get_language()


@lru_cache(100)
def _pattern(urlconf: str, prefix: str, language: str | None) -> str:
    """The path of a job that is not there."""
    return reverse("status:job", args=[NOBODY])


@lru_cache(100)
def _places(urlconf: str, prefix: str, language: str | None) -> Mapping[str, str]:
    return {place: _path(name) for place, name in PLACES.items()}


def _path(name: str) -> str:
    try:
        return reverse(name)
    except NoReverseMatch:
        return ""
