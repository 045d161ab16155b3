import threading
from uuid import uuid4

import pytest
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from status.models import Job, LogLine
from status.states import LIVE, RANK, TERMINAL, State

MOVES = st.tuples(
    st.sampled_from(list(State)),
    st.integers(1, 3),
    st.none() | st.integers(1, 4),
)


@pytest.fixture
def job(db):
    return Job.objects.create(task="t", title="T")


@pytest.mark.parametrize("end", sorted(TERMINAL))
@pytest.mark.parametrize("other", list(State))
def test_nothing_leaves_a_terminal_state(job, end, other):
    assert Job.objects.advance(job.pk, end, attempt=1)
    assert not Job.objects.advance(job.pk, other, attempt=1, seq=10**6)
    assert not Job.objects.advance(job.pk, other, attempt=2, seq=1)
    assert Job.objects.get().state == end


def test_an_older_attempt_changes_nothing(job):
    assert Job.objects.advance(job.pk, State.RUNNING, attempt=2, seq=1)
    assert not Job.objects.advance(job.pk, State.RUNNING, attempt=1, seq=99)
    assert not Job.objects.advance(job.pk, State.FAILED, attempt=1, seq=99)
    assert Job.objects.get().attempt == 2


def test_an_older_or_equal_number_changes_nothing(job):
    assert Job.objects.advance(job.pk, State.RUNNING, attempt=1, seq=5, progress=0.5)
    assert not Job.objects.advance(job.pk, State.RUNNING, attempt=1, seq=5, progress=0.1)
    assert not Job.objects.advance(job.pk, State.RUNNING, attempt=1, seq=4, progress=0.1)
    assert Job.objects.advance(job.pk, State.RUNNING, attempt=1, seq=6, progress=0.6)
    assert Job.objects.get().progress == 0.6


def test_waiting_is_left_by_the_next_attempt_only(job):
    assert Job.objects.advance(job.pk, State.WAITING, attempt=1, seq=2)
    assert not Job.objects.advance(job.pk, State.RUNNING, attempt=1, seq=99)
    assert Job.objects.advance(job.pk, State.RUNNING, attempt=2, seq=1)


def test_an_ending_needs_no_higher_number(job):
    Job.objects.advance(job.pk, State.RUNNING, attempt=1, seq=900)
    assert Job.objects.advance(job.pk, State.FAILED, attempt=1, seq=3)
    assert Job.objects.get().finished_at is not None


def test_a_move_without_a_number_raises_the_rows(job):
    Job.objects.advance(job.pk, State.RUNNING, attempt=1, seq=7)
    Job.objects.advance(job.pk, State.CANCELLED, attempt=1)
    assert Job.objects.get().seq == 8


def test_only_from_narrows(job):
    Job.objects.advance(job.pk, State.RUNNING, attempt=1, seq=1)
    assert not Job.objects.advance(job.pk, State.CANCELLED, attempt=1, only_from=[State.QUEUED])
    assert Job.objects.get().state == State.RUNNING


@pytest.mark.django_db
@hypothesis_settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(st.lists(MOVES, max_size=12))
def test_whatever_comes_the_row_only_moves_forward(moves):
    job = Job.objects.create(task="t", title="T")
    before = (job.attempt, RANK[job.state], job.seq)
    for state, attempt, seq in moves:
        moved = Job.objects.advance(job.pk, state, attempt=attempt, seq=seq)
        job.refresh_from_db()
        now = (job.attempt, RANK[job.state], job.seq)
        assert now > before if moved else now == before
        before = now


