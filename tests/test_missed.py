import random
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest
from celery import current_app, signals
from celery.beat import Scheduler
from celery.schedules import crontab, schedule
from django.utils import timezone
from django_celery_beat.models import ClockedSchedule, CrontabSchedule, IntervalSchedule, PeriodicTask
from django_celery_beat.schedulers import DatabaseScheduler, ModelEntry

from status.live import LiveJob, set_current
from status.models import Job, LogLine, Topic
from status.sources import missed
from status.sources.missed import MISSED_HEADER, PULSE, Missed, Pulse, due_times, missed_by
from status.sources.timetable import every
from status.states import State

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
BERLIN = ZoneInfo("Europe/Berlin")


def cron(tz=UTC, **fields):
    """As django-celery-beat makes them: with a time zone of its own."""
    made = crontab(**{"minute": "*", "hour": "*", **fields}, app=current_app)
    made.tz = tz
    return made


# -- counting


def test_intervals_are_counted_from_the_last_run():
    found = due_times(schedule(60), NOON, NOON, NOON + timedelta(minutes=3, seconds=59))
    assert found == Missed(3, NOON + MINUTE, NOON + 3 * MINUTE)
    assert due_times(schedule(60), NOON, NOON, NOON + timedelta(seconds=59)) is None
    assert due_times(schedule(60), NOON, NOON, NOON + MINUTE).count == 1


def test_what_beat_ran_while_it_lived_is_not_counted():
    """The last run in the database may be minutes old: django-celery-beat writes it every three minutes."""
    alive_at = NOON + timedelta(minutes=2, seconds=30)
    found = due_times(schedule(60), NOON, alive_at, NOON + 4 * MINUTE)
    assert found == Missed(2, NOON + 3 * MINUTE, NOON + 4 * MINUTE)
    assert due_times(schedule(60), NOON, NOON + 3 * MINUTE, NOON + 4 * MINUTE).count == 1


def test_a_second_for_a_year_is_arithmetic():
    assert due_times(schedule(1), NOON, NOON, NOON + 365 * DAY).count == 365 * 86_400


@pytest.mark.parametrize("clock", [NOON, NOON - HOUR])
def test_no_time_has_no_runs(clock):
    assert due_times(schedule(1), NOON, NOON, clock) is None
    assert due_times(cron(), NOON, NOON, clock) is None


def test_a_crontab_of_every_minute_for_a_year_is_days_of_work():
    assert due_times(cron(), NOON, NOON, NOON + 365 * DAY).count == 365 * 24 * 60


def test_a_crontab_knows_weekdays_days_and_months():
    until = NOON + 365 * DAY
    assert due_times(cron(minute=0, hour=0, day_of_week="mon"), NOON, NOON, until).count == 52
    assert due_times(cron(minute=0, hour=0, day_of_month=31), NOON, NOON, until).count == 7
    assert due_times(cron(minute=0, hour=0, day_of_month=29, month_of_year=2), NOON, NOON, until) is None


@pytest.mark.parametrize(
    ("day", "fields", "times"),
    [
        # The clock skips from 2 to 3: what was due at 2:30 comes at 3:30.
        (datetime(2026, 3, 29, tzinfo=UTC), {"minute": 30, "hour": 2}, ["03:30"]),
        (datetime(2026, 3, 29, tzinfo=UTC), {"minute": 0, "hour": "2,3"}, ["03:00"]),
        # It goes back from 3 to 2: what is due at 2:30 comes once.
        (datetime(2026, 10, 25, tzinfo=UTC), {"minute": 30, "hour": 2}, ["02:30"]),
        (datetime(2026, 10, 25, tzinfo=UTC), {"minute": 0, "hour": "2,3"}, ["02:00", "03:00"]),
    ],
)
def test_crontabs_when_the_clock_changes(day, fields, times):
    since = day.replace(tzinfo=BERLIN)
    found = due_times(cron(BERLIN, **fields), since, since, since + DAY)
    local = [f"{at.astimezone(BERLIN):%H:%M}" for at in (found.first, found.last)]
    assert (found.count, local) == (len(times), [times[0], times[-1]])


