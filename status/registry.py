"""Tasks, and functions that make a canvas of tasks, which people may start from a page."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from celery import current_app
from celery.app.task import Task
from celery.canvas import Signature
from django import forms
from django.core.exceptions import ImproperlyConfigured

from status.clean import Text

T = TypeVar("T", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class Startable:
    """A task, or a function that makes a canvas, with the form that asks for its arguments."""

    name: str
    """Its part of the address: `/jobs/new/<name>/`."""
    title: Text
    description: Text
    origin: str
    """The name of the task, or the dotted name of the function."""
    make: Callable[[dict[str, Any]], Signature]
    """Use `signature` instead."""
    form: type[forms.Form]
    permission: str
    """`app_label.codename`; empty: whoever is logged in."""
    result_template: str

    def signature(self, arguments: dict[str, Any]) -> Signature:
        """What is started with these arguments.

        Args:
            arguments: by name; JSON.

        Raises:
            ValidationError: the function that makes the canvas refuses them, in words for people.

        Example:
            >>> startables["profile-csv"].signature({"file": "6f1e…"}).task
            'demo.tasks.profile_csv'
        """
        return self.make(arguments)


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
    """Let people start the decorated task from a page; stands above `@shared_task`, or above a function.

    The valid form's `cleaned_data` become the task's keyword arguments. A file becomes an input attachment
    of the job, and the task gets the attachment's id as text; of several files in one field it gets a list
    of ids. A model instance becomes its primary key.

    A function that is no task gets the same arguments and returns what is to be started: a signature or a
    canvas. It is called in the web process for each valid form that is posted, within the transaction that
    makes the job; the attachments can be read. A `ValidationError` from it is shown at the form, and
    nothing is started.

    Args:
        form: asks for the arguments.
        title: what it is called on the page, and the job it makes.
        name: its part of the address; default: the function's or task's name with dashes.
        description: one sentence about what it does.
        permission: `app_label.codename` that a person must hold; empty for whoever is logged in.
        result_template: the partial that shows what it returned; gets `job`.

    Raises:
        ImproperlyConfigured: another startable has that name.

    Example:
        >>> @startable(form=ImportForm, title="Import orders", permission="orders.add_order")
        ... @shared_task
        ... def import_orders(file): ...
        >>> @startable(form=ImportManyForm, title="Import many")
        ... def import_many(files):
        ...     return group(import_orders.s(file) for file in files)
    """

    def register(source: T) -> T:
        origin, make = _origin_and_maker(source)
        key = name or origin.rpartition(".")[2].replace("_", "-")
        held = startables.get(key)
        if held is not None and held.origin != origin:
            raise ImproperlyConfigured(
                f"Two startables are named {key!r}: {held.origin} and {origin}. Give one another name=."
            )
        startables[key] = Startable(
            name=key,
            title=title,
            description=description,
            origin=origin,
            make=make,
            form=form,
            permission=permission,
            result_template=result_template,
        )
        return source

    return register


def _origin_and_maker(source: Callable[..., Any]) -> tuple[str, Callable[[dict[str, Any]], Signature]]:
    if isinstance(source, Task):
        task = str(source.name)
        return task, partial(_signature_of_task, task)
    return f"{source.__module__}.{source.__qualname__}", lambda arguments: source(**arguments)


def _signature_of_task(task: str, arguments: dict[str, Any]) -> Signature:
    return current_app.signature(task, kwargs=arguments)


def allowed(user: Any) -> list[Startable]:
    """The startables that `user` may start."""
    return [entry for entry in startables.values() if may_start(user, entry)]


def may_start(user: Any, entry: Startable) -> bool:
    """Whether `user` may start `entry`: logged in, and holding its permission."""
    return bool(user.is_authenticated and (not entry.permission or user.has_perm(entry.permission)))
