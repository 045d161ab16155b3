"""What a message of the broker says beside its arguments, read from Celery's request of it."""

from typing import Any

POLL_HEADER = "status_poll"
"""What the poll before this one said: see `status.sources.remote`."""


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


def header_of(stored: dict[str, Any] | None, name: str) -> Any:
    """A header of the message that a stored signature will be.

    Args:
        stored: the signature as JSON, as a job's row has it; None if there is none.
        name: the header's.

    Returns:
        Its value; None if there is no such header.

    Example:
        >>> header_of({"options": {"headers": {"status_attempt": 1}}}, "status_attempt")
        1
    """
    options = (stored or {}).get("options") or {}
    return (options.get("headers") or {}).get(name)