@pytest.mark.parametrize("seed", range(40))
def test_crontabs_come_due_as_celery_says(seed):
    """Walked through by Celery itself, one due time after the other, mostly over a change of the clock."""
    draw = random.Random(seed)
    zone = draw.choice([UTC, BERLIN, ZoneInfo("America/New_York"), ZoneInfo("Asia/Kolkata")])
    made = cron(
        zone,
        minute=draw.choice(["*/20", "0", "30", "5,50"]),
        hour=draw.choice(["*", "2", "1-3", "*/5"]),
        day_of_week=draw.choice(["*", "*", "sun", "1-5"]),
        day_of_month=draw.choice(["*", "*", "*/2"]),
    )
    change = draw.choice(
        [
            datetime(2026, 3, 8, tzinfo=UTC),
            datetime(2026, 3, 29, tzinfo=UTC),
            datetime(2026, 11, 1, tzinfo=UTC),
        ]
    )
    since = change - timedelta(minutes=draw.randrange(3 * 1440))
    until = since + timedelta(minutes=draw.randrange(10, 6 * 1440))
    made.nowfun = lambda: until
    due, walked = since, []
    while (due := until + made.remaining_estimate(due)) <= until:
        walked.append(due)
    found = due_times(made, since, since, until)
    assert found == (Missed(len(walked), walked[0], walked[-1]) if walked else None)


def test_a_schedule_of_somebodys_own_is_walked_through():
    class Tides(schedule):
        run_every = None

        def __init__(self):
            self.nowfun = timezone.now

        def remaining_estimate(self, last_run_at):
            return last_run_at + 12 * HOUR - timezone.now()

    now = timezone.now()
    assert due_times(Tides(), now, now - 3 * DAY, now).count in {5, 6}
    assert due_times(Tides(), now, now - 9999 * DAY, now).count == missed.MOST_STEPS


# -- entries


@pytest.fixture
def at_noon(monkeypatch):
    """The time of beat's start."""
    from django_celery_beat import schedulers

    monkeypatch.setattr(current_app, "now", lambda: NOON, raising=False)
    monkeypatch.setattr(ModelEntry, "_default_now", lambda self: NOON)
    monkeypatch.setattr(schedulers, "aware_now", lambda: NOON)


def periodic(name="orders", *, last_run_at=NOON - HOUR, **fields):
    if not {"crontab", "clocked"} & set(fields):
        fields["interval"] = IntervalSchedule.objects.get_or_create(every=10, period="minutes")[0]
    task = PeriodicTask.objects.create(name=name, task="orders.tasks.sync", **fields)
    PeriodicTask.objects.filter(pk=task.pk).update(last_run_at=last_run_at)
    task.refresh_from_db()
    return task


def missed_of(task, alive_at=None):
    entry = ModelEntry(task, app=current_app._get_current_object())
    entry.schedule.nowfun = lambda: NOON
    return missed_by(entry, alive_at, NOON)


@pytest.mark.django_db
def test_of_what_came_due_the_last_is_run_now(at_noon):
    assert missed_of(periodic()).count == 5
    assert missed_of(periodic("once", last_run_at=NOON - 15 * MINUTE)) is None
    assert missed_of(periodic("not due", last_run_at=NOON - MINUTE)) is None


@pytest.mark.django_db
def test_before_its_start_time_nothing_was_due(at_noon):
    """A schedule that never ran: its first run is at its start time."""
    assert missed_of(periodic(last_run_at=None, start_time=NOON - 25 * MINUTE)).count == 2
    assert missed_of(periodic("later", last_run_at=None, start_time=NOON + HOUR)) is None
    daily = CrontabSchedule.objects.create(minute="0", hour="*")
    assert missed_of(periodic("c", last_run_at=None, start_time=NOON - 2 * HOUR, crontab=daily)).count == 2


