"""What is particular to a worker's pool: what it cannot do, said when the worker starts, and how its tasks end.

Prefork can do everything; docs/deploy.md has the table.
"""

import logging
import sys
from typing import Any

from celery import signals
from celery.exceptions import TimeLimitExceeded
from django.db import connections

from status import threads

logger = logging.getLogger(__name__)

MOST_NAMES = 5


def connect() -> None:
    """Listen for a worker that is ready; called once when the app is ready."""
    uid = "status.pools"
    signals.worker_ready.connect(_on_ready, dispatch_uid=uid, weak=False)
    signals.worker_before_create_process.connect(_close_connections, dispatch_uid=uid, weak=False)


def _close_connections(**kwargs: Any) -> None:
    """What the worker's main process has open is not its children's to close, nor to share."""
    connections.close_all()


def _on_ready(sender: Any, **kwargs: Any) -> None:
    for line in shortcomings(pool_name(sender.pool), sender.app):
        logger.warning(line)


def pool_name(pool: Any) -> str:
    """The name of a pool as `celery worker -P` takes it.

    Example:
        >>> from celery.concurrency.solo import TaskPool
        >>> pool_name(TaskPool())
        'solo'
    """
    name = type(pool).__module__.rpartition(".")[2]
    return "threads" if name == "thread" else name


def shortcomings(pool: str, app: Any) -> list[str]:
    """What does not work in a pool of this process, each with what to do about it.

    Args:
        pool: its name, such as "gevent".
        app: the Celery application, with its tasks and settings.

    Returns:
        One sentence or two for each thing; empty for prefork.

    Example:
        >>> shortcomings("prefork", app)
        []
    """
    if pool == "prefork":
        return []
    lines = []
    if pool in {"gevent", "eventlet"}:
        lines += _of_greenlets(pool, app)
    soft = _limited(app, "soft_time_limit")
    hard = _limited(app, "time_limit") if pool != "gevent" else ""
    if soft:
        lines.append(f"The {pool} pool does not keep soft time limits, which are set for {soft}.")
    if hard:
        lines.append(f"The {pool} pool does not keep time limits, which are set for {hard}.")
    return lines


def _of_greenlets(pool: str, app: Any) -> list[str]:
    lines = []
    if not threads.patched_by():
        # Chosen by a setting, it is known too late to patch anything.
        lines.append(
            f"The {pool} pool was not chosen with -P {pool}: nothing is patched, one task runs at a time."
        )
    if pool == "eventlet":
        lines.append(
            "The eventlet pool is not tested beyond reports, and eventlet itself is being retired. Use -P gevent."
        )
        if any(database.vendor == "postgresql" for database in connections.all()):
            lines.append("In the eventlet pool a query to PostgreSQL holds up all tasks of the worker.")
    if any(database.vendor == "sqlite" for database in connections.all()):
        lines.append(
            f"In the {pool} pool a query to SQLite holds up all tasks of the worker. Use PostgreSQL."
        )
    if app.conf.get("CELERY_DB_REUSE_MAX"):
        lines.append(
            f"With CELERY_DB_REUSE_MAX in the {pool} pool nobody closes the database connections of the tasks"
            " that have ended. Leave it out for this worker."
        )
    if app.conf.worker_soft_shutdown_timeout:
        lines.append(
            f"With worker_soft_shutdown_timeout the {pool} pool does not stop when told to stop at once (SIGQUIT,"
            " or Ctrl-C twice): it waits for its tasks. Set it to 0 for this worker."
        )
    return lines


def _limited(app: Any, limit: str) -> str:
    """The tasks that have this limit, as a list to read; empty: none has."""
    if getattr(app.conf, f"task_{limit}"):
        return "all tasks"
    names = sorted(
        name for name, task in app.tasks.items() if getattr(task, limit) and not name.startswith("celery.")
    )
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    return ", ".join(names[:MOST_NAMES]) + more


def passed_limit() -> TimeLimitExceeded | None:
    """The time limit that ends the task of this greenlet just now, if that is what ends it.

    gevent has the limit raised within the task, as something that is no Exception. Celery tells of it only
    when the greenlet has ended, and older versions not at all.
    """
    gevent, error = sys.modules.get("gevent"), sys.exc_info()[1]
    if gevent is None or not isinstance(error, gevent.Timeout):
        return None
    return TimeLimitExceeded(error.seconds)


def was_revoked(task_id: str) -> bool:
    """Whether this process was told to end that task; a prefork pool's children are not told."""
    state = sys.modules.get("celery.worker.state")
    return state is not None and task_id in state.revoked
