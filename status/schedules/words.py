"""When a schedule runs, in words."""

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any

from celery import schedules
from django.utils.dates import MONTHS, WEEKDAYS_ABBR
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from status.moments import written

MOST_TIMES = 6
"""So many times of a day are named one by one."""

UNITS: tuple[tuple[timedelta, Callable[[int], str]], ...] = (
    (timedelta(days=1), lambda n: ngettext("Every day", "Every %(count)s days", n)),
    (timedelta(hours=1), lambda n: ngettext("Every hour", "Every %(count)s hours", n)),
    (timedelta(minutes=1), lambda n: ngettext("Every minute", "Every %(count)s minutes", n)),
    (timedelta(seconds=1), lambda n: ngettext("Every second", "Every %(count)s seconds", n)),
)


def in_words(schedule: Any) -> str:
    """When a schedule of Celery's runs; the time zone is told by `zone_of`.

    >>> in_words(schedule(300))
    'Every 5 minutes'
    >>> in_words(crontab(minute="30", hour="2", day_of_week="1-5"))
    'At 02:30, Mon–Fri'
    """
    if isinstance(schedule, schedules.crontab):
        parts = [_times(schedule), *_days(schedule)]
        return ", ".join(parts)
    if hasattr(schedule, "clocked_time"):
        return _("Once, at %s") % written(schedule.clocked_time, "j M Y, H:i")
    every = getattr(schedule, "run_every", None)
    return str(schedule) if every is None else _every(every)


def zone_of(schedule: Any) -> str:
    """The name of the time zone that a crontab is read in; empty for what no clock says."""
    return str(schedule.tz) if isinstance(schedule, schedules.crontab) else ""


def _every(every: timedelta) -> str:
    for unit, text in UNITS:
        count, rest = divmod(every, unit)
        if count and not rest:
            return text(count) % {"count": count}
    return _("Every %s seconds") % number_format(f"{every.total_seconds():.10g}")


def _times(schedule: Any) -> str:
    hours, minutes = sorted(schedule.hour), sorted(schedule.minute)
    if len(hours) * len(minutes) <= MOST_TIMES:
        return _("At %s") % ", ".join(f"{hour:02}:{minute:02}" for hour in hours for minute in minutes)
    if len(minutes) == 60:
        each = _("Every minute")
    elif step := _step(minutes, 60):
        each = _every(timedelta(minutes=step))
    else:
        each = _("At minute %s") % _ranges(minutes)
    if len(hours) == 24:
        return each
    return _("%(each)s, in the hours %(hours)s") % {"each": each, "hours": _ranges(hours)}


def _days(schedule: Any) -> Iterable[str]:
    """What a crontab asks of a day; all of it must hold."""
    if len(schedule.day_of_week) < 7:
        yield _weekdays(schedule.day_of_week)
    if len(schedule.day_of_month) < 31:
        yield _("on day %s of the month") % _ranges(sorted(schedule.day_of_month))
    if len(schedule.month_of_year) < 12:
        yield _("in %s") % _ranges(sorted(schedule.month_of_year), lambda month: str(MONTHS[month]))


def _weekdays(days: Iterable[int]) -> str:
    # Celery counts from Sunday, Django from Monday.
    return _ranges(sorted((day - 1) % 7 for day in days), lambda day: str(WEEKDAYS_ABBR[day]))


def _step(numbers: list[int], size: int) -> int:
    """The even step that makes these numbers of all below `size`; 0 if there is none."""
    if len(numbers) < 2 or size % len(numbers) or numbers[0] != 0:
        return 0
    step = size // len(numbers)
    return step if numbers == list(range(0, size, step)) else 0


def _ranges(numbers: Iterable[int], name: Callable[[int], str] = str) -> str:
    """Sorted numbers with what follows each other as a range: "1–5, 7"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return ", ".join(
        f"{name(run[0])}–{name(run[-1])}" if len(run) > 2 else ", ".join(name(number) for number in run)
        for run in runs
    )
