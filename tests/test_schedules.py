"""The pages of schedules, over django-celery-beat's tables."""

import json
import runpy
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from unittest import mock
from zoneinfo import ZoneInfo

import pytest
from celery import current_app, schedules
from django.contrib.auth.models import Permission
from django.utils import timezone
from django_celery_beat.models import (
    ClockedSchedule,
    CrontabSchedule,
    IntervalSchedule,
    PeriodicTask,
    PeriodicTasks,
)
from django_celery_beat.schedulers import ModelEntry

from status import access
from status.models import AuditEntry, Job, Topic
from status.schedules import listing
from status.schedules.forms import ScheduleForm, TimingForm
from status.schedules.words import in_words, zone_of
from status.sources.claim import adopted
from status.sources.missed import PULSE
from tests.processes import PROJECT
from tests.tasks import add

ADD, FARM = "tests.tasks.add", "demo.renders.render_on_the_farm"
NEW = "/jobs/schedules/new/?task="
DAILY = {"kind": "crontab", "minute": "30", "hour": "2", "zone": "Europe/Berlin"}
DAILY |= {"day_of_month": "*", "month_of_year": "*", "day_of_week": "*"}
ANYBODY = SimpleNamespace(pk=1, is_authenticated=True, has_perm=lambda name: True)
"""Who may everything."""

HOURLY = {"kind": "interval", "every": "1", "period": "hours"}


@pytest.fixture
def tracked(settings):
    settings.STATUS = {**settings.STATUS, "TRACK": ["tests.tasks.*"]}


@pytest.fixture
def admin(client, operator, tracked):
    """Olga, who may change schedules, and is logged in."""
    operator.user_permissions.add(Permission.objects.get(codename="change_schedule"))
    client.force_login(operator)
    return client


@pytest.fixture
def hourly(db):
    interval = IntervalSchedule.objects.create(every=1, period="hours")
    return PeriodicTask.objects.create(name="Add hourly", task=ADD, interval=interval, args="[1, 2]")


def text_of(response) -> str:
    assert response.status_code == 200, response
    return response.content.decode()


def test_the_list_says_when_what_and_which_job(admin, hourly, alice):
    at = timezone.now() - timedelta(minutes=20)
    Job.objects.create(task=ADD, title="older", schedule=hourly.name, created_at=at - timedelta(hours=1))
    job = Job.objects.create(task=ADD, title="newest", schedule=hourly.name, created_at=at, state="succeeded")
    text = text_of(admin.get("/jobs/schedules/"))
    assert "Add hourly" in text
    assert "Every hour" in text
    assert job.get_absolute_url() in text
    PeriodicTask.objects.update(date_changed=at - timedelta(days=1))
    row = listing.find(ANYBODY, hourly.pk)
    assert (row.job, row.last_at, row.next_at) == (job, at, at + timedelta(hours=1))


def test_a_run_by_hand_does_not_put_off_the_next(admin, operator, hourly):
    hourly.last_run_at = timezone.now() - timedelta(minutes=40)
    hourly.save()
    Job.objects.create(task=ADD, title="by hand", schedule=hourly.name, owner=operator)
    assert listing.find(operator, hourly.pk).next_at == hourly.last_run_at + timedelta(hours=1)


def test_the_list_costs_a_fixed_number_of_queries(admin, django_assert_max_num_queries):
    interval = IntervalSchedule.objects.create(every=1, period="hours")
    PeriodicTask.objects.bulk_create(
        PeriodicTask(name=f"n{n:03}", task=ADD, interval=interval, date_changed=timezone.now())
        for n in range(120)
    )
    Job.objects.bulk_create(Job(task=ADD, title="t", schedule=f"n{n:03}") for n in range(120))
    seen, after = [], ""
    for _page in range(3):
        with django_assert_max_num_queries(12):
            response = admin.get("/jobs/schedules/", {"after": after})
        seen += [row.task.name for row in response.context["rows"]]
        assert all(row.job for row in response.context["rows"])
        after = response.context["more"]
    assert seen == [f"n{n:03}" for n in range(120)]
    assert not after


