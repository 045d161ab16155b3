"""What a message of the broker says beside its arguments, read from Celery's request of it."""

from typing import Any


def header(request: Any, name: str) -> Any:
    """A header of the message, in a worker's main process as in the process that runs the task.

    Args:
        request: `task.request`, or the request that a worker's signals give.
        name: the header's.

    Returns:
        Its value; None if the message has no such header.

    Example:
        >>> header(task.request, "status_attempt")
        1
    """
    value = getattr(request, name, None)
    return (getattr(request, "headers", None) or {}).get(name) if value is None else value
