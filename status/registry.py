"""Tasks that people may start from a page."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from celery.app.task import Task
from django import forms
from django.core.exceptions import ImproperlyConfigured
from django.utils.functional import Promise

Text = str | Promise
T = TypeVar("T", bound=Task)  # type: ignore[type-arg]  # Celery's Task is generic only in its stubs.


@dataclass(frozen=True, slots=True, kw_only=True)
class Startable:
    """A task with the form that asks for its arguments."""

    name: str
    """Its part of the address: `/jobs/new/<name>/`."""
    title: Text
    description: Text
    task: str
    form: type[forms.Form]
    permission: str
    """`app_label.codename`; empty: whoever is logged in."""
    result_template: str


startables: dict[str, Startable] = {}
"""All startables by name, in the order in which their modules were imported."""


def startable(
    *,
    form: type[forms.Form] = forms.Form,
    title: Text,
    name: str = "",
    description: Text = "",
    permission: str = "",
    result_template: str = "status/partials/result.html",
) -> Callable[[T], T]:
    """Let people start the decorated task from a page; stands above `@shared_task`.

    The valid form's `cleaned_data` become the task's keyword arguments. A file becomes an input attachment
    of the job, and the task gets the attachment's id as text; a model instance becomes its primary key.

    Args:
        form: asks for the arguments.
        title: what the task is called on the page, and the job it makes.
        name: its part of the address; default: the function's name with dashes.
        description: one sentence about what it does.
        permission: `app_label.codename` that a person must hold; empty for whoever is logged in.
        result_template: the partial that shows what it returned; gets `job`.

    Raises:
        ImproperlyConfigured: another task has that name.

    Example:
        >>> @startable(form=ImportForm, title="Import orders", permission="orders.add_order")
        ... @shared_task
        ... def import_orders(file): ...
    """

    def register(task: T) -> T:
        task_name = str(task.name)
        key = name or task_name.rpartition(".")[2].replace("_", "-")
        held = startables.get(key)
        if held is not None and held.task != task_name:
            raise ImproperlyConfigured(
                f"Two startables are named {key!r}: {held.task} and {task_name}. Give one another name=."
            )
        startables[key] = Startable(
            name=key,
            title=title,
            description=description,
            task=task_name,
            form=form,
            permission=permission,
            result_template=result_template,
        )
        return task

    return register


def allowed(user: Any) -> list[Startable]:
    """The startables that `user` may start."""
    return [entry for entry in startables.values() if may_start(user, entry)]


def may_start(user: Any, entry: Startable) -> bool:
    """Whether `user` may start `entry`: logged in, and holding its permission."""
    return bool(user.is_authenticated and (not entry.permission or user.has_perm(entry.permission)))