def test_an_index_finds_the_newest_run(operator):
    newest = access.visible_jobs(operator).filter(schedule="n001").order_by("-created_at")[:1]
    said = newest.explain()
    assert "status_list_schedule" in said or "Seq Scan" in said
    assert "TEMP B-TREE" not in said


def test_what_the_console_runs_for_itself_stands_apart_and_is_left_alone(admin, db):
    interval = IntervalSchedule.objects.create(every=5, period="seconds")
    own = PeriodicTask.objects.create(name="status.sweep", task="status.sweep", interval=interval)
    response = admin.get("/jobs/schedules/")
    assert [row.task for row in response.context["own"]] == [own]
    assert "No schedules yet" in text_of(response)
    for part in ("pause/", "resume/", "run/", "deletion/", ""):
        assert admin.post(f"/jobs/schedules/{own.pk}/{part}").status_code == 403
    assert PeriodicTask.objects.get(pk=own.pk).enabled


def test_what_the_settings_set_can_be_paused_and_not_edited(admin, monkeypatch, hourly):
    monkeypatch.setitem(current_app.conf.beat_schedule, hourly.name, {"task": ADD, "schedule": 3600.0})
    text = text_of(admin.get("/jobs/schedules/"))
    assert "Set by the project" in text
    assert f"/jobs/schedules/{hourly.pk}/pause/" in text
    assert f"/jobs/schedules/{hourly.pk}/deletion/" not in text
    assert admin.get(f"/jobs/schedules/{hourly.pk}/").status_code == 403
    assert admin.post(f"/jobs/schedules/{hourly.pk}/deletion/").status_code == 403
    admin.post(f"/jobs/schedules/{hourly.pk}/pause/")
    assert not PeriodicTask.objects.get().enabled


def test_who_sees_all_looks_and_changes_nothing(client, operator, alice, hourly, tracked):
    client.force_login(operator)
    text = text_of(client.get("/jobs/schedules/"))
    assert "Add hourly" in text
    assert 'method="post" action="/jobs/schedules' not in text
    assert "/jobs/schedules/new/" not in text
    assert client.get("/jobs/schedules/new/").status_code == 403
    for part in ("", "pause/", "resume/", "run/", "deletion/"):
        assert client.post(f"/jobs/schedules/{hourly.pk}/{part}").status_code == 403
    client.force_login(alice)
    assert client.get("/jobs/schedules/").status_code == 403
    assert client.get("/jobs/schedules/moments/").status_code == 403
    assert b"/jobs/schedules/" not in client.get("/jobs/").content


def test_pausing_and_resuming_are_told_to_beat_and_written(admin, hourly):
    PeriodicTasks.objects.update(last_update=timezone.now() - timedelta(days=1))
    for part, enabled in (("pause", False), ("pause", False), ("resume", True)):
        assert admin.post(f"/jobs/schedules/{hourly.pk}/{part}/").url == "/jobs/schedules/"
        assert PeriodicTask.objects.get().enabled is enabled
    assert PeriodicTasks.last_change() > timezone.now() - timedelta(minutes=1)
    done = AuditEntry.objects.order_by("id").values_list("name", "verb", "kind", "title")
    assert list(done) == [
        ("olga", "pause", "schedule", "Add hourly"),
        ("olga", "resume", "schedule", "Add hourly"),
    ]


def test_what_came_due_while_paused_is_not_made_up_for(admin, hourly):
    PeriodicTask.objects.update(last_run_at=timezone.now() - timedelta(days=3))
    admin.post(f"/jobs/schedules/{hourly.pk}/pause/")
    assert "paused" in text_of(admin.get("/jobs/schedules/"))
    admin.post(f"/jobs/schedules/{hourly.pk}/resume/")
    entry = ModelEntry(PeriodicTask.objects.get(), app=current_app._get_current_object())
    assert not entry.is_due().is_due


def test_a_get_does_nothing(admin, hourly):
    for part in ("pause", "resume", "run"):
        assert admin.get(f"/jobs/schedules/{hourly.pk}/{part}/").url == "/jobs/schedules/"
    assert "Delete Add hourly?" in text_of(admin.get(f"/jobs/schedules/{hourly.pk}/deletion/"))
    assert PeriodicTask.objects.get().enabled
    assert not Job.objects.exists()


