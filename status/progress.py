"""What a task says about itself: `track`, `step`, `plan`, `log`, `attach`.

All are ambient: they find the job of the running task by themselves, at any depth of calls. Outside a job
(tests, shell, management commands) they do nothing. They set plain attributes and neither do I/O nor take
a lock; the reporter's thread reads the attributes. Only `attach` stores a file, and so waits and may raise.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sized
from pathlib import Path
from typing import IO, Any, TypeVar

from django.core.files.base import ContentFile, File
from django.utils.translation import gettext as _

from status.clean import Text
from status.live import MOST_STEPS, JobCancelled, Step, current_job
from status.models import Attachment

__all__ = ["JobCancelled", "JobLogHandler", "attach", "log", "plan", "step", "track"]

T = TypeVar("T")
Name = TypeVar("Name", bound=Text)


def plan(steps: Mapping[Name, float]) -> None:
    """Name the steps to come and their weights, so that the whole's progress never goes backwards.

    Args:
        steps: names in order, each with its share of the work in any unit.

    Raises:
        ValueError: a weight is negative, or there are more than 100 steps.

    Example:
        >>> plan({"Read": 1, "Profile": 8, "Write report": 1})
    """
    if any(weight < 0 for weight in steps.values()):
        raise ValueError(f"The weights of a plan must not be negative: {dict(steps)!r}")
    if len(steps) > MOST_STEPS:
        raise ValueError(
            f"A plan has at most {MOST_STEPS} steps, not {len(steps)}. Use track() inside a step."
        )
    job = current_job()
    if job is None:
        return
    # What is under way stays: a task that polls states its plan in each poll.
    known = {step.name: step for step in job.steps}
    job.steps = [known.get(str(name)) or Step(name) for name in steps]
    for planned, weight in zip(job.steps, steps.values(), strict=True):
        planned.weight = weight
    job.explicit = True
    job.wake()


def step(name: Text, *, weight: float | None = None, unit: Text = "") -> Step:
    """A step of the running job: the planned one of that name, else a new one.

    Args:
        name: shown on the page, "Step 2 of 5: parsing".
        weight: its share of the work beside the other steps; default 1.
        unit: what is counted.

    Returns:
        A context manager; inside it `update` and `advance` say how far it is. Without `with`, the step begins
        at its first `update` and ends when the next begins or the job ends.

    Example:
        >>> with step("Read file", unit="bytes") as reading:
        ...     reading.update(1024, total=4096)
    """
    job = current_job()
    found = job.planned(str(name)) if job is not None else None
    if found is None:
        found = Step(name, weight=1.0 if weight is None else weight)
    elif weight is not None:
        found.weight = weight
    if unit:
        found.unit = str(unit)
    if weight is not None and job is not None and not job.stack:
        job.explicit = True
    return found


def track(
    sequence: Iterable[T],
    name: Text = "",
    *,
    total: float | None = None,
    unit: Text = "",
    weight: float | None = None,
) -> Iterator[T]:
    """Go through `sequence` as a step, counting what is done. Lazy: nothing happens before the first item.

    Args:
        sequence: anything iterable.
        name: the step's name; default "Progress".
        total: how many items there are; default `len(sequence)` if it has one, else unknown.
        unit: what an item is, in the plural: "rows".
        weight: as for `step`.

    Returns:
        An iterator over the same items.

    Raises:
        JobCancelled: between two items, within two seconds after someone cancelled the job.

    Example:
        >>> for row in track(rows, "Import", unit="rows"):
        ...     save(row)
    """
    if current_job() is None:
        yield from sequence
        return
    if total is None and isinstance(sequence, Sized):
        total = len(sequence)
    with step(name or _("Progress"), weight=weight, unit=unit) as counter:
        counter.total = total
        job, done = counter.job, counter.current
        for item in sequence:
            yield item
            done += 1
            counter.current = done
            if job.attention:
                job.attend()


def log(text: Text, *args: object, level: int = logging.INFO) -> None:
    """Add a line to the job's log.

    Args:
        text: the line, or a format with %-placeholders for `args`.
        level: a level of the `logging` module.

    Example:
        >>> log("%d orders imported", 12)
    """
    job = current_job()
    if job is None:
        return
    try:
        job.add_line(level, str(text) % args if args else str(text))
    except Exception:
        # Reporting never hurts the task: a wrong format is told as logging tells it.
        job.add_line(level, f"{text} {args!r}")


class JobLogHandler(logging.Handler):
    """Shows what a logger writes inside a job as the job's log lines."""

    def emit(self, record: logging.LogRecord) -> None:
        """Add the record to the ambient job; outside a job nothing happens."""
        job = current_job()
        if job is None:
            return
        try:
            job.add_line(record.levelno, record.getMessage())
        except Exception:
            self.handleError(record)


def attach(name: str, content: IO[bytes] | IO[str] | bytes | str | Path) -> Attachment | None:
    """Give the job's owner a file to download.

    Args:
        name: the file's name, shown and used for the download.
        content: an open file, the bytes or text themselves, or the path of a file.

    Returns:
        The file's row, whose id a task can pass on to the next; None outside a job.

    Raises:
        OSError: the file could not be stored. A task that promised a file should fail without it.
        JobCancelled: never; a file that is ready is kept.

    Example:
        >>> attach("rejected.csv", Path("rejected.csv"))
    """
    job = current_job()
    if job is None:
        return None
    if isinstance(content, Path):
        with content.open("rb") as opened:
            return attach(name, opened)
    if isinstance(content, str):
        content = content.encode()
    wrapped: File[Any] = ContentFile(content) if isinstance(content, bytes) else File(content)
    attachment = Attachment(job_id=job.id, name=name, role=Attachment.Role.OUTPUT)
    attachment.file.save(Path(name).name or "file", wrapped, save=False)
    attachment.size = attachment.file.size
    attachment.save(force_insert=True)
    job.file_count += 1
    job.wake()
    return attachment
