"""Which tasks may be put on a schedule from a page: those that may be started from one, and those that are tracked."""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from celery import current_app
from django import forms

from status import conf, registry
from status.canvas import title_of
from status.registry import Startable

OWN = ("status.", "celery.")
"""What the app and Celery have beat do for themselves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedulable:
    """A task, and if people may start it from a page, its form."""

    task: str
    entry: Startable | None = None

    @property
    def title(self) -> str:
        """What people know it as."""
        return str(self.entry.title) if self.entry is not None else title_of(self.task)


def is_own(task: str) -> bool:
    """Whether beat runs this task for the app itself, or for Celery.

    >>> is_own("status.sweep")
    True
    """
    return task.startswith(OWN)


def all_for(user: Any) -> list[Schedulable]:
    """The tasks that `user` may put on a schedule, by title.

    Of what can be started from a page those that are tasks (beat sends no canvas) and ask for no file. The others
    are those that `STATUS["TRACK"]` names.
    """
    # What workers find by autodiscovery is registered here as well.
    current_app.loader.import_default_modules()
    entries = {entry.origin: entry for entry in registry.startables.values()}
    tracked = [name for name in current_app.tasks if name not in entries and _is_tracked(name)]
    found = [Schedulable(task=name) for name in tracked]
    found += [Schedulable(task=entry.origin, entry=entry) for entry in _offered(entries.values(), user)]
    return sorted(found, key=lambda item: (item.title.casefold(), item.task))


def find(task: str, user: Any) -> Schedulable | None:
    """The task of that name, if `user` may put it on a schedule."""
    return next((item for item in all_for(user) if item.task == task), None)


def _offered(entries: Iterable[Startable], user: Any) -> Iterable[Startable]:
    for entry in entries:
        files = any(isinstance(field, forms.FileField) for field in entry.form.base_fields.values())
        if entry.origin in current_app.tasks and not files and registry.may_start(user, entry):
            yield entry


def _is_tracked(name: str) -> bool:
    return not is_own(name) and any(fnmatchcase(name, pattern) for pattern in conf.current().track)
