"""What ended, counted by task and time; and the figures and charts that are made of it."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection, connections
from django.db.models import F
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from status import charts, figures
from status.endings import ended_after
from status.models import Bucket, Job
from status.sources import counting
from status.sources.counting import count_ended, prune_buckets
from status.states import State
from status.windows import WINDOWS, floor

pytestmark = pytest.mark.django_db

LOAD, MAIL = "orders.tasks.load", "mail.tasks.send"


def make(count=1, *, ago=60.0, runs=2.0, waits=1.0, state=State.SUCCEEDED, **fields):
    """Jobs that ended `ago` seconds ago."""
    finished = timezone.now() - timedelta(seconds=ago)
    started = finished - timedelta(seconds=runs)
    created = started - timedelta(seconds=waits)
    moments = {"finished_at": finished, "started_at": started, "created_at": created, "sent_at": created}
    columns = {"task": LOAD, "title": "t", "state": state} | moments | fields
    return Job.objects.bulk_create([Job(**columns) for _number in range(count)], batch_size=1000)


def read(window="1h", task="", now=None):
    return figures.read_figures(WINDOWS[window], task, now or timezone.now())


def test_each_job_is_counted_once_by_task_and_outcome():
    make(3)
    make(2, state=State.FAILED, failure="error")
    make(1, state=State.FAILED, failure="timeout")
    make(1, state=State.CANCELLED)
    make(4, task=MAIL)
    assert count_ended() == 11
    assert count_ended() == 0
    for window in WINDOWS:
        found = read(window)
        assert (found.whole.ended, found.whole.failed, found.whole.cancelled, found.whole.succeeded) == (
            (11, 3, 1, 7)
        )
        assert found.failures == {"error": 2, "timeout": 1}
        assert [(line.task, line.ended, line.failed) for line in found.tasks] == [(LOAD, 7, 3), (MAIL, 4, 0)]
    assert read(task=MAIL).whole.ended == 4
    make(5)
    assert count_ended() == 5
    assert read().whole.ended == 16
    assert read(task=LOAD).whole.ended == 12


def test_durations_are_told_over_all_spans():
    for number in range(100):
        make(ago=60 + number * 30, runs=10.0 if number % 10 == 0 else 1.0, waits=0.5)
    count_ended()
    line = read("24h").tasks[0]
    assert line.runs.percentile(0.5) == pytest.approx(1.0, rel=0.1)
    assert line.runs.percentile(0.95) == pytest.approx(10.0, rel=0.1)
    assert line.waits.percentile(0.5) == pytest.approx(0.5, rel=0.1)
    assert line.runs.count == line.waits.count == 100


def test_members_count_and_a_canvas_does_not():
    whole = make(canvas="group", task="group")[0]
    make(7, parent=whole, root=whole)
    make(1, canvas="chain", task="chain", parent=whole, root=whole)
    count_ended()
    assert read().whole.ended == 7
    assert [line.task for line in read().tasks] == [LOAD]


def test_only_the_wait_of_a_first_attempt_is_known():
    make(2, attempt=2)
    make(3, attempt=4, polls=3)
    whole = make(canvas="group", task="group")[0]
    # What a member waits before its turn comes is no wait for a worker.
    make(1, parent=whole, root=whole, sent_at=timezone.now() - timedelta(seconds=65), waits=3600)
    make(1, started_at=None)
    count_ended()
    whole = read().whole
    assert whole.runs.count == 6
    assert whole.waits.count == 4
    assert whole.waits.percentile(1.0) < 5


def test_the_youngest_are_left_for_the_next_time():
    make(3, ago=1)
    assert count_ended() == 0
    Job.objects.update(finished_at=timezone.now() - timedelta(seconds=6))
    assert count_ended() == 3


def test_many_are_counted_in_batches_and_the_rest_the_next_time(monkeypatch):
    monkeypatch.setattr(counting, "BATCH", 10)
    make(55)
    assert [count_ended() for _time in range(3)] == [40, 15, 0]
    assert read().whole.ended == 55


def test_a_job_that_ended_twice_is_counted_twice():
    job = make()[0]
    count_ended()
    Job.objects.filter(pk=job.pk).update(finished_at=timezone.now() - timedelta(seconds=20), attempt=2)
    count_ended()
    assert read().whole.ended == 2


@pytest.mark.django_db(transaction=True)
def test_however_many_count_at_once_each_job_is_counted_once():
    make(300)

    def count(_number):
        try:
            return count_ended()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(count, range(4))) == 300
    assert read().whole.ended == 300


def test_what_fails_midway_is_counted_by_the_next(monkeypatch):
    make(3)
    monkeypatch.setattr(counting, "_write", lambda counts: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        count_ended()
    monkeypatch.undo()
    assert count_ended() == 3
    assert read().whole.ended == 3


def test_what_no_window_shows_any_more_goes():
    make(ago=60)
    make(ago=2 * 3600)
    make(ago=2 * 86_400)
    make(ago=6.5 * 86_400)
    make(ago=8 * 86_400)
    assert count_ended() == 4
    assert [read(window).whole.ended for window in WINDOWS] == [1, 2, 4]
    assert prune_buckets() == 0
    Bucket.objects.update(at=F("at") - timedelta(days=2))
    assert prune_buckets() == 2 * (1 + 2 + 1)
    assert [read(window).whole.ended for window in WINDOWS] == [0, 0, 3]


def test_figures_are_three_queries_however_much_has_ended(django_assert_num_queries):
    for task in range(60):
        make(3, task=f"task{task:02}", ago=task * 50 + 10)
    count_ended()
    with django_assert_num_queries(3):
        found = read("24h")
    assert len(found.tasks) == figures.MOST_TASKS
    assert len(found.points) == 96


def test_counting_costs_as_much_whatever_ended_before(django_assert_max_num_queries):
    make(2_000, ago=7200)
    count_ended()
    with CaptureQueriesContext(connection) as idle:
        count_ended()
    assert len(idle) == 3
    make(50)
    with django_assert_max_num_queries(9):
        count_ended()


@pytest.mark.parametrize("statement", ["ANALYZE", "SELECT 1"])
def test_counting_and_figures_use_indexes(statement):
    whole = make(canvas="group", task="group")[0]
    for hour in range(100):
        make(10, ago=hour * 3600 + 10)
        make(10, ago=hour * 3600 + 10, parent=whole, root=whole)
    count_ended()
    with connection.cursor() as cursor:
        cursor.execute(statement)
    place = timezone.now() - timedelta(minutes=5), uuid4()
    for members, index in ((False, "status_job_ended"), (True, "status_job_member_ended")):
        plan = ended_after(place, timezone.now(), members=members).explain()
        assert index in plan, plan
    lately = Bucket.objects.filter(span_seconds=60, at__gte=timezone.now() - timedelta(hours=1))
    assert "span_seconds=? AND at>?" in lately.explain() or "status_bucket_place" in lately.explain()


# -- charts --------------------------------------------------------------------------------------------------


def test_bars_stand_on_each_other_and_reach_no_higher_than_the_top():
    now = timezone.now()
    make(3, ago=120)
    make(2, ago=120, state=State.FAILED)
    count_ended()
    chart = charts.throughput(read(now=now))
    (bar,) = chart.bars
    assert chart.top == 5
    assert [(part.outcome, part.y, part.height) for part in bar.parts] == [
        ("succeeded", "80", "120"),
        ("failed", "0", "80"),
    ]
    assert bar.point.at == floor(now - timedelta(seconds=120), 60)
    assert 0 <= float(bar.x) <= 1000


def test_a_line_has_gaps_where_nothing_ended():
    now = floor(timezone.now(), 60) + timedelta(seconds=30)
    for minutes in (10, 9, 5):
        make(ago=(timezone.now() - now).total_seconds() + minutes * 60)
    count_ended()
    half, most = charts.running(read(now=now)).lines
    assert (half.part, most.part) == ("p50", "p95")
    assert [len(piece.split()) for piece in half.runs] == [2, 2]
    alone = half.runs[1].split()
    assert alone[0] == alone[1]


def test_without_figures_there_is_a_chart_without_bars():
    assert charts.throughput(read()).bars == ()
    assert charts.waiting(read()).lines[0].runs == ()


@pytest.mark.parametrize("window", WINDOWS.values(), ids=WINDOWS)
def test_a_window_ends_now_and_its_spans_do_not_overlap(window):
    now = timezone.now()
    begins = window.begins(now)
    ends = begins + timedelta(seconds=window.seconds)
    assert begins == floor(begins, window.span_seconds)
    assert ends - timedelta(seconds=window.span_seconds) <= now < ends
