"""The bodies of tasks, wrapped as a worker starts: what a job needs around its task's own code."""

from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

from celery import Celery, signals
from celery.canvas import signature
from celery.exceptions import Ignore
from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from status.canvas import title_of
from status.live import current_job
from status.progress import track


def connect() -> None:
    """Wrap the tasks of each worker that starts; called once when the app is ready."""
    signals.worker_init.connect(_guard_tasks, dispatch_uid="status.bodies", weak=False)


def _guard_tasks(sender: Any, **kwargs: Any) -> None:
    """Wrap every task's `run`, as Celery's own autoretry does, so that a refused job is not executed.

    A signal handler cannot stop a task (what it raises is logged and dropped), and a revoke is forgotten when
    the workers restart; the row is not.
    """
    _count_calls(sender.app)
    for task in sender.app.tasks.values():
        if not getattr(task.run, "_status_guard", False):
            task.run = _guarded(task.run)


def _guarded(run: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(run)
    def guard(*args: Any, **kwargs: Any) -> Any:
        job = current_job()
        if job is not None and job.refused:
            raise Ignore(_("The job had ended before it began."))
        if job is None:
            return run(*args, **kwargs)
        job.in_body = True
        try:
            return run(*args, **kwargs)
        finally:
            job.in_body = False

    guard._status_guard = True  # type: ignore[attr-defined]
    return guard


def _count_calls(app: Celery) -> None:
    """`map` and `starmap` as Celery's own, a list comprehension, and counting.

    https://docs.celeryq.dev/en/stable/userguide/canvas.html#map-starmap
    """

    def call_each(task: Any, it: Iterable[Any]) -> list[Any]:
        called = signature(task, app=app).type
        return [called(item) for item in _tracked(called, it)]

    def call_each_with(task: Any, it: Iterable[Any]) -> list[Any]:
        called = signature(task, app=app).type
        return [called(*item) for item in _tracked(called, it)]

    tasks: dict[str, Any] = app.tasks
    tasks["celery.map"].run = call_each
    tasks["celery.starmap"].run = call_each_with


def _tracked(called: Any, it: Iterable[Any]) -> Iterable[Any]:
    return track(list(it), title_of(str(called.name)), unit=pgettext("after a number", "calls"))