@pytest.mark.django_db
def test_after_it_expired_nothing_is_run_or_missed(at_noon):
    found = missed_of(periodic(expires=NOON - 35 * MINUTE))
    assert (found.count, found.last) == (2, NOON - 40 * MINUTE)


@pytest.mark.django_db
def test_what_is_run_once_is_missed_never_or_once(at_noon):
    assert missed_of(periodic(one_off=True)) is None
    clocked = ClockedSchedule.objects.create(clocked_time=NOON - HOUR)
    assert missed_of(periodic("clocked", clocked=clocked, one_off=True, last_run_at=NOON - DAY)) is None
    late = {"clocked": clocked, "one_off": True, "last_run_at": NOON - DAY, "expires": NOON - MINUTE}
    assert missed_of(periodic("too late", **late)).count == 1


@pytest.mark.django_db
def test_past_celerys_deadline_the_last_one_is_missed_as_well(at_noon, monkeypatch):
    daily = CrontabSchedule.objects.create(minute="0", hour="9")
    task = periodic(crontab=daily, last_run_at=NOON - 2 * DAY)
    assert missed_of(task).count == 1
    monkeypatch.setitem(current_app.conf, "beat_cron_starting_deadline", 60)
    assert missed_of(task).count == 2


# -- beat's start


@pytest.fixture
def database_scheduler(db):
    return DatabaseScheduler(app=current_app._get_current_object(), lazy=True)


@pytest.mark.django_db(transaction=True)
def test_the_log_says_what_was_missed_and_the_next_run_carries_it(database_scheduler, caplog):
    now = timezone.now()
    periodic(last_run_at=now - HOUR - MINUTE)
    # Its hour is far away, so that the scheduler has not even loaded it.
    hour = str((now + 6 * HOUR).hour)
    far = CrontabSchedule.objects.create(minute="0", hour=hour)
    periodic("far", crontab=far, last_run_at=now - 5 * DAY)
    periodic("off", enabled=False)
    Topic.objects.create(name=PULSE, updated_at=now - 3 * DAY)
    pulse = Pulse()
    found = pulse.look_back(database_scheduler, now)
    assert {name: each.count for name, each in found.items()} == {"orders": 5, "far": 2}
    assert "7 runs of 2 schedules were missed" in caplog.text
    assert "'orders': 5 runs of this schedule were missed while beat was down" in caplog.text

    headers = {"periodic_task_name": "orders"}
    pulse.label(headers=headers)
    pulse.sent(headers=headers)
    assert missed.of(SimpleNamespace(**headers)).count == 5
    # Told once.
    again = {"periodic_task_name": "orders"}
    pulse.label(headers=again)
    assert MISSED_HEADER not in again
    assert set(Topic.objects.get(pk=PULSE).payload["owed"]) == {"far"}


@pytest.mark.django_db
def test_what_is_still_to_be_told_outlives_a_restart(database_scheduler):
    now = timezone.now()
    task = periodic(last_run_at=now - HOUR - MINUTE)
    Pulse().look_back(database_scheduler, now)
    # It had not run yet when beat was stopped again, for half an hour.
    later = Pulse()
    assert later.look_back(database_scheduler, now + 30 * MINUTE)["orders"].count == 2
    headers = {"periodic_task_name": task.name}
    later.label(headers=headers)
    assert missed.of(SimpleNamespace(**headers)).count == 7


@pytest.mark.django_db
def test_a_first_start_has_missed_nothing(database_scheduler, caplog):
    now = timezone.now()
    task = periodic(last_run_at=None)
    assert Pulse().look_back(database_scheduler, now) == {}
    assert task.name not in caplog.text
    assert Topic.objects.filter(pk=PULSE).exists()