def test_run_now_is_a_job_of_who_asked(admin, operator, hourly):
    response = admin.post(f"/jobs/schedules/{hourly.pk}/run/")
    job = Job.objects.get()
    assert response.url == job.get_absolute_url()
    assert (job.owner, job.title, job.schedule, job.task) == (operator, "Add hourly", "Add hourly", ADD)
    assert (job.signature["args"], job.signature["kwargs"]) == ([1, 2], {})
    assert AuditEntry.objects.get().details == {"job": str(job.pk)}


@pytest.mark.parametrize(("args", "said"), [("[1", "cannot be run"), ("[1, 2, 3, 4]", "cannot be run")])
def test_a_run_that_cannot_be_made_says_why(admin, hourly, args, said):
    PeriodicTask.objects.update(args=args)
    text = text_of(admin.post(f"/jobs/schedules/{hourly.pk}/run/", follow=True))
    assert said in text
    assert not Job.objects.exists()
    assert not AuditEntry.objects.exists()


def test_a_task_that_is_not_allowed_is_neither_run_nor_edited(admin, hourly):
    PeriodicTask.objects.update(task="orders.tasks.drop_all")
    text = text_of(admin.get("/jobs/schedules/"))
    assert f"/jobs/schedules/{hourly.pk}/run/" not in text
    assert f'href="/jobs/schedules/{hourly.pk}/"' not in text
    assert admin.post(f"/jobs/schedules/{hourly.pk}/run/").status_code == 403
    assert admin.get(f"/jobs/schedules/{hourly.pk}/").status_code == 403
    assert admin.get(f"{NEW}orders.tasks.drop_all").status_code == 404
    assert admin.get(f"{NEW}status.sweep").status_code == 404


def test_tasks_to_choose_from_are_those_allowed(admin, settings):
    text = text_of(admin.get("/jobs/schedules/new/"))
    assert ADD in text
    assert FARM in text
    # They ask for files.
    assert "demo.tasks.profile_csv" not in text
    settings.STATUS = {**settings.STATUS, "TRACK": ["*"]}
    assert "status.sweep" not in text_of(admin.get("/jobs/schedules/new/"))
    settings.STATUS = {**settings.STATUS, "TRACK": []}
    assert ADD not in text_of(admin.get("/jobs/schedules/new/"))
    with mock.patch.dict("status.registry.startables", clear=True):
        assert "no task that you may put on a schedule" in text_of(admin.get("/jobs/schedules/new/"))


def test_a_crontab_is_made(admin):
    data = {"name": "Nightly sum", "arguments": '{"x": 1, "y": 2}', **DAILY}
    text = text_of(admin.post(f"{NEW}{ADD}", data, follow=True))
    assert "The schedule “Nightly sum” is saved." in text
    assert "At 02:30" in text
    assert "Europe/Berlin" in text
    made = PeriodicTask.objects.get()
    assert (made.task, json.loads(made.kwargs), json.loads(made.args)) == (ADD, {"x": 1, "y": 2}, [])
    assert (made.crontab.hour, made.crontab.minute, str(made.crontab.timezone)) == (
        "2",
        "30",
        "Europe/Berlin",
    )
    entry = AuditEntry.objects.get()
    assert (entry.verb, entry.details["when"]) == ("make", "At 02:30 Europe/Berlin")


