"""The addresses of jobs' pages, which lists write many of."""

from functools import lru_cache
from uuid import UUID

from django.conf import settings
from django.urls import get_script_prefix, get_urlconf, reverse
from django.utils.translation import get_language

NOBODY = UUID(int=0)


def job_address(job_id: UUID) -> str:
    """The path of a job's page, as `reverse` gives it; that looks for it anew each time, here it is done once.

    Example:
        >>> job_address(job.pk)
        '/jobs/8f14e45f-ceea-467f-a8f5-6a1e0b3c2d10/'
    """
    pattern = _pattern(get_urlconf() or settings.ROOT_URLCONF, get_script_prefix(), get_language())
    return pattern.replace(str(NOBODY), str(job_id))


@lru_cache(100)
def _pattern(urlconf: str, prefix: str, language: str | None) -> str:
    """That of a job which is not there. What it depends on besides: a project may have the language in its paths."""
    return reverse("status:job", args=[NOBODY])