@pytest.mark.django_db(transaction=True)
def test_the_pulse_costs_a_write_every_few_seconds(django_assert_num_queries):
    pulse = Pulse()
    pulse.sent(headers={})
    with django_assert_num_queries(0):
        for _ in range(100):
            pulse.sent(headers={"periodic_task_name": "x"})


@pytest.mark.django_db
def test_celerys_own_scheduler_is_looked_at_as_well():
    """And its messages say which schedule they are of."""
    scheduler = Scheduler(app=current_app._get_current_object(), lazy=True)
    own = {"status.x": {"task": "status.x", "schedule": 1.0}}
    scheduler.update_from_dict({"orders": {"task": "orders.sync", "schedule": 60.0}, **own})
    now = timezone.now()
    for entry in scheduler.schedule.values():
        entry.last_run_at = now - HOUR
    try:
        missed._on_beat_init(SimpleNamespace(scheduler=scheduler))
        assert {name: wire[0] for name, wire in Topic.objects.get(pk=PULSE).payload["missed"].items()} == {
            "orders": 59
        }
        entry = next(scheduler.schedule["orders"])
        headers = dict(entry.options["headers"])
        signals.before_task_publish.send(sender="orders.sync", headers=headers)
        assert (headers["periodic_task_name"], headers[MISSED_HEADER][0]) == ("orders", 59)
    finally:
        for signal in (signals.before_task_publish, signals.after_task_publish):
            signal.disconnect(dispatch_uid="status.missed", sender=None)


def test_beat_starts_whatever_goes_wrong(db, caplog):
    class Broken:
        @property
        def schedule(self):
            raise OSError("no shelf")

    try:
        missed._on_beat_init(SimpleNamespace(scheduler=Broken()))
    finally:
        for signal in (signals.before_task_publish, signals.after_task_publish):
            signal.disconnect(dispatch_uid="status.missed", sender=None)
    assert "not known" in caplog.text


# -- in a worker


NOTE = Missed(3, NOON, NOON + 20 * MINUTE)


def test_the_next_run_says_it_in_its_log_once():
    live = LiveJob()
    set_current(live)
    try:
        task = SimpleNamespace(request=SimpleNamespace(**{MISSED_HEADER: NOTE.to_wire()}))
        missed._on_prerun(task)
        live.attempt = 2
        missed._on_prerun(task)
    finally:
        set_current(None)
    assert [(line.level, line.text) for line in live.lines] == [
        (
            30,
            "3 runs of this schedule were missed while beat was down, "
            "due from 2026-05-04 12:00:00 to 2026-05-04 12:20:00 UTC.",
        )
    ]


@pytest.mark.django_db
def test_a_run_that_expired_says_it_as_well():
    job = Job.objects.create(task="t", title="T", state=State.FAILED)
    request = SimpleNamespace(id=str(job.pk), headers={MISSED_HEADER: NOTE.to_wire()})
    missed._on_revoked(request, expired=True)
    missed._on_revoked(request, expired=False)
    assert [line.text for line in LogLine.objects.all()] == [str(NOTE)]


@pytest.mark.parametrize("fields", [None, [1], "x", [1, "a", None], [1, 1e300, 1]])
def test_what_is_no_note_is_none(fields):
    assert missed.of(SimpleNamespace(**{MISSED_HEADER: fields})) is None


# -- our own entries


@pytest.mark.django_db
def test_our_own_tasks_expire_with_either_scheduler():
    every("status.example", 2.5)
    try:
        fields = current_app.conf.beat_schedule["status.example"]
        app = current_app._get_current_object()
        stored = ModelEntry.from_entry("status.example", app=app, **fields)
        assert (stored.model.expire_seconds, stored.options["expires"]) == (3, 3)
        own = Scheduler(app=app, lazy=True)
        own.update_from_dict({"status.example": fields})
        assert own.schedule["status.example"].options["expires"] == 2.5
    finally:
        del current_app.conf.beat_schedule["status.example"]
        signals.import_modules.disconnect(dispatch_uid="status.example")
