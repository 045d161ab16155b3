"""What beat missed: the runs that came due while it was down, told when it is back.

A schedule that is overdue when beat starts is run once; whatever else came due meanwhile is run by nobody. Beat
counts that at its start, from the last run of each schedule and its own last sign of life, and says it in its log; the
next run of the schedule carries it along, so that its job, if it is one, says it in its log as well.
"""

import logging
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock
from typing import Any
from uuid import UUID

from celery import schedules, signals
from celery.utils.time import maybe_make_aware
from django.db import DatabaseError, InterfaceError, close_old_connections
from django.utils import timezone
from django.utils.translation import ngettext

from status.broadcast import retain
from status.call_off import add_postscript
from status.headers import header
from status.live import current_job
from status.models import Job, Topic
from status.states import TERMINAL

logger = logging.getLogger(__name__)

PULSE = "status.beat"
"""The topic that says when beat was last alive, and what it missed before it started."""
PULSE_SECONDS = 5.0
NAME_HEADER = "periodic_task_name"
MISSED_HEADER = "status_missed"
OWN = "status."
MOST_STEPS = 1000
MOST_DAYS = 3660
MOST_TOLD = 50


@dataclass(frozen=True, slots=True)
class Missed:
    """Runs of one schedule that nobody made."""

    count: int
    first: datetime
    """When the first of them was due."""
    last: datetime

    def __add__(self, later: "Missed") -> "Missed":
        return Missed(self.count + later.count, min(self.first, later.first), max(self.last, later.last))

    def __str__(self) -> str:
        """For people, with times in UTC."""
        first, last = (f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}" for at in (self.first, self.last))
        text = ngettext(
            "%(count)d run of this schedule was missed while beat was down, due at %(first)s UTC.",
            "%(count)d runs of this schedule were missed while beat was down, due from %(first)s to %(last)s UTC.",
            self.count,
        )
        return text % {"count": self.count, "first": first, "last": last}

    def to_wire(self) -> list[Any]:
        """For a message's header, and for JSON."""
        return [self.count, self.first.timestamp(), self.last.timestamp()]

    @classmethod
    def from_wire(cls, fields: list[Any]) -> "Missed":
        """What `to_wire` wrote.

        Raises TypeError or ValueError for anything else.
        """
        count, first, last = fields
        return cls(int(count), datetime.fromtimestamp(first, UTC), datetime.fromtimestamp(last, UTC))


def due_times(schedule: Any, last_run_at: datetime, since: datetime, until: datetime) -> Missed | None:
    """How often a schedule came due after `since` and not after `until`.

    Intervals and crontabs are counted, not walked through, so a schedule of one second costs no more after a month
    than after a minute. Of other schedules (solar ones, your own) a thousand times at most are counted.

    Args:
        schedule: as Celery has it.
        last_run_at: when it was last run; an interval is counted from there.
        since: aware, as all of these.
        until: mostly now.

    Returns:
        How many, with the first and the last; None if there were none.

    Example:
        >>> due_times(schedule(60), noon, noon, noon + timedelta(minutes=3)).count
        3
    """
    if since >= until:
        return None
    if isinstance(schedule, schedules.crontab):
        return _crontab_times(schedule, since, until)
    if hasattr(schedule, "clocked_time"):
        at = schedule.clocked_time
        return Missed(1, at, at) if since < at <= until else None
    if every := getattr(schedule, "run_every", None):
        return _interval_times(every, last_run_at, since, until)
    return _other_times(schedule, since, until)


