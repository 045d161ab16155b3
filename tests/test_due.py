"""When schedules come due next is what beat will do, also when the clock changes."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from celery import current_app
from celery.schedules import crontab, schedule
from django_celery_beat.clockedschedule import clocked
from django_celery_beat.models import CrontabSchedule
from django_celery_beat.tzcrontab import TzAwareCrontab

from status.schedules.due import next_times

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
BERLIN = ZoneInfo("Europe/Berlin")
SKIPPED = datetime(2026, 3, 29, tzinfo=BERLIN)
REPEATED = datetime(2026, 10, 25, tzinfo=BERLIN)


def cron(zone=BERLIN, **fields) -> TzAwareCrontab:
    return CrontabSchedule(timezone=zone, **{"minute": "*", "hour": "*", **fields}).schedule


def run_by_beat(made, last_run_at: datetime, until: datetime) -> list[datetime]:
    """What Celery's own `is_due` runs, asked every minute as beat asks."""
    clock, runs = last_run_at, []
    made.nowfun = lambda: clock.astimezone(made.tz)
    while clock < until:
        clock += MINUTE
        if made.is_due(last_run_at).is_due:
            last_run_at = clock
            runs.append(clock)
    return runs


@pytest.mark.parametrize("day", [SKIPPED, REPEATED, SKIPPED - 3 * DAY], ids=["skipped", "repeated", "plain"])
@pytest.mark.parametrize(
    "fields",
    [
        {"minute": "30", "hour": "2"},
        {"minute": "0", "hour": "2,3"},
        {"minute": "*/20"},
        {"minute": "15", "hour": "1-4"},
        {"minute": "30", "hour": "2", "day_of_week": "0"},
        {"minute": "30", "hour": "2", "day_of_month": "25,29"},
        {"minute": "0", "hour": "*/6", "day_of_week": "mon-fri,sun"},
    ],
    ids=lambda fields: " ".join(fields.values()),
)
def test_crontabs_in_berlin_are_as_beat_runs_them(day, fields):
    begin = (day - 3 * HOUR).astimezone(UTC)
    runs = run_by_beat(cron(**fields), begin, begin + 2 * DAY)
    assert [at for at in next_times(cron(**fields), begin, begin, 200) if at <= begin + 2 * DAY] == runs


@pytest.mark.parametrize(
    ("day", "local"),
    [
        # From 2 to 3: what was due at 2:30 comes at 3:30.
        (SKIPPED, ["03-29 03:30 +0200", "03-30 02:30 +0200"]),
        # From 3 back to 2: what is due at 2:30 comes once, the first time.
        (REPEATED, ["10-25 02:30 +0200", "10-26 02:30 +0100"]),
    ],
)
def test_half_past_two_when_the_clock_changes(day, local):
    times = next_times(cron(minute="30", hour="2"), day, day, 2)
    assert [f"{at.astimezone(BERLIN):%m-%d %H:%M %z}" for at in times] == local


def test_within_the_repeated_hour_the_next_is_after_it():
    """Celery itself says then that the crontab is due, at each look, for it takes the second pass for the first."""
    begin = datetime(2026, 10, 25, 2, 10, tzinfo=BERLIN, fold=1).astimezone(UTC)
    made = cron(minute="*/20")
    assert run_by_beat(made, begin, begin + 3 * MINUTE) == [begin + n * MINUTE for n in (1, 2, 3)]
    times = next_times(made, begin, begin, 2)
    assert [f"{at.astimezone(BERLIN):%H:%M %z}" for at in times] == ["03:00 +0100", "03:20 +0100"]


def test_an_interval_goes_on_from_its_last_run():
    assert next_times(schedule(60), NOON, NOON, 2) == [NOON + MINUTE, NOON + 2 * MINUTE]
    # The last run in the database may be minutes old.
    assert next_times(schedule(60), NOON, NOON + 10 * MINUTE, 1) == [NOON + 11 * MINUTE]
    assert next_times(schedule(DAY), SKIPPED, SKIPPED, 1) == [SKIPPED.astimezone(UTC) + DAY]
    assert next_times(schedule(0), NOON, NOON, 5) == []


def test_what_is_overdue_is_run_at_once_and_then_in_its_turn():
    times = next_times(cron(UTC, minute="0"), NOON - 30 * DAY, NOON + MINUTE, 2)
    assert times == [NOON + HOUR, NOON + 2 * HOUR]


def test_what_never_comes_has_no_times():
    made = crontab(minute="0", hour="0", day_of_month="30", month_of_year="4", app=current_app)
    made.month_of_year = {2}
    assert next_times(made, NOON, NOON, 5) == []


def test_a_clocked_one_comes_once():
    assert next_times(clocked(NOON), NOON - DAY, NOON - HOUR, 5) == [NOON]
    assert next_times(clocked(NOON), NOON - DAY, NOON, 5) == []


def test_a_rare_day_is_found():
    (leap,) = next_times(cron(UTC, minute="0", hour="0", day_of_month="29", month_of_year="2"), NOON, NOON, 1)
    assert leap == datetime(2028, 2, 29, tzinfo=UTC)


def test_a_schedule_of_ones_own_is_asked_what_remains():
    class Tides(schedule):
        run_every = None

        def __init__(self):
            self.nowfun, self._app = (lambda: NOON), current_app

        def remaining_estimate(self, last_run_at):
            return last_run_at + 6 * HOUR - NOON

    assert next_times(Tides(), NOON - HOUR, NOON, 2) == [NOON + 5 * HOUR, NOON + 11 * HOUR]
