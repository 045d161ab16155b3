"""What comes late, twice or not at all, one case after the other; test_lifecycle_machine.py found most of them."""

from datetime import timedelta

import pytest
from celery import shared_task, signals
from django.db import OperationalError, connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from status import jobs, outbox
from status.call_off import add_postscript
from status.live import JobCancelled
from status.models import Job, LogLine
from status.sources import sweep
from status.sources.remote import PollAgain, poll_again
from status.states import Failure, State
from tests.stage import Stage

pytestmark = pytest.mark.django_db(transaction=True)


@shared_task(bind=True, max_retries=None, name="tests.staged")
def staged(self):
    """What it does is played by the test."""


@pytest.fixture
def stage(monkeypatch):
    made = Stage()
    made.install(monkeypatch)
    return made


def begun(stage, **options):
    """A job, its execution, and the message it came with."""
    job = jobs.start(staged.s().set(**{k: v for k, v in options.items() if k == "expires"}), repeatable=True)
    message = stage.messages.pop()
    run = stage.deliver(message)
    assert now(job).state == State.RUNNING
    return job, run, message


def now(job):
    job.refresh_from_db()
    return job


def declared_lost(stage, job):
    stage.wait(60)
    assert sweep.expire_leases() == 1
    assert now(job).state == State.WAITING


def test_a_message_that_comes_again_does_not_end_what_is_asked_to_stop(stage):
    """The execution ends it: it may be past the last place where it could have been stopped."""
    job, run, message = begun(stage)
    jobs.cancel(job)
    assert stage.deliver(message) is None
    assert now(job).state == State.RUNNING
    run.succeed()
    assert now(job).state == State.SUCCEEDED


def test_a_message_that_comes_again_too_late_does_not_fail_what_runs(stage):
    job, run, message = begun(stage, expires=10)
    stage.wait(20)
    assert stage.deliver(message) is None
    assert now(job).state == State.RUNNING
    run.fail(ValueError("no"))
    jobs.retry(job)
    assert stage.deliver(message) is None
    assert (now(job).state, job.attempt) == (State.QUEUED, 2)


@pytest.mark.parametrize("comes_again", [False, True])
def test_a_message_that_comes_too_late_fails_what_has_not_begun(stage, comes_again):
    """Also one that a task has put back: nobody else will bring that."""
    from celery.exceptions import Reject

    if comes_again:
        job, run, message = begun(stage, expires=10)
        run.leave(Reject(requeue=True))
        assert now(job).state == State.WAITING
    else:
        job = jobs.start(staged.s().set(expires=10))
        message = stage.messages.pop()
    stage.wait(20)
    assert stage.deliver(message) is None
    assert (now(job).state, job.failure) == (State.FAILED, Failure.TIMEOUT)
    assert "expired" in job.error


def test_a_retry_that_expires_fails_the_job(stage):
    job, run, message = begun(stage, expires=100)
    run.retry()
    stage.wait(200)
    # The first one's copy says nothing of the next attempt.
    stage.deliver(message)
    assert now(job).state == State.WAITING
    stage.deliver(stage.messages.pop())
    assert (now(job).state, job.failure) == (State.FAILED, Failure.TIMEOUT)


def test_a_cancel_just_before_a_retry_ends_the_job_and_not_only_when_that_is_due(stage):
    job, run, _message = begun(stage)
    jobs.cancel(job)
    run.retry(countdown=600)
    assert now(job).state == State.CANCELLED
    assert run.live.cancel_requested_at is None
    assert stage.deliver(stage.messages.pop()) is None
    assert now(job).state == State.CANCELLED


def test_who_was_taken_for_lost_and_stops_does_not_cancel_the_repetition(stage):
    job, run, _message = begun(stage)
    declared_lost(stage, job)
    run.checkpoint()
    assert run.shall_stop
    run.leave(JobCancelled())
    assert now(job).state == State.WAITING
    again = stage.deliver(stage.messages.pop())
    again.succeed()
    assert (now(job).state, job.attempt) == (State.SUCCEEDED, 2)


def test_nor_does_it_fail_by_cleaning_up(stage):
    job, run, _message = begun(stage)
    declared_lost(stage, job)
    run.checkpoint()
    run.fail(OSError("the scratch folder is gone"))
    assert now(job).state == State.WAITING


def test_but_what_it_did_all_the_same_counts(stage):
    """It had come to its end before anybody began anew: to repeat it would be wrong."""
    job, run, _message = begun(stage)
    declared_lost(stage, job)
    run.succeed()
    assert now(job).state == State.SUCCEEDED
    assert stage.deliver(stage.messages.pop()) is None


def test_who_was_taken_for_lost_does_not_say_when_it_is_polled(stage):
    """The message of the repetition is out; it would begin as a poll that nobody asked for."""
    job, run, _message = begun(stage)
    declared_lost(stage, job)
    run.leave(PollAgain(timezone.now() + timedelta(seconds=600), {"task": "tests.staged"}))
    assert (now(job).state, job.poll_at, job.poll_signature) == (State.WAITING, None, None)


