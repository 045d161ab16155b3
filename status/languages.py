"""The language of who started a job, active while its task runs: what it logs, raises and returns is in it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import signals
from django.conf import settings
from django.utils import translation

from status.headers import header, header_of
from status.models import Job

HEADER = "status_language"


def connect() -> None:
    """Listen to Celery; called once when the app is ready."""
    signals.task_prerun.connect(_on_prerun, dispatch_uid="status.languages", weak=False)
    signals.task_postrun.connect(_on_postrun, dispatch_uid="status.languages", weak=False)


def carried() -> dict[str, str]:
    """The active language as a header of a message; empty if it is the project's own.

    Example:
        >>> with translation.override("de"):
        ...     carried()
        {'status_language': 'de'}
    """
    language = translation.get_language()
    return {HEADER: language} if language and language != settings.LANGUAGE_CODE else {}


def keep(stored: dict[str, Any]) -> dict[str, Any]:
    """Have a stored signature carry the active language, unless it carries one already.

    Args:
        stored: a signature as JSON; changed in place.
    """
    if headers := carried():
        options = stored.setdefault("options", {})
        options["headers"] = headers | (options.get("headers") or {})
    return stored


@contextmanager
def of_job(job: Job | None) -> Iterator[None]:
    """The language of who started `job`, for who says something of it in its stead: a sweep, a worker's main process.

    Args:
        job: with its signature; None, or one of which no language is known: the active one stays.

    Example:
        >>> with of_job(job):
        ...     lose(job, _("The worker was lost."))
    """
    language = header_of(job.signature, HEADER) if job is not None else None
    with translation.override(language if _is_known(language) else translation.get_language()):
        yield


def _is_known(language: Any) -> bool:
    """Of another version of the project, it may be one that is not known here."""
    return isinstance(language, str) and translation.check_for_language(language)


def _on_prerun(task: Any, **kwargs: Any) -> None:
    language = header(task.request, HEADER)
    if _is_known(language):
        looks = translation.override(language)
        looks.__enter__()
        task.request.status_language_override = looks


def _on_postrun(task: Any, **kwargs: Any) -> None:
    looks = task.request.__dict__.pop("status_language_override", None)
    if looks is not None:
        looks.__exit__(None, None, None)