def test_a_schedule_is_edited_and_shares_its_timing_with_nobody_by_accident(admin, hourly):
    other = PeriodicTask.objects.create(name="other", task=ADD, interval=hourly.interval)
    text = text_of(admin.get(f"/jobs/schedules/{hourly.pk}/"))
    assert "1,\n  2\n]" in text
    data = {
        "name": "Add half-hourly",
        "arguments": "[3, 4]",
        "kind": "interval",
        "every": "30",
        "period": "minutes",
    }
    admin.post(f"/jobs/schedules/{hourly.pk}/", data)
    hourly.refresh_from_db()
    assert (hourly.name, hourly.args, str(hourly.interval)) == (
        "Add half-hourly",
        "[3, 4]",
        "every 30 minutes",
    )
    other.refresh_from_db()
    assert str(other.interval) == "every hour"
    assert AuditEntry.objects.get().details == {"name": "Add half-hourly", "when": "Every 30 minutes"}
    admin.post(f"/jobs/schedules/{hourly.pk}/", {**data, **DAILY})
    hourly.refresh_from_db()
    assert (hourly.interval, hourly.crontab.hour) == (None, "2")
    admin.post(f"/jobs/schedules/{other.pk}/", {**data, **DAILY, "name": "other"})
    assert CrontabSchedule.objects.count() == 1


def test_arguments_of_both_kinds_are_kept(admin, hourly):
    PeriodicTask.objects.update(args="[1]", kwargs='{"y": 2}')
    admin.post(f"/jobs/schedules/{hourly.pk}/", {"name": "a", "arguments": '{"y": 5}', **HOURLY})
    hourly.refresh_from_db()
    assert (hourly.args, hourly.kwargs) == ("[1]", '{"y": 5}')


def test_the_form_of_a_startable_asks_for_its_arguments(admin):
    text = text_of(admin.get(f"{NEW}{FARM}"))
    assert 'name="arguments-frames"' in text
    assert 'name="arguments"' not in text
    data = {"name": "Render", "arguments-frames": "0", "arguments-behaviour": "good", **HOURLY}
    assert "greater than or equal to 1" in text_of(admin.post(f"{NEW}{FARM}", data))
    assert not PeriodicTask.objects.exists()
    admin.post(f"{NEW}{FARM}", {**data, "arguments-frames": "7"})
    made = PeriodicTask.objects.get()
    assert json.loads(made.kwargs) == {"frames": 7, "behaviour": "good"}
    assert json.loads(made.headers) == {"status_job": "render-on-the-farm"}
    assert 'value="7"' in text_of(admin.get(f"/jobs/schedules/{made.pk}/"))
    admin.post(f"/jobs/schedules/{made.pk}/run/")
    assert Job.objects.get().startable == "render-on-the-farm"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"arguments": "{x: 1}"}, "This is no JSON: Expecting property name"),
        ({"arguments": "7"}, "by name in braces"),
        ({"arguments": "[1]"}, "The task does not take these"),
        ({"arguments": '{"z": 1}'}, "The task does not take these"),
        ({"name": ""}, "This field is required"),
        ({"name": "Taken"}, "Another schedule has this name"),
        ({"every": ""}, "Say how often"),
        ({"every": "0"}, "greater than or equal to 1"),
        ({"every": "x"}, "Enter a whole number"),
        ({"period": "moons"}, "Select a valid choice"),
        ({**DAILY, "minute": "60"}, "a number from 0 to 59"),
        ({**DAILY, "minute": ""}, "a number from 0 to 59"),
        ({**DAILY, "hour": "2-"}, "a number from 0 to 23"),
        ({**DAILY, "day_of_week": "7"}, "0 is Sunday"),
        ({**DAILY, "day_of_month": "31", "month_of_year": "2"}, "No such day ever comes"),
        ({**DAILY, "zone": "Berlin"}, "Select a valid choice"),
        ({**DAILY, "zone": ""}, "Choose the time zone"),
        ({"kind": "tide"}, "Select a valid choice"),
    ],
)
def test_bad_input_is_told_and_saves_nothing(admin, wrong, said):
    taken = PeriodicTask.objects.create(
        name="Taken", task=ADD, interval=IntervalSchedule.objects.create(every=1, period="days")
    )
    text = text_of(admin.post(f"{NEW}{ADD}", {"name": "New", "arguments": "[1, 2]", **HOURLY, **wrong}))
    assert said in text
    assert list(PeriodicTask.objects.all()) == [taken]


