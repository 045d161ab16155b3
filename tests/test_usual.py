"""What is left of a job by earlier runs of its task."""

from datetime import timedelta

import pytest
from django.db import connection
from django.template.loader import render_to_string
from django.utils import timezone

from status import usual
from status.models import Job
from status.regions import Subject
from status.rendering import load
from status.states import State
from status.usual import LONGER_THAN_USUAL, Usual, tell
from status.wording import time_left

NOW = timezone.now()


def ran(owner, seconds, **values):
    ended = {"state": State.SUCCEEDED, "started_at": NOW, "finished_at": NOW + timedelta(seconds=seconds)}
    return Job.objects.create(**{"task": "t", "title": "Orders", "owner": owner} | ended | values)


def running(owner, seconds, **values):
    """A job that has run for so long and has no total."""
    began = timezone.now() - timedelta(seconds=seconds)
    fields = {"task": "t", "title": "Orders", "owner": owner, "state": State.RUNNING, "started_at": began}
    return Job.objects.create(**fields | values)


def said(job):
    tell([job])
    return time_left(job)


@pytest.mark.parametrize(
    ("took", "so_far", "left"),
    [
        ([60, 70, 80], 0, 70),
        ([60, 70, 80], 65, 10),
        ([60, 70, 80], 71.5, 10),
        ([60, 70, 80], 80, 0),
        ([100] * 20, 99, 10),
        ([200, 300, 400], 0, 300),
        ([200, 300, 400], 61, 240),
        ([9000] * 3, 1, 9000),
    ],
)
def test_what_is_left_is_the_median_of_the_runs_that_took_longer(took, so_far, left):
    assert Usual(took).left(timedelta(seconds=so_far)) == timedelta(seconds=left)


def test_after_95_percent_of_the_runs_it_takes_longer_than_usual():
    usual = Usual([*range(1, 100), 10_000])
    assert usual.left(timedelta(seconds=94)) > LONGER_THAN_USUAL
    assert usual.left(timedelta(seconds=95)) == LONGER_THAN_USUAL


def test_a_job_without_a_total_says_what_is_left_by_runs_that_succeeded(alice, bob):
    for seconds in (170, 180, 190):
        ran(bob, seconds)
    ran(alice, 9999, state=State.FAILED)
    ran(alice, 9999, task="another")
    assert said(running(alice, 60)) == "about 2 min left"
    assert said(running(alice, 9000)) == "longer than usual"
    assert said(running(alice, 60, time_left_seconds=5)) == "5 s left"
    assert said(running(alice, 60, canvas="chain")) == ""
    assert said(running(alice, 60, task="another")) == ""
    assert said(running(alice, 60, state=State.WAITING)) == ""


def test_of_fewer_than_three_runs_nothing_is_said(alice):
    ran(alice, 10)
    ran(alice, 10)
    assert said(running(alice, 1)) == ""


def test_card_and_list_say_it(alice):
    for _ in range(3):
        ran(alice, 50)
    job = running(alice, 1)
    tell([job])
    for partial in ("card", "row", "progress"):
        assert "about 50 s left" in render_to_string(f"status/partials/{partial}.html", {"job": job})


def test_an_update_costs_no_query_and_a_task_one_for_all_its_jobs(alice, django_assert_num_queries):
    for _ in range(3):
        ran(alice, 50)
    waiting = [running(alice, 1, state=State.QUEUED, started_at=None) for _ in range(3)]
    subjects = [Subject.job(job.pk) for job in waiting]
    with django_assert_num_queries(2):
        shown = load(subjects)
    with django_assert_num_queries(1):
        load(subjects)
    Job.objects.filter(pk=waiting[0].pk).update(state=State.RUNNING, started_at=timezone.now(), seq=1)
    event = Job.objects.get(pk=waiting[0].pk).event()
    with django_assert_num_queries(0):
        assert time_left(shown[subjects[0]].job.at(event)) == "about 50 s left"


def test_only_the_newest_runs_of_a_task_are_read(alice, django_assert_num_queries):
    for number in range(5):
        ran(alice, 10 + number, created_at=NOW - timedelta(days=number))
    job = running(alice, 1)
    with pytest.MonkeyPatch.context() as patch, django_assert_num_queries(1) as queries:
        patch.setattr(usual, "MOST_RUNS", 4)
        tell([job])
    assert job.usual.left(timedelta()) == timedelta(seconds=20)
    assert "LIMIT 1 OFFSET 3" in queries[0]["sql"]


def test_it_is_read_by_the_index_of_the_lists(alice, django_assert_num_queries):
    if connection.vendor != "sqlite":
        pytest.skip("The planner of the other database looks at how many rows there are.")
    job = running(alice, 1)
    with django_assert_num_queries(1) as queries:
        tell([job])
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN QUERY PLAN " + queries[0]["sql"])
        plan = " ".join(row[3] for row in cursor.fetchall())
    assert "status_list_task" in plan
    assert "SCAN" not in plan