@pytest.mark.django_db(transaction=True)
def test_of_many_who_end_a_job_one_wins():
    job = Job.objects.create(task="t", title="T", state=State.RUNNING)
    start, won = threading.Barrier(6), []

    def end(state):
        start.wait()
        try:
            if Job.objects.advance(job.pk, state, attempt=1, error=state):
                won.append(state)
        finally:
            connection.close()

    threads = [threading.Thread(target=end, args=[state]) for state in sorted(TERMINAL) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    job.refresh_from_db()
    assert won == [job.state] == [job.error]


def test_one_live_job_holds_a_key(job):
    Job.objects.filter(pk=job.pk).update(key="k")
    with pytest.raises(IntegrityError), transaction.atomic():
        Job.objects.create(task="t", title="T", key="k")
    Job.objects.advance(job.pk, State.SUCCEEDED, attempt=1)
    Job.objects.create(task="t", title="T", key="k")


def test_jobs_without_a_key_do_not_meet(job):
    Job.objects.create(task="t", title="T", key=None)
    assert Job.objects.count() == 2


def test_cancel_is_requested_once_and_of_a_running_job_only(job):
    assert not Job.objects.request_cancel(job.pk)
    Job.objects.advance(job.pk, State.RUNNING, attempt=1, seq=1)
    assert Job.objects.request_cancel(job.pk)
    assert not Job.objects.request_cancel(job.pk)
    assert Job.objects.get().is_cancelling


def test_at_shows_an_event_and_changes_nothing(job):
    Job.objects.advance(
        job.pk,
        State.RUNNING,
        attempt=1,
        seq=3,
        progress=0.25,
        steps=[["Read", 1.0, "running", 1, 4, "rows", "", 2.0]],
    )
    row = Job.objects.get()
    shown = job.at(row.event())
    assert (shown.state, shown.percent, shown.step.name, shown.title) == (State.RUNNING, 25, "Read", "T")
    assert (job.state, job.percent) == (State.QUEUED, None)
    assert shown.event() == row.event()


def test_percents_are_not_rounded_down_twice(job):
    job.progress = 29 / 100
    assert job.percent == 29


def test_refreshing_forgets_what_was_computed(job):
    assert job.step_list == []
    Job.objects.update(steps=[["Read", 1.0, "running", 1, 4, "rows", "", 2.0]])
    job.refresh_from_db()
    assert [step.name for step in job.step_list] == ["Read"]


def test_events_takes_one_query(job, django_assert_num_queries):
    Job.objects.create(task="t", title="U")
    with django_assert_num_queries(1):
        assert len(Job.objects.events([job.pk, uuid4()])) == 1


def test_tail_is_the_last_lines_in_order(job, settings):
    settings.STATUS = {"LOG_TAIL": 3}
    now = job.created_at
    LogLine.objects.bulk_create(
        LogLine(job=job, attempt=attempt, number=number, at=now, level=20, text=f"{attempt}.{number}")
        for attempt in (1, 2)
        for number in (1, 2)
    )
    assert [line.text for line in job.tail] == ["1.2", "2.1", "2.2"]


@pytest.mark.parametrize(
    ("result", "url", "label"),
    [
        ({"url": "/orders/", "label": "See"}, "/orders/", "See"),
        ({"url": "https://example.com/"}, "https://example.com/", "https://example.com/"),
        ({"url": "javascript:alert(1)", "label": "x"}, "", "x"),
        ({"url": 7}, "", ""),
        ("text", "", ""),
        (None, "", ""),
    ],
)
def test_only_safe_addresses_become_links(result, url, label):
    job = Job(result=result)
    assert (job.result_url, job.result_label) == (url, label)


def test_live_and_terminal_make_all_states():
    assert set(State) == LIVE | TERMINAL


def test_a_job_is_found_by_its_id_among_those_asked_without_ordering_them(job):
    Job.objects.filter(pk=job.pk).update(state=State.RUNNING)
    with CaptureQueriesContext(connection) as asked:
        assert Job.objects.live().only("title").find(job.pk) == job
    assert "ORDER BY" not in asked[0]["sql"]
    assert Job.objects.exclude(state=State.RUNNING).find(job.pk) is None
    assert Job.objects.find(str(job.pk)) == job
    assert Job.objects.find(uuid4()) is None