@pytest.mark.parametrize(
    "data",
    [
        {**DAILY, "every": "x", "period": "moons"},
        {**HOURLY, "minute": "?", "hour": "*" * 500, "zone": "Mars"},
    ],
)
def test_what_nobody_sees_stops_nobody(admin, data):
    admin.post(f"{NEW}{ADD}", {"name": "New", "arguments": "[1, 2]", **data})
    assert PeriodicTask.objects.get().name == "New"


def test_a_name_that_somebody_else_has_just_taken_is_told(admin):
    """Between the look and the write there is room for another."""
    PeriodicTask.objects.create(
        name="Taken", task=ADD, interval=IntervalSchedule.objects.create(every=1, period="days")
    )
    with mock.patch.object(ScheduleForm, "clean_name", lambda self: self.cleaned_data["name"]):
        text = text_of(admin.post(f"{NEW}{ADD}", {"name": "Taken", "arguments": "[1, 2]", **HOURLY}))
    assert "Another schedule has just got this name" in text
    assert (PeriodicTask.objects.count(), AuditEntry.objects.count()) == (1, 0)


def test_the_next_five_runs_are_shown_in_the_schedules_zone(admin):
    noon = datetime(2026, 10, 24, 12, tzinfo=UTC)
    with mock.patch("django.utils.timezone.now", return_value=noon):
        text = text_of(admin.get("/jobs/schedules/preview/", DAILY))
    assert text.count("<li ") == 5
    assert "Sun 25 Oct 2026, 02:30:00</time> CEST" in text
    assert "Mon 26 Oct 2026, 02:30:00</time> CET" in text
    assert "Europe/Berlin" in text
    assert "a number from 0 to 23" in text_of(admin.get("/jobs/schedules/preview/", {**DAILY, "hour": "24"}))
    never = {**DAILY, "day_of_month": "30", "month_of_year": "2"}
    assert "No such day ever comes" in text_of(admin.get("/jobs/schedules/preview/", never))


def test_without_script_a_button_shows_them_and_saves_nothing(admin):
    data = {"name": "New", "arguments": "[1, 2]", **DAILY, "preview": "1"}
    text = text_of(admin.post(f"{NEW}{ADD}", data))
    assert "02:30:00</time> CE" in text
    assert 'value="New"' in text
    assert not PeriodicTask.objects.exists()


def test_deleting_keeps_the_jobs_and_is_written(admin, hourly):
    job = Job.objects.create(task=ADD, title="t", schedule=hourly.name)
    assert "is deleted" in text_of(admin.post(f"/jobs/schedules/{hourly.pk}/deletion/", follow=True))
    assert not PeriodicTask.objects.exists()
    assert list(Job.objects.all()) == [job]
    assert AuditEntry.objects.get().title == "Add hourly"


@pytest.mark.parametrize("number", [0, 999, 2**70])
def test_a_schedule_that_is_not_there_is_not_found(admin, number):
    assert admin.get(f"/jobs/schedules/{number}/").status_code == 404
    assert admin.post(f"/jobs/schedules/{number}/pause/").status_code == 404


def test_the_moments_come_as_fragments(admin, hourly):
    text = text_of(admin.get("/jobs/schedules/moments/"))
    assert f'<span id="next-{hourly.pk}" hx-swap-oob="innerHTML"><time' in text
    assert f'<span id="last-{hourly.pk}" hx-swap-oob="innerHTML">' in text


def test_a_schedule_without_a_time_is_shown(admin, hourly):
    PeriodicTask.objects.update(interval=None)
    assert "No time is set" in text_of(admin.get("/jobs/schedules/"))


def test_one_that_is_over_says_so(admin, hourly):
    PeriodicTask.objects.update(expires=timezone.now() - timedelta(days=1))
    assert "never again" in text_of(admin.get("/jobs/schedules/"))
    later = timezone.now() + timedelta(days=3)
    PeriodicTask.objects.update(expires=None, start_time=later)
    assert (
        listing.find(
            SimpleNamespace(pk=1, is_authenticated=True, has_perm=lambda name: True), hourly.pk
        ).next_at
        > later
    )
    clocked = ClockedSchedule.objects.create(clocked_time=later)
    PeriodicTask.objects.update(interval=None, clocked=clocked, one_off=True, start_time=None)
    assert "Once, at" in text_of(admin.get("/jobs/schedules/"))


