"""The language of who started a job, active while its task runs: what it logs, raises and returns is in it."""

from typing import Any

from celery import signals
from django.conf import settings
from django.utils import translation

from status.headers import header

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


def _on_prerun(task: Any, **kwargs: Any) -> None:
    language = header(task.request, HEADER)
    # Of another version of the project, it may be one that is not known here.
    if isinstance(language, str) and translation.check_for_language(language):
        looks = translation.override(language)
        looks.__enter__()
        task.request.status_language_override = looks


def _on_postrun(task: Any, **kwargs: Any) -> None:
    looks = task.request.__dict__.pop("status_language_override", None)
    if looks is not None:
        looks.__exit__(None, None, None)
