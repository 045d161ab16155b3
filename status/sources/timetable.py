"""Beat's schedule of the app's own tasks."""

import math
from typing import Any

from celery import current_app, signals


def every(task: str, seconds: float, *, expires: float | None = None) -> None:
    """Have beat run a task at regular times, unless the project has an entry of that name.

    Args:
        task: its name, also that of the entry.
        seconds: from one run to the next.
        expires: seconds after which a run that no worker has begun is left out; default: `seconds`.

    Example:
        >>> every("status.sweep", 5.0)
    """
    until = expires or seconds
    # Celery's own scheduler knows the first, django-celery-beat only the second; neither minds the other's.
    options = {"expires": until, "expire_seconds": math.ceil(until)}
    entry = {"task": task, "schedule": seconds, "options": options}

    def add(sender: Any, **kwargs: Any) -> None:
        sender.conf.beat_schedule.setdefault(task, entry)

    # For an application that is made later; in beat and in workers it is Celery's handler of this very signal
    # that sets Django up, and who connects meanwhile is not called any more.
    signals.import_modules.connect(add, dispatch_uid=task, weak=False)
    add(current_app)