@pytest.mark.parametrize("overtaken", [False, True])
def test_a_task_that_replaces_itself_goes_on(stage, overtaken):
    job, run, _message = begun(stage)
    if overtaken:
        # The other task runs before this one has come to its end.
        with run.inside():
            run.task.si().apply_async(task_id=str(job.pk))
        other = stage.deliver(stage.messages.pop())
        run.replace()
        stage.messages.clear()
    else:
        run.replace()
        assert (now(job).state, job.error) == (State.WAITING, "")
        other = stage.deliver(stage.messages.pop())
    assert (now(job).state, job.attempt) == (State.RUNNING, 2)
    other.succeed()
    assert now(job).state == State.SUCCEEDED


def test_a_task_that_replaces_itself_when_it_shall_stop_is_cancelled(stage):
    job, run, _message = begun(stage)
    jobs.cancel(job)
    run.checkpoint()
    run.replace()
    assert now(job).state == State.CANCELLED
    assert stage.deliver(stage.messages.pop()) is None


def test_a_postscript_finds_its_place_after_lines_that_nobody_counted(stage):
    job, run, _message = begun(stage)
    run.say("one")
    run.say("two")
    Job.objects.advance(job.pk, State.CANCELLED, attempt=1)
    # It learns of that after it has written its lines.
    run.checkpoint()
    add_postscript(job.pk, 20, "the remote work was cancelled")
    lines = LogLine.objects.order_by("number").values_list("number", "text")
    assert list(lines) == [(1, "one"), (2, "two"), (3, "the remote work was cancelled")]
    assert now(job).line_count == 3
    assert [line.text for line in stage.events[-1].lines] == ["the remote work was cancelled"]
    assert stage.events[-1].line_count == 3


def test_a_retry_by_hand_is_not_begun_by_a_poll_of_before(stage):
    job, run, _message = begun(stage)
    with run.inside():
        again = poll_again(run.task, after=0)
    run.leave(again)
    stage.wait(1)
    outbox.send(now(job), 2)
    poll = stage.deliver(stage.messages.pop())
    # Its worker dies when the message of its retry is out.
    with poll.inside():
        poll.task.retry(throw=False)
    stale = stage.messages.pop()
    jobs.cancel(now(job))
    Job.objects.advance(job.pk, State.CANCELLED, attempt=2)
    jobs.retry(job)
    assert (now(job).attempt, stale.attempt) == (3, 3)
    assert stage.deliver(stale) is None
    assert stage.deliver(stage.messages.pop()) is not None


@pytest.mark.parametrize("told", [False, True], ids=["no owner", "an owner"])
def test_a_job_costs_three_statements(stage, django_user_model, told):
    """That it was sent is noted besides, and its end is told, but for many jobs at once; see test_telling.py."""
    owner = django_user_model.objects.create(username="alice") if told else None
    with CaptureQueriesContext(connection) as starting:
        jobs.start(staged.s(), owner=owner)
    outbox.note_sent()
    with CaptureQueriesContext(connection) as running:
        stage.deliver(stage.messages.pop()).succeed()
    said = [query["sql"].split()[0] for query in [*starting, *running]]
    # The end is a transaction of its own, without words.
    assert said[-2:] == ["UPDATE", "UPDATE"]
    assert [word for word in said if word in {"INSERT", "UPDATE", "SELECT"}] == ["INSERT", "UPDATE", "UPDATE"]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_written", [False, True], ids=["not written", "written, but the answer was lost"])
def test_a_connection_that_died_between_two_tasks_costs_nothing(stage, is_written):
    """Where connections outlive tasks, what begins the next one may be the first to notice."""
    job = jobs.start(staged.s())
    broken = []

    def die(execute, sql, *rest):
        if broken or not sql.startswith("UPDATE"):
            return execute(sql, *rest)
        broken.append(sql)
        if is_written:
            execute(sql, *rest)
        raise OperationalError("server closed the connection unexpectedly")

    with connection.execute_wrapper(die):
        run = stage.deliver(stage.messages[-1])
    assert broken
    assert run is not None
    job.refresh_from_db()
    assert (job.state, job.attempt) == (State.RUNNING, 1)
    assert stage.deliver(stage.messages[-1]) is None
    run.succeed()
    job.refresh_from_db()
    assert job.state == State.SUCCEEDED


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_eager", [False, True], ids=["in a worker", "called in a view"])
def test_a_task_gets_a_new_connection_for_one_that_is_broken_but_its_caller_keeps_his(monkeypatch, is_eager):
    """Whatever the task is: where Celery lets connections live, nobody else looks after them."""
    connection.ensure_connection()
    held = connection.connection
    monkeypatch.setattr(connection, "errors_occurred", True)
    monkeypatch.setattr(connection, "is_usable", lambda: False)
    staged.push_request(id="no-job", is_eager=is_eager)
    try:
        for _receiver, answer in signals.task_prerun.send(staged, task_id="no-job", task=staged):
            assert answer is None
    finally:
        staged.pop_request()
    assert (connection.connection is held) == is_eager
