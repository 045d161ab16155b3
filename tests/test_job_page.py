"""What a job's page tells beside its progress: timeline, earlier runs, arguments, the whole log."""

import re
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from status.arguments import MASK, arguments_of
from status.models import Job, LogLine
from status.runs import MOST_RUNS, failed_alike, runs_like
from status.states import State
from status.timeline import timeline
from tests import tasks

NOW = timezone.now()


def second(number):
    return NOW + timedelta(seconds=number)


def job_of(owner, **values):
    return Job.objects.create(**{"task": "t", "title": "Orders", "owner": owner} | values)


def run(owner, seconds, **values):
    """An ended run that took so long."""
    ended = {"state": State.SUCCEEDED, "started_at": NOW, "finished_at": second(seconds)}
    return job_of(owner, **ended | values)


def told(job):
    return [
        (moment.label, None if moment.lasted is None else moment.lasted.total_seconds())
        for moment in timeline(job)
    ]


def test_a_timeline_tells_how_long_it_waited_and_ran(alice):
    job = job_of(alice, created_at=NOW, started_at=second(4), finished_at=second(64), state=State.FAILED)
    assert told(job) == [("Queued", 4.0), ("Started", 60.0), ("Failed", None)]


def test_a_timeline_of_a_later_attempt_claims_no_waiting_time(alice):
    job = job_of(alice, created_at=NOW, started_at=second(90), attempt=2, state=State.RUNNING)
    assert told(job) == [("Queued", None), ("Attempt 2 started", None)]


def test_a_timeline_shows_when_it_goes_on(alice):
    job = job_of(alice, created_at=NOW, started_at=second(1), state=State.WAITING, next_at=second(60))
    assert told(job)[-1] == ("Next attempt", None)
    assert timeline(job)[-1].is_ahead


def test_a_timeline_shows_since_when_it_was_asked_to_end(alice):
    job = job_of(
        alice, created_at=NOW, started_at=second(1), cancel_requested_at=second(2), state=State.RUNNING
    )
    assert [label for label, _ in told(job)] == ["Queued", "Started", "Asked to cancel"]


def test_clocks_that_differ_make_no_negative_time(alice):
    job = job_of(alice, created_at=second(1), started_at=NOW, finished_at=second(3), state=State.SUCCEEDED)
    assert told(job) == [("Queued", 0.0), ("Started", 3.0), ("Succeeded", None)]


def test_earlier_runs_of_the_task_that_i_may_see(alice, bob):
    mine = [run(alice, seconds) for seconds in (10, 20, 60)]
    run(bob, 999)
    run(alice, 999, task="another")
    job = job_of(alice, state=State.RUNNING, started_at=NOW)
    found = runs_like(job, alice)
    assert [r.job_id for r in found.runs] == [j.pk for j in mine]
    assert found.usual == timedelta(seconds=20)
    assert [bar.height for bar in found.bars] == [8.0, 16.0, 48.0]


def test_what_failed_does_not_count_for_what_is_usual(alice):
    for seconds in (10, 20):
        run(alice, seconds)
    job = run(alice, 1, state=State.FAILED)
    assert runs_like(job, alice).usual is None
    assert [r.is_this for r in runs_like(job, alice).runs] == [False, False, True]


def test_an_operator_sees_everybodys_runs(alice, bob, operator):
    for owner in (alice, bob):
        run(owner, 5)
    assert len(runs_like(run(alice, 5), operator)) == 3


def test_runs_are_so_many_at_most_and_one_query(alice, operator, django_assert_num_queries):
    for seconds in range(MOST_RUNS + 5):
        last = run(alice, seconds + 1)
    for user in (alice, operator):
        user.has_perm("status.view_job")
        with django_assert_num_queries(1):
            assert len(runs_like(last, user)) == MOST_RUNS


