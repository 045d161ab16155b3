"""OpenTelemetry's context, carried from a request to its task and on to the job's events; nothing without the SDK.

Spans are the business of the project and of OpenTelemetry's own instrumentations. What is carried is W3C Trace
Context (`traceparent`, `tracestate`) and whatever else the configured propagators write, as text headers.
"""

import importlib.util
import logging
from collections import OrderedDict
from functools import cache
from typing import Any
from uuid import UUID

from celery import signals

from status.headers import header

logger = logging.getLogger(__name__)

HEADER = "status_trace"
"""The key of the carried headers, in messages of the broker and in those of the channel layer."""
MOST_JOBS = 1_000
"""Jobs of which a process remembers the context; an event of an older one carries none."""

_of_job: "OrderedDict[UUID, dict[str, str]]" = OrderedDict()


@cache
def is_on() -> bool:
    """Whether the SDK is installed; its API alone would carry nothing."""
    try:
        return importlib.util.find_spec("opentelemetry.sdk") is not None
    except ModuleNotFoundError:
        return False


def connect() -> None:
    """Listen to Celery; called once when the app is ready."""
    if is_on():
        signals.task_prerun.connect(_on_prerun, dispatch_uid="status.tracing", weak=False)
        signals.task_postrun.connect(_on_postrun, dispatch_uid="status.tracing", weak=False)


def carried() -> dict[str, dict[str, str]]:
    """The current context as a header of a message; empty when there is none.

    Example:
        >>> carried()
        {'status_trace': {'traceparent': '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'}}
    """
    if not is_on():
        return {}
    from opentelemetry import propagate

    headers: dict[str, str] = {}
    propagate.inject(headers)
    return {HEADER: headers} if headers else {}


def carried_by(job_id: UUID) -> dict[str, dict[str, str]]:
    """The context in which a job runs in this process, as a header of its events; empty when there is none."""
    headers = _of_job.get(job_id) if _of_job else None
    return {HEADER: headers} if headers else {}


def context_of(message: dict[str, Any]) -> Any:
    """The OpenTelemetry context that a message of the channel layer carries; None when it carries none.

    Example:
        >>> with tracer.start_as_current_span("show", context=context_of(message)):
        ...     show(message)
    """
    headers = message.get(HEADER)
    if not is_on() or not isinstance(headers, dict):
        return None
    from opentelemetry import propagate

    return propagate.extract(headers)


def _on_prerun(task_id: str, task: Any, **kwargs: Any) -> None:
    """Make what the message carries the current context of the task."""
    from opentelemetry import context, propagate

    request = task.request
    headers = header(request, HEADER)
    if not isinstance(headers, dict):
        return
    request.status_trace_token = context.attach(propagate.extract(headers))
    _of_job[UUID(task_id)] = headers
    while len(_of_job) > MOST_JOBS:
        _of_job.popitem(last=False)


def _on_postrun(task_id: str, task: Any, **kwargs: Any) -> None:
    """Put back what was current before; the events still to be sent are remembered by job."""
    from opentelemetry import context

    token = task.request.__dict__.pop("status_trace_token", None)
    if token is not None:
        context.detach(token)
