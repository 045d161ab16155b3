"""Workers that die, hang and come back; messages that come twice."""

import os
import signal
from datetime import timedelta

import psutil
import pytest
from django.utils import timezone

from status.jobs import retry, start
from status.models import Job
from status.outbox import ATTEMPT_HEADER
from status.sources.sweep import sweep
from status.states import Failure, State
from tests import tasks
from tests.conftest import ended, reached
from tests.processes import start_worker, wait_until

pytestmark = [pytest.mark.workers, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def short_lease(settings):
    settings.STATUS = {"LEASE_SECONDS": 4}


def swept(job, state, *, attempt=1, seconds=30):
    """Sweep, as beat would, until `job` is in `state` and `attempt`."""

    def look():
        sweep.apply()
        job.refresh_from_db()
        return (job.state, job.attempt) == (state, attempt)

    wait_until(look, seconds, f"{state} of {job.title}, which is {job.state}")
    return job


@pytest.fixture
def own_worker(tmp_path):
    """Start workers for the queue `own`."""
    started = []

    def start_one(name, *options):
        process = start_worker(tmp_path / name, "-c", "1", *options, queues="own", name=name)
        started.append(process)
        return process

    yield start_one
    for process in started:
        process.kill()


def test_a_killed_worker_is_noticed(own_worker, alice, tmp_path):
    process = own_worker("doomed")
    job = start(tasks.tick_until.s(str(tmp_path / "never")).set(queue="own"), owner=alice)
    reached(job, State.RUNNING)
    process.kill()
    job = swept(job, State.FAILED)
    assert job.failure == Failure.WORKER_LOST
    assert "doomed@test" in job.error


def test_what_is_safe_to_repeat_goes_on_at_another_worker(own_worker, alice, tmp_path):
    gate = tmp_path / "gate"
    first = own_worker("first")
    job = start(tasks.tick_until.s(str(gate)).set(queue="own"), owner=alice, repeatable=True)
    reached(job, State.RUNNING)
    first.kill()
    own_worker("second")
    swept(job, State.RUNNING, attempt=2)
    gate.touch()
    job = ended(job)
    assert (job.state, job.attempt, job.worker) == (State.SUCCEEDED, 2, "second@test")


def test_a_worker_that_was_only_slow_cannot_overwrite_what_came_after(own_worker, alice, tmp_path):
    gate = tmp_path / "gate"
    process = own_worker("slow")
    job = start(tasks.tick_until.s(str(gate)).set(queue="own"), owner=alice)
    reached(job, State.RUNNING)
    group = [process.child.pid, *[p.pid for p in psutil.Process(process.child.pid).children(recursive=True)]]
    for pid in group:
        os.kill(pid, signal.SIGSTOP)
    try:
        swept(job, State.FAILED)
    finally:
        for pid in group:
            os.kill(pid, signal.SIGCONT)
    wait_until(lambda: "was overtaken" in process.output(), what="the fence")
    gate.touch()
    # The worker is free again when it has given the job up.
    after = ended(start(tasks.add.s(1, 2).set(queue="own"), owner=alice))
    assert after.state == State.SUCCEEDED
    job.refresh_from_db()
    assert (job.state, job.failure) == (State.FAILED, Failure.WORKER_LOST)


def test_a_killed_pool_process_lets_the_job_run_again_if_it_may(own_worker, alice, tmp_path):
    own_worker("pool")
    gate = tmp_path / "gate"
    job = start(tasks.kill_yourself_once.s(str(gate)).set(queue="own"), owner=alice, repeatable=True)
    job = ended(job)
    assert (job.state, job.attempt) == (State.SUCCEEDED, 2)


def test_a_message_that_comes_twice_runs_once(worker, alice, tmp_path):
    path = tmp_path / "runs"
    job = start(tasks.append.s(str(path)), owner=alice)
    headers = {ATTEMPT_HEADER: 1}
    for _ in range(3):
        tasks.append.apply_async([str(path)], task_id=str(job.pk), headers=headers)
    ended(job)
    ended(start(tasks.add.s(1, 2), owner=alice))
    ended(start(tasks.add.s(1, 2), owner=alice))
    assert path.read_text() == "x"
    job.refresh_from_db()
    assert (job.state, job.attempt) == (State.SUCCEEDED, 1)


def test_a_second_delivery_of_a_running_job_is_not_executed(worker, alice, tmp_path):
    gate, seen = tmp_path / "gate", tmp_path / "seen"
    job = reached(start(tasks.tick_until.s(str(gate), str(seen)), owner=alice), State.RUNNING)
    tasks.append.apply_async([str(tmp_path / "twice")], task_id=str(job.pk), headers={ATTEMPT_HEADER: 1})
    ended(start(tasks.add.s(1, 2), owner=alice))
    assert not (tmp_path / "twice").exists()
    gate.touch()
    assert ended(job).attempt == 1


def test_a_failed_job_is_retried_with_the_same_arguments(worker, alice, tmp_path):
    gate = tmp_path / "gate"
    job = ended(start(tasks.fail_without.s(str(gate)), owner=alice))
    assert job.state == State.FAILED
    gate.touch()
    retry(job)
    job = ended(job)
    assert (job.state, job.attempt, job.error, job.traceback) == (State.SUCCEEDED, 2, "", "")
    assert list(job.lines.order_by("attempt").values_list("attempt", "text")) == [
        (1, "looking"),
        (2, "looking"),
    ]


def test_between_two_attempts_the_job_says_when_it_goes_on(worker, alice):
    job = reached(start(tasks.later.s(), owner=alice), State.WAITING)
    assert timedelta(0) < job.next_at - timezone.now() <= timedelta(seconds=600)
    assert (job.attempt, job.most_attempts, job.error) == (1, 5, "ConnectionError: not yet")
    from status.jobs import cancel

    assert cancel(job).state == State.CANCELLED


def test_a_hard_time_limit_ends_it_once_and_is_named(own_worker, alice):
    own_worker("limits")
    job = ended(start(tasks.much_too_slow.s().set(queue="own"), owner=alice), 60)
    assert (job.state, job.failure) == (State.FAILED, Failure.TIMEOUT)
    assert "time limit of 1 s" in job.error


def test_unmodified_tasks_become_jobs(tmp_path):
    process = start_worker(
        tmp_path / "log", "-c", "1", queues="tracked", name="t", DJANGO_SETTINGS_MODULE="tests.track_settings"
    )
    try:
        result = tasks.add.apply_async([1, 2], queue="tracked", headers={"periodic_task_name": "Every night"})
        job = wait_until(lambda: Job.objects.filter(pk=result.id).first(), what="a job")
        job = ended(job)
        assert (job.state, job.result, job.schedule, job.title) == (
            State.SUCCEEDED,
            {"sum": 3},
            "Every night",
            "Every night",
        )
        result = tasks.third_time_lucky.apply_async(queue="tracked")
        job = ended(wait_until(lambda: Job.objects.filter(pk=result.id).first(), what="a job"))
        assert (job.state, job.attempt, job.title) == (State.SUCCEEDED, 3, "Third time lucky")
        tasks.touch.apply_async([str(tmp_path / "touched")], queue="tracked")
        wait_until((tmp_path / "touched").exists)
        assert Job.objects.count() == 2
    finally:
        process.stop()