def test_runs_are_looked_for_among_the_newest_jobs_alone(
    alice, operator, monkeypatch, django_assert_num_queries
):
    monkeypatch.setattr("status.runs.MOST_LOOKED_AT", 4)
    old, *_others = [
        run(alice, seconds, task=task) for seconds, task in ((9, "a"), (8, "b"), (7, "b"), (6, "b"))
    ]
    assert [r.job_id for r in runs_like(old, alice).runs] == [old.pk]
    newer = run(alice, 5, task="b")
    assert runs_like(old, alice).runs == []
    assert len(runs_like(newer, alice)) == 4
    # Who sees all looks among those of the task.
    assert [r.job_id for r in runs_like(old, operator).runs] == [old.pk]
    if connection.vendor != "sqlite":
        return
    for user, index in ((alice, "status_list_owner (owner_id=?"), (operator, "status_list_task (task=?")):
        with django_assert_num_queries(1) as queries:
            runs_like(old, user)
        with connection.cursor() as cursor:
            cursor.execute("EXPLAIN QUERY PLAN " + queries[0]["sql"])
            plan = [row[3] for row in cursor.fetchall()]
        assert f"SEARCH status_job USING INDEX {index} AND created_at>?)" in plan


def test_the_chart_of_runs_is_told_in_words_too(client, alice):
    jobs = [run(alice, seconds) for seconds in (10, 20, 60)]
    client.force_login(alice)
    text = client.get(jobs[0].get_absolute_url()).content.decode()
    assert 'aria-label="How long the last 3 runs took, the longest 1 min 0 s"' in text
    assert "Usually takes 20 s" in text
    assert f'href="{jobs[2].get_absolute_url()}"' in text


def test_arguments_have_the_names_of_the_tasks_function(alice):
    signature = dict(tasks.fail.s("no price"))
    job = job_of(alice, task=tasks.fail.name, signature=signature)
    assert [value for _, value in arguments_of(job)] == ['"no price"']
    assert arguments_of(job)[0][0].isidentifier()


def test_arguments_of_a_task_that_is_not_known_here_are_numbered(alice):
    job = job_of(alice, signature={"args": [1, "two"], "kwargs": {"three": None}})
    assert arguments_of(job) == [("1", "1"), ("2", '"two"'), ("three", "null")]


def test_secrets_are_masked_by_name_at_any_depth(alice, client):
    kwargs = {
        "DB_Password": "hunter2",
        "login": {"api_key": "hunter2", "host": "h"},
        "list": [{"token": "hunter2"}],
    }
    job = job_of(alice, signature={"args": [], "kwargs": kwargs})
    client.force_login(alice)
    text = client.get(job.get_absolute_url()).content.decode()
    assert "hunter2" not in text
    assert text.count(MASK) == 3
    assert "&quot;host&quot;: &quot;h&quot;" in text


def test_which_names_are_secret_is_a_setting(alice, settings):
    settings.STATUS = {"SECRET_NAMES": ["iban"]}
    job = job_of(alice, signature={"kwargs": {"iban": "DE1", "password": "x"}})
    assert arguments_of(job) == [("iban", MASK), ("password", '"x"')]


def test_a_long_argument_is_cut(alice):
    job = job_of(alice, signature={"kwargs": {"text": "a" * 100_000}})
    assert len(arguments_of(job)[0][1]) < 2100


@pytest.fixture
def logged(client, alice):
    """A job with 450 lines, each tenth an error; gives a function that reads a page of its log."""
    job = job_of(alice)
    LogLine.objects.bulk_create(
        LogLine(
            job=job,
            attempt=1 + n // 400,
            number=n % 400 + 1,
            at=NOW,
            level=20 if n % 10 else 40,
            text=f"row-{n}.",
        )
        for n in range(450)
    )
    client.force_login(alice)

    def read(query=""):
        response = client.get(f"{job.get_absolute_url()}lines/{query}")
        assert response.status_code == 200
        text = response.content.decode()
        links = {
            rel: href.replace("&amp;", "&") for href, rel in re.findall(r'href="([^"]*)" rel="(\w+)"', text)
        }
        return [int(n) for n in re.findall(r"row-(\d+)\.", text)], links

    return read


