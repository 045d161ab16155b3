"""Log records that know their job: a filter for formats of one's own, and a formatter that writes JSON.

Both are named in `LOGGING`, which Django reads before it loads the apps.
"""

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any


def facts(record: logging.LogRecord) -> dict[str, Any]:
    """Whose record this is: `job` (its id), `attempt` (as people count) and `task`; empty outside a task.

    Celery's own records about a task ("received", "succeeded") are written outside it, and name it themselves.
    """
    found: dict[str, Any] = {}
    celery = sys.modules.get("celery")
    task = getattr(celery, "current_task", None)
    if task:
        found["task"] = task.name
    # What is not loaded yet has no job; to load it here would be too early for the models.
    live = sys.modules.get("status.live")
    job = live.current_job() if live is not None and hasattr(live, "current_job") else None
    if job is not None:
        return {"job": str(job.id), "attempt": job.tries, **found}
    data = getattr(record, "data", None)
    if isinstance(data, dict) and "id" in data and "name" in data:
        return {"job": str(data["id"]), "task": str(data["name"])}
    return found


class JobFilter(logging.Filter):
    """Adds `job_id`, `job_attempt` and `job_task` to each record; empty text outside a task.

    Example:
        >>> LOGGING = {
        ...     "filters": {"job": {"()": "status.logs.JobFilter"}},
        ...     "formatters": {"line": {"format": "%(levelname)s %(job_id)s %(message)s"}},
        ...     "handlers": {"console": {"class": "logging.StreamHandler", "filters": ["job"], "formatter": "line"}},
        ... }
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, with its job."""
        found = facts(record)
        record.job_id = found.get("job", "")
        record.job_attempt = found.get("attempt", "")
        record.job_task = found.get("task", "")
        return True


class JSONFormatter(logging.Formatter):
    """A JSON object a line: `at` (ISO 8601, UTC), `level`, `logger`, `message`, `process` and `thread`.

    Inside a task there is `task` as well, of a job `job` and `attempt`, with an exception `exception`, and in a span
    of OpenTelemetry `trace` and `span`, their ids.

    Example:
        >>> LOGGING = {"formatters": {"json": {"()": "status.logs.JSONFormatter"}}}
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line."""
        fields: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            "process": record.process,
            "thread": record.threadName,
            **facts(record),
            **_span(),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        if record.stack_info:
            fields["stack"] = self.formatStack(record.stack_info)
        return json.dumps(fields, ensure_ascii=False, default=str).encode("utf-8", "replace").decode()


def _span() -> dict[str, str]:
    """The ids of the current span; nothing unless the project uses OpenTelemetry."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None or not hasattr(trace, "get_current_span"):
        return {}
    span = trace.get_current_span().get_span_context()
    return {"trace": f"{span.trace_id:032x}", "span": f"{span.span_id:016x}"} if span.is_valid else {}