def _interval_times(
    every: timedelta, last_run_at: datetime, since: datetime, until: datetime
) -> Missed | None:
    first, last = max((since - last_run_at) // every + 1, 1), (until - last_run_at) // every
    if every <= timedelta() or last < first:
        return None
    return Missed(last - first + 1, last_run_at + first * every, last_run_at + last * every)


def _crontab_times(schedule: Any, since: datetime, until: datetime) -> Missed | None:
    """Day by day. As with Celery, a time that the clock skips comes an hour later, one that it repeats comes once."""
    found: Missed | None = None
    day, end = since.astimezone(schedule.tz).date(), until.astimezone(schedule.tz).date()
    day = max(day, end - timedelta(days=MOST_DAYS))
    while day <= end:
        times = _times_of_day(schedule, day, since, until) if _is_on(schedule, day) else None
        found = found + times if found and times else found or times
        day += timedelta(days=1)
    return found


def _is_on(schedule: Any, day: date) -> bool:
    return (
        day.month in schedule.month_of_year
        and day.day in schedule.day_of_month
        and day.isoweekday() % 7 in schedule.day_of_week
    )


def _times_of_day(schedule: Any, day: date, since: datetime, until: datetime) -> Missed | None:
    def at(hour: int, minute: int) -> datetime:
        return datetime.combine(day, clock(hour, minute), schedule.tz).astimezone(UTC)

    hours, minutes = schedule.hour, schedule.minute
    first, last = at(min(hours), min(minutes)), at(max(hours), max(minutes))
    is_whole = since < at(0, 0) and at(23, 59) <= until
    if is_whole and at(23, 59) - at(0, 0) == timedelta(hours=23, minutes=59):
        return Missed(len(hours) * len(minutes), first, last)
    times = {at(hour, minute) for hour in hours for minute in minutes}
    times = {moment for moment in times if since < moment <= until}
    return Missed(len(times), min(times), max(times)) if times else None


def _other_times(schedule: Any, since: datetime, until: datetime) -> Missed | None:
    found: Missed | None = None
    at = since
    for _step in range(MOST_STEPS):
        due = maybe_make_aware(schedule.now()) + schedule.remaining_estimate(at)
        # A schedule that does not move on would be asked for ever.
        if due > until or due < at + timedelta(seconds=1):
            break
        found = found + Missed(1, due, due) if found else Missed(1, due, due)
        at = due
    return found


def missed_by(entry: Any, alive_at: datetime | None, now: datetime) -> Missed | None:
    """The runs of one of beat's entries that nobody made, nor will.

    Args:
        entry: of a scheduler that has not ticked yet.
        alive_at: when beat was last known to be alive; None if that is not known.
        now: the time of its start.

    Returns:
        How many, without the one that beat makes now because it is overdue; None if there were none.

    Example:
        >>> missed_by(scheduler.schedule["reports"], None, timezone.now())
        Missed(count=3, ...)
    """
    model, schedule = getattr(entry, "model", None), entry.schedule
    last_run_at = since = _aware(entry.last_run_at) or now
    starts, ends = _aware(getattr(model, "start_time", None)), _aware(getattr(model, "expires", None))
    if starts is not None and since < starts:
        # It comes due at the start itself; until then its last run is said to be decades ago.
        since = starts - timedelta(microseconds=1)
        last_run_at = starts - getattr(schedule, "run_every", timedelta())
    due = due_times(schedule, last_run_at, max(since, alive_at or since), min(now, ends or now))
    if due is None:
        return None
    is_one_off = getattr(model, "one_off", False)
    count = min(due.count, 1 - min(entry.total_run_count, 1)) if is_one_off else due.count
    count -= bool((ends is None or now < ends) and entry.is_due()[0])
    return Missed(count, due.first, due.last) if count > 0 else None


def _aware(at: datetime | None) -> datetime | None:
    return None if at is None else maybe_make_aware(at)


def of(request: Any) -> Missed | None:
    """What was missed before the run that a message asks for; None if nothing was."""
    fields = header(request, MISSED_HEADER)
    try:
        return None if fields is None else Missed.from_wire(fields)
    except (TypeError, ValueError, OverflowError):
        return None


class Pulse:
    """In beat: looks back at its start, then says now and then that it is alive."""

    def __init__(self) -> None:
        self._owed: dict[str, Missed] = {}
        self._payload: dict[str, Any] = {}
        self._said_at = 0.0

    def look_back(self, scheduler: Any, now: datetime) -> dict[str, Missed]:
        """Count what was missed, say it in the log, and note it for the next runs.

        Returns:
            What was missed since beat was last alive, by the names of the schedules.
        """
        last = Topic.objects.filter(pk=PULSE).first()
        alive_at = last.updated_at if last is not None else None
        self._payload = dict(last.payload) if last is not None else {}
        self._owed = {name: Missed.from_wire(wire) for name, wire in self._payload.get("owed", {}).items()}
        missed = {}
        for entry in _entries(scheduler):
            found = missed_by(entry, alive_at, now)
            if found is not None:
                missed[entry.name] = found
                self._owed[entry.name] = self._owed[entry.name] + found if entry.name in self._owed else found
        if missed:
            _warn(missed, alive_at)
            told = {name: found.to_wire() for name, found in missed.items()}
            self._payload |= {"down_from": alive_at and alive_at.timestamp(), "missed": told}
        self._payload["started_at"] = now.timestamp()
        self._say()
        return missed

    def label(self, headers: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Before a message is sent: let it carry what was missed before."""
        missed = self._owed.get((headers or {}).get(NAME_HEADER, ""))
        if headers is not None and missed is not None:
            headers[MISSED_HEADER] = missed.to_wire()

    def sent(self, headers: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """After a message was sent: beat is alive, and what was missed is told."""
        told = self._owed.pop((headers or {}).get(NAME_HEADER, ""), None)
        if told is None and time.monotonic() - self._said_at < PULSE_SECONDS:
            return
        try:
            close_old_connections()
            self._say()
        except (DatabaseError, InterfaceError) as error:
            logger.warning("Beat could not write that it is alive: %r", error)

    def _say(self) -> None:
        self._said_at = time.monotonic()
        self._payload["owed"] = {name: missed.to_wire() for name, missed in self._owed.items()}
        retain(PULSE, self._payload)


def _entries(scheduler: Any) -> Iterable[Any]:
    """Beat's entries but those of this app itself, which are looked at every few seconds anyway."""
    if hasattr(scheduler, "Model"):
        # The schedule of django-celery-beat is without the crontabs whose hour is far from now.
        entries = [scheduler.Entry(model, app=scheduler.app) for model in scheduler.Model.objects.enabled()]
    else:
        entries = list(scheduler.schedule.values())
    return [entry for entry in entries if not entry.task.startswith(OWN)]


def _name(entries: Mapping[str, Any]) -> None:
    """Have the messages of Celery's own scheduler say which schedule they are of, as django-celery-beat's do."""
    for name, entry in entries.items():
        headers = entry.options.get("headers") or {}
        entry.options["headers"] = {NAME_HEADER: name, **headers}


def _warn(missed: dict[str, Missed], alive_at: datetime | None) -> None:
    total = sum(found.count for found in missed.values())
    since = f" since {alive_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC" if alive_at else ""
    logger.warning("Beat was down%s: %d runs of %d schedules were missed", since, total, len(missed))
    for name in sorted(missed)[:MOST_TOLD]:
        logger.warning("Schedule %r: %s", name, missed[name])
    if len(missed) > MOST_TOLD:
        logger.warning("And %d more schedules", len(missed) - MOST_TOLD)


def connect() -> None:
    """Listen to beat and to what carries its notes; called once, after the lifecycle's own `connect`."""
    uid = "status.missed"
    signals.beat_init.connect(_on_beat_init, dispatch_uid=uid, weak=False)
    signals.task_prerun.connect(_on_prerun, dispatch_uid=uid, weak=False)
    signals.task_revoked.connect(_on_revoked, dispatch_uid=uid, weak=False)


def _on_beat_init(sender: Any, **kwargs: Any) -> None:
    uid, pulse = "status.missed", Pulse()
    try:
        _name(sender.scheduler.schedule)
        pulse.look_back(sender.scheduler, timezone.now())
    except Exception:
        # Nothing of this is worth a beat that does not start.
        logger.exception("What beat missed while it was down is not known")
    signals.before_task_publish.connect(pulse.label, dispatch_uid=uid, weak=False)
    signals.after_task_publish.connect(pulse.sent, dispatch_uid=uid, weak=False)


def _on_prerun(task: Any, **kwargs: Any) -> None:
    live, missed = current_job(), of(task.request)
    if missed is not None and live is not None and not live.refused and live.attempt == 1:
        live.add_line(logging.WARNING, str(missed))


def _on_revoked(request: Any, expired: bool, **kwargs: Any) -> None:
    missed = of(request) if expired else None
    if missed is not None and Job.objects.filter(pk=request.id, state__in=sorted(TERMINAL)).exists():
        add_postscript(UUID(request.id), logging.WARNING, str(missed))