def test_the_log_begins_with_its_end_and_every_line_can_be_reached(logged):
    lines, links = logged()
    assert lines == list(range(250, 450))
    assert set(links) == {"prev"}
    older, links = logged(links["prev"])
    assert older == list(range(50, 250))
    oldest, more = logged(links["prev"])
    assert oldest == list(range(50))
    assert set(more) == {"next"}
    assert logged(more["next"])[0] == older
    assert logged(links["next"])[0] == lines


def test_the_log_by_level_and_words(logged):
    assert logged("?level=error")[0] == list(range(0, 450, 10))
    assert logged("?q=ROW-44")[0] == [44, *range(440, 450)]
    assert logged("?q=row-44&level=error")[0] == [440]
    assert logged("?q=nothing")[0] == []


def test_filters_stay_on_the_way_through_the_pages(logged):
    _, links = logged("?q=row&level=info")
    assert "q=row" in links["prev"]
    assert all(n % 10 for n in logged(links["prev"])[0]) is False
    assert logged(links["prev"])[0] == list(range(50, 250))


@pytest.mark.parametrize(
    "query", ["?before=x", "?after=1", "?before=1.2.3", "?level=loud", "?after=9999999999.1"]
)
def test_a_place_or_level_that_is_none_does_not_exist(client, alice, query):
    job = job_of(alice)
    client.force_login(alice)
    assert client.get(f"{job.get_absolute_url()}lines/{query}").status_code == 404


def test_someone_elses_log_does_not_exist(client, alice, bob):
    client.force_login(bob)
    assert client.get(f"{job_of(alice).get_absolute_url()}lines/").status_code == 404


def test_a_hundred_thousand_lines_do_no_harm(client, alice, django_assert_max_num_queries):
    job = job_of(alice)
    lines = (
        LogLine(job=job, attempt=1, number=n, at=NOW, level=20, text=f"row-{n}.") for n in range(100_000)
    )
    LogLine.objects.bulk_create(lines, batch_size=5000)
    client.force_login(alice)
    client.get(job.get_absolute_url())
    with django_assert_max_num_queries(7):
        response = client.get(f"{job.get_absolute_url()}lines/?before=1.50000")
    assert len(re.findall(rb"row-\d+\.", response.content)) == 200
    assert len(re.findall(rb"row-\d+\.", client.get(job.get_absolute_url()).content)) == 200


def test_a_failed_job_leads_to_others_with_the_same_error(client, alice, bob):
    def fail(owner, error, task="orders.import"):
        return Job.objects.create(
            task=task, title="T", owner=owner, state="failed", error=error, finished_at=timezone.now()
        )

    job = fail(alice, "Row 17 has no amount.")
    assert failed_alike(job, alice) is None
    other = fail(alice, "Row 94 has no amount.")
    fail(alice, "Disk full")
    fail(alice, "Row 3 has no amount.", task="orders.export")
    fail(bob, "Row 5 has no amount.")
    client.force_login(alice)
    text = client.get(f"/jobs/{job.pk}/").content.decode()
    assert "Same error in 1 other job<" in text
    shown = client.get(f"/jobs/?{failed_alike(job, alice).query}").content.decode()
    assert re.findall(r'data-job="([^"]+)"', shown) == [str(other.pk), str(job.pk)]


def test_the_houses_link_to_what_failed_shows_just_that(client, alice):
    for task, state in (
        ("orders.import", "failed"),
        ("orders.import", "succeeded"),
        ("orders.export", "failed"),
    ):
        Job.objects.create(task=task, title=f"{task} {state}", owner=alice, state=state)
    client.force_login(alice)
    text = client.get("/jobs/?state=failed&task=orders.import").content.decode()
    assert text.count("data-job=") == 1
    assert "orders.import failed" in text
