import asyncio
import logging
import threading
import time

import pytest
from django.db import DatabaseError, OperationalError

from status import channel, reporter
from status.live import LiveJob, set_current
from status.models import Job
from status.models.queries import JobQuerySet
from status.progress import JobCancelled, log, plan, step, track
from status.reporter import Reporter
from status.speed import Speed
from status.states import State
from status.watch import Ending, Watch, unwritten
from tests.processes import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def fast(settings):
    settings.STATUS = {"CHECKPOINT_SECONDS": 0.05}


@pytest.fixture
def running(published):
    """A reporter and a job that it reports for."""
    own = Reporter()
    job = Job.objects.create(task="t", title="T", state=State.RUNNING)
    live = LiveJob(job.pk)
    own.begin(live)
    set_current(live)
    yield own, live, job
    set_current(None)
    if own.reports(live):
        own.end(live, Ending(state=State.CANCELLED))


def test_a_lone_update_is_published_at_once(running, published):
    own, live, job = running
    wait_until(lambda: live.attention)
    before, began = len(published), time.monotonic()
    step("Render").update(1, total=4)
    wait_until(lambda: len(published) > before and published[-1].progress == 0.25)
    assert time.monotonic() - began < 1.0


def test_a_flood_is_conflated_and_its_last_value_arrives(running, published):
    own, live, job = running
    counter = step("Flood")
    began = time.monotonic()
    number = 0
    while time.monotonic() - began < 1.0:
        number += 1
        counter.update(number, total=10**9)
    wait_until(lambda: published[-1].steps and published[-1].steps[0].current == number)
    assert len(published) <= 16
    assert [e.seq for e in published] == sorted(e.seq for e in published)


def test_a_new_step_waits_for_nobody(running, published, settings):
    settings.STATUS = {"PUBLISH_SECONDS": 30}
    step("First").update(1)
    wait_until(lambda: published and published[-1].steps and published[-1].steps[-1].name == "First")
    step("Second").update(1)
    wait_until(lambda: published[-1].steps[-1].name == "Second", 5)


def test_the_row_is_written_and_a_cancel_request_found(running, fast):
    own, live, job = running
    step("Render").update(1, total=4)

    def written():
        job.refresh_from_db()
        return job.progress == 0.25

    wait_until(written)
    Job.objects.request_cancel(job.pk)
    wait_until(lambda: live.cancel_requested_at)
    with pytest.raises(JobCancelled):
        step("Render").update(2)


def test_an_overtaken_attempt_is_stopped_and_writes_nothing(running, fast, published):
    own, live, job = running
    assert Job.objects.advance(job.pk, State.RUNNING, attempt=2, seq=1, worker="other")
    wait_until(lambda: live.fenced)
    with pytest.raises(JobCancelled):
        step("Render").update(1)
    own.end(live, Ending(state=State.SUCCEEDED))
    job.refresh_from_db()
    assert (job.state, job.attempt, job.worker) == (State.RUNNING, 2, "other")
    assert not any(event.is_terminal for event in published)


def test_the_task_goes_on_without_the_database_and_the_row_catches_up(running, fast, monkeypatch, caplog):
    own, live, job = running
    real = type(Job.objects).advance

    def broken(*args, **kwargs):
        raise DatabaseError("gone")

    monkeypatch.setattr(type(Job.objects), "advance", broken)
    for _ in track(range(1000), "Import"):
        pass
    wait_until(lambda: "Rows not written" in caplog.text)
    own.end(live, Ending(state=State.SUCCEEDED, columns={"result": 7}))
    job.refresh_from_db()
    assert job.state == State.RUNNING
    monkeypatch.setattr(type(Job.objects), "advance", real)

    def caught_up():
        job.refresh_from_db()
        return job.state == State.SUCCEEDED

    wait_until(caught_up)
    assert job.result == 7
    assert job.step_list[0].current == 1000


def test_lines_wait_for_the_database_and_come_once(running, fast, monkeypatch, caplog):
    own, live, job = running
    real = reporter._insert_lines
    calls = []

    def answer_lost(live, lines):
        real(live, lines)
        if len(calls) < 2:
            calls.append(1)
            raise DatabaseError("the answer was lost")

    monkeypatch.setattr(reporter, "_insert_lines", answer_lost)
    for number in range(5):
        log("line %d", number)
    wait_until(lambda: len(calls) == 2)
    own.end(live, Ending(state=State.SUCCEEDED))
    assert [line.text for line in job.tail] == [f"line {number}" for number in range(5)]


def test_dropped_lines_are_told(running, settings, caplog):
    own, live, job = running
    settings.STATUS = {"LOG_BUFFER": 5, "CHECKPOINT_SECONDS": 30}
    for number in range(200_000):
        log("line %d", number)
        if live.dropped:
            break
    assert live.dropped
    own.end(live, Ending(state=State.SUCCEEDED))
    own_lines = list(job.lines.order_by("number").values_list("text", flat=True))
    assert any("could not be kept" in text for text in own_lines)


def test_the_next_attempt_may_begin_in_the_same_process_before_this_one_ends(running, published):
    """A message for the next attempt is sent before the attempt that asks for it has ended."""
    own, live, job = running
    log("first")
    second = LiveJob(job.pk, attempt=2)
    assert Job.objects.advance(job.pk, State.RUNNING, attempt=2, seq=1)
    own.begin(second)
    assert own.reports(live)
    own.end(live, Ending(state=State.WAITING))
    assert own.reports(second)
    second.add_line(logging.INFO, "second")
    own.end(second, Ending(state=State.SUCCEEDED))
    job.refresh_from_db()
    assert (job.state, job.attempt) == (State.SUCCEEDED, 2)
    assert list(job.lines.order_by("attempt").values_list("text", flat=True)) == ["first", "second"]


