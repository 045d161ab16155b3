"""When a schedule comes due next, as beat itself will find."""

from datetime import UTC, datetime, timedelta
from typing import Any

from celery import schedules
from celery.utils.time import maybe_make_aware

SOON = timedelta(microseconds=1)
REPEATED_MINUTES = 121
"""Longer than any clock is put back."""


def next_times(schedule: Any, last_run_at: datetime, after: datetime, count: int) -> list[datetime]:
    """The next times at which beat runs a schedule.

    Crontabs are asked for by Celery's own arithmetic, so that a time which the clock skips comes an hour later and one
    that it repeats comes once, as with beat. An interval is counted from its last run, in seconds that pass.

    Args:
        schedule: as Celery has it: interval, crontab, or any that can estimate what remains.
        last_run_at: when it was last run, or else made; aware, as `after`. What is overdue counts as run now.
        after: mostly now.
        count: so many at most; fewer where there are no more.

    Returns:
        Times in UTC, the next first.

    Example:
        >>> next_times(schedule(3600), noon, noon, 2)
        [datetime(2026, 5, 4, 13, 0, tzinfo=UTC), datetime(2026, 5, 4, 14, 0, tzinfo=UTC)]
    """
    if hasattr(schedule, "clocked_time"):
        return [schedule.clocked_time.astimezone(UTC)] if schedule.clocked_time > after else []
    every = getattr(schedule, "run_every", None)
    if every is not None and not isinstance(schedule, schedules.crontab):
        return _interval_times(every, last_run_at, after, count)
    found: list[datetime] = []
    at = last_run_at
    while len(found) < count:
        due = _next(schedule, at)
        if due is None:
            break
        if due > after:
            found.append(due)
            at = due
        else:
            at = max(due, after)
            if _next(schedule, at) == due:
                break
    return found


def _interval_times(every: timedelta, last_run_at: datetime, after: datetime, count: int) -> list[datetime]:
    if every <= timedelta():
        return []
    first = last_run_at.astimezone(UTC) + max((after - last_run_at) // every + 1, 1) * every
    return [first + number * every for number in range(count)]


def _next(schedule: Any, at: datetime) -> datetime | None:
    """The first time after `at`; None if there is none."""
    for minutes in range(REPEATED_MINUTES):
        due = _asked(schedule, at + timedelta(minutes=minutes))
        if due is None or due > at + SOON:
            return due
        # Where the clock repeats an hour Celery takes its second pass for the first, and names a time that is over.
    return None


def _asked(schedule: Any, at: datetime) -> datetime | None:
    """What Celery says comes after `at`; None if it finds nothing."""
    try:
        if isinstance(schedule, schedules.crontab):
            start, ends_in, _now = schedule.remaining_delta(at)
            due: datetime = start + ends_in
        else:
            due = maybe_make_aware(schedule.now()) + schedule.remaining_estimate(at)
    except (ValueError, OverflowError, RuntimeError):
        # No such day comes within years.
        return None
    return due.astimezone(UTC)