def test_a_silent_beat_and_what_it_missed_are_told(admin, hourly):
    assert "Beat has not run yet" in text_of(admin.get("/jobs/schedules/"))
    now = timezone.now()
    missed = {
        hourly.name: [3, (now - timedelta(hours=3)).timestamp(), (now - timedelta(hours=1)).timestamp()]
    }
    told = Topic.objects.create(
        name=PULSE, payload={"started_at": now.timestamp(), "missed": missed}, updated_at=now
    )
    text = text_of(admin.get("/jobs/schedules/"))
    assert "3 runs were missed while beat was down" in text
    assert "no sign of life" not in text
    told.updated_at = now - timedelta(minutes=2)
    told.payload["started_at"] -= 8 * 86_400
    told.save()
    text = text_of(admin.get("/jobs/schedules/"))
    assert "no sign of life" in text
    assert "missed while" not in text


def test_the_run_of_a_schedule_made_here_is_a_job_though_nothing_tracks_it(db):
    headers = {"periodic_task_name": "Nightly", "status_job": "render-on-the-farm"}
    request = SimpleNamespace(
        id="0b3e6bd4-6a35-4f4f-8cf7-4f6dbf5a5c01",
        args=[1, 2],
        kwargs={},
        delivery_info={},
        headers=headers,
        **headers,
    )
    assert adopted(add, request) == 1
    job = Job.objects.get()
    assert (job.schedule, job.startable, job.title) == ("Nightly", "render-on-the-farm", "Nightly")
    del request.status_job, request.headers["status_job"]
    assert adopted(add, request) is None


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"minute": "30", "hour": "2"}, "At 02:30"),
        ({"minute": "0", "hour": "8,20", "day_of_week": "1-5"}, "At 08:00, 20:00, Mon–Fri"),
        ({"minute": "0", "hour": "8", "day_of_week": "0"}, "At 08:00, Sun"),
        ({"minute": "0", "hour": "8", "day_of_week": "sun,mon"}, "At 08:00, Mon, Sun"),
        ({"minute": "*"}, "Every minute"),
        ({"minute": "*/15"}, "Every 15 minutes"),
        ({"minute": "5"}, "At minute 5"),
        ({"minute": "*/20", "hour": "9-17"}, "Every 20 minutes, in the hours 9–17"),
        ({"minute": "0", "hour": "0", "day_of_month": "1,15"}, "At 00:00, on day 1, 15 of the month"),
        ({"minute": "0", "hour": "0", "month_of_year": "1,6-8"}, "At 00:00, in January, June–August"),
    ],
)
def test_crontabs_in_words(fields, words):
    made = CrontabSchedule(
        timezone=ZoneInfo("Europe/Berlin"), **{"minute": "*", "hour": "*", **fields}
    ).schedule
    assert in_words(made) == words
    assert zone_of(made) == "Europe/Berlin"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.5, "Every 0.5 seconds"),
        (1, "Every second"),
        (45, "Every 45 seconds"),
        (3600, "Every hour"),
        (5400, "Every 90 minutes"),
        (86_400, "Every day"),
        (172_800, "Every 2 days"),
    ],
)
def test_intervals_in_words(seconds, words):
    assert in_words(schedules.schedule(seconds)) == words
    assert zone_of(schedules.schedule(seconds)) == ""


def test_every_task_with_a_form_can_be_shown_as_one(admin):
    from status.schedules.allowed import all_for

    for item in all_for(ANYBODY):
        assert ScheduleForm(item).initial_timing()["kind"] == "interval"
    assert TimingForm({}).is_valid() is False


def test_without_django_celery_beat_there_are_no_such_pages(settings):
    def names() -> set[str]:
        return {pattern.name for pattern in runpy.run_path(str(PROJECT / "status/urls.py"))["urlpatterns"]}

    assert "schedules" in names()
    settings.INSTALLED_APPS = [name for name in settings.INSTALLED_APPS if name != "django_celery_beat"]
    assert not [name for name in names() if name.startswith("schedule")]