def test_a_job_whose_row_is_gone_is_given_up(running, fast, caplog):
    own, live, job = running
    with own._watches[live.id, live.attempt].lock:
        log("to whom?")
        Job.objects.all().delete()
    wait_until(lambda: live.fenced, what="stopped")
    assert "its row is gone, 1 log lines with it" in caplog.text
    log("once more")
    own.end(live, Ending(state=State.FAILED))
    assert own._late == []


def test_an_ending_is_written_before_it_is_published(running, monkeypatch):
    own, live, job = running
    seen = []

    def look(event):
        seen.append((event.state, Job.objects.get(pk=job.pk).state))

    monkeypatch.setattr(channel, "publish", look)
    own.end(live, Ending(state=State.SUCCEEDED))
    assert (State.SUCCEEDED, State.SUCCEEDED) in seen


def test_what_was_seen_before_the_end_is_not_published_after_it(published, monkeypatch):
    """The task's thread ends the job between the reporter's look at it and what it would publish."""
    own = Reporter()
    job = Job.objects.create(task="t", title="T", state=State.RUNNING)
    live, look = LiveJob(job.pk, eager=True), Watch.snapshot
    own.begin(live)

    def ends_meanwhile(watch, now):
        seen = look(watch, now)
        own.end(live, Ending(state=State.SUCCEEDED))
        return seen

    monkeypatch.setattr(Watch, "snapshot", ends_meanwhile)
    own._publish(own._watches[live.id, live.attempt], time.monotonic())
    assert [event.state for event in published] == [State.SUCCEEDED]


def test_success_ends_the_steps_and_failure_leaves_them(running):
    own, live, job = running
    plan({"a": 1, "b": 1})
    step("a").update(1, total=2)
    own.end(live, Ending(state=State.FAILED))
    job.refresh_from_db()
    assert [s.state for s in job.step_list] == ["running", "pending"]


def test_the_thread_sleeps_when_nothing_runs(published):
    own = Reporter()
    job = Job.objects.create(task="t", title="T", state=State.RUNNING)
    live = LiveJob(job.pk)
    own.begin(live)
    own.end(live, Ending(state=State.SUCCEEDED))
    ticks = []
    own._tick, tick = lambda: ticks.append(1) or tick(), own._tick
    own._wake.set()
    wait_until(lambda: ticks)
    # For a second it looks for another job; then it waits without a timeout, and a job wakes it.
    wait_until(lambda: own._asleep)
    assert tick() is None
    seen = len(ticks)
    other = LiveJob(Job.objects.create(task="t", title="T", state=State.RUNNING).pk)
    own.begin(other)
    wait_until(lambda: len(ticks) > seen)
    own.end(other, Ending(state=State.SUCCEEDED))


def test_an_eager_job_has_no_thread(published):
    own = Reporter()
    job = Job.objects.create(task="t", title="T", state=State.RUNNING)
    live = LiveJob(job.pk, eager=True)
    own.begin(live)
    own.end(live, Ending(state=State.SUCCEEDED))
    assert own._thread is None
    job.refresh_from_db()
    assert job.state == State.SUCCEEDED


def test_speed_is_the_slope_of_the_last_seconds():
    speed, of = Speed(), object()
    assert speed.sample(of, 0, 0.0) is None
    assert speed.sample(of, 10, 0.4) is None
    assert speed.sample(of, 20, 1.0) == pytest.approx(20)
    for second in range(2, 30):
        measured = speed.sample(of, 20 + (second - 1) * 5, float(second))
    assert measured == pytest.approx(5)
    assert speed.sample(object(), 0, 30.0) is None


def test_update_and_track_do_no_io(running, monkeypatch):
    own, live, job = running

    def refuse(*args, **kwargs):
        if threading.current_thread() is threading.main_thread():
            raise AssertionError("I/O in the task's thread")

    with monkeypatch.context() as patch:
        patch.setattr(channel, "publish", refuse)
        patch.setattr("django.db.backends.utils.CursorWrapper.execute", refuse)
        patch.setattr(asyncio, "new_event_loop", refuse)
        for number in track(range(2000), "Import"):
            step("inner").update(number)
            log("line %d", number, level=logging.INFO)


def test_an_end_writes_what_the_row_does_not_hold_yet_and_nothing_else(running):
    own, live, job = running
    held = {"worker": "w", "stoppable": False, "started_at": live.started_at, "line_count": 0, "steps": []}
    live.worker, live.written = "w", held
    assert set(unwritten(live, live.event())) & set(held) == set()
    plan({"a": 1})
    assert {"steps"} == set(unwritten(live, live.event())) & set(held)
    Job.objects.update(worker="untouched")
    own.end(live, Ending(state=State.SUCCEEDED))
    job.refresh_from_db()
    assert (job.worker, [step.name for step in job.step_list]) == ("untouched", ["a"])


def test_after_a_write_whose_answer_was_lost_all_is_written_again(running, fast, monkeypatch):
    own, live, job = running
    advance, live.written = JobQuerySet.advance, {"worker": ""}

    def lose_the_answer(self, *args, **kwargs):
        advance(self, *args, **kwargs)
        raise OperationalError("gone")

    monkeypatch.setattr(JobQuerySet, "advance", lose_the_answer)
    wait_until(lambda: live.written == {})
    monkeypatch.undo()
    wait_until(lambda: live.written)
