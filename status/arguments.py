"""What a job's task was called with, for people: named where that is known, and without secrets."""

import inspect
import json
from typing import Any

from celery import current_app

from status.conf import is_secret
from status.models import Job

MASK = "••••••"
MOST_CHARACTERS = 2000


def arguments_of(job: Job) -> list[tuple[str, str]]:
    """The arguments of a job's task, by name.

    A value whose name has one of `STATUS["SECRET_NAMES"]` in it is masked, however deep it stands.

    Args:
        job: with its signature; a canvas has none of its own.

    Returns:
        Names and values as JSON; positional arguments are named as the task's function has it, or "1", "2" where
        the task is not known here.

    Example:
        >>> arguments_of(start(login.s("alice", password="x")))
        [('user', '"alice"'), ('password', '••••••')]
    """
    if job.canvas or not isinstance(job.signature, dict):
        return []
    values = list(job.signature.get("args") or [])
    pairs = [
        *zip(_names(job.task, len(values)), values, strict=True),
        *(job.signature.get("kwargs") or {}).items(),
    ]
    return [(str(name), _told(str(name), value)) for name, value in pairs]


def masked(value: Any) -> Any:
    """The value with the secrets in it replaced, at any depth.

    >>> masked({"user": "alice", "login": {"password": "x"}})
    {'user': 'alice', 'login': {'password': '••••••'}}
    """
    if isinstance(value, dict):
        return {name: MASK if is_secret(str(name)) else masked(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [masked(inner) for inner in value]
    return value


def _told(name: str, value: Any) -> str:
    if is_secret(name):
        return MASK
    text = json.dumps(masked(value), ensure_ascii=False, default=str)
    return text if len(text) <= MOST_CHARACTERS else text[:MOST_CHARACTERS] + "…"


def _names(task: str, count: int) -> list[str]:
    known = current_app.tasks.get(task)
    names = []
    if known is not None:
        names = [
            parameter.name
            for parameter in inspect.signature(known.run).parameters.values()
            if parameter.kind in {parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD}
        ]
    return [names[place] if place < len(names) else str(place + 1) for place in range(count)]
