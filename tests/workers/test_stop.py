"""Stopping at once, with real workers and their processes."""

import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from django.db import connection

from status.jobs import cancel, retry, start
from status.models import Job
from status.states import Failure, State
from status.stop import NotStopped, stop
from tests import tasks
from tests.conftest import ended, reached
from tests.processes import start_worker, wait_until

pytestmark = [pytest.mark.workers, pytest.mark.django_db(transaction=True)]


@pytest.fixture
def own_worker(tmp_path):
    """Start workers for the queue `own`."""
    started = []

    def start_one(name, *options):
        process = start_worker(tmp_path / name, *options, queues="own", name=name)
        started.append(process)
        return process

    yield start_one
    for process in started:
        process.kill()


class Noted:
    """A `deaf_until` with a file of its runs."""

    def __init__(self, folder, name, **options):
        self.gate, self.runs = folder / f"{name}.gate", folder / f"{name}.runs"
        signature = tasks.deaf_until.s(str(self.gate), str(self.runs)).set(
            queue=options.pop("queue", "mortal")
        )
        self.job = start(signature, title=name, **options)

    @property
    def pids(self):
        """The processes of all its runs."""
        return [int(line) for line in self.runs.read_text().split()] if self.runs.exists() else []

    def running(self, runs=1):
        """Wait until it is in its nth run; returns the process."""
        wait_until(lambda: len(self.pids) == runs, what=f"run {runs} of {self.job.title}")
        reached(self.job, State.RUNNING)
        return self.pids[-1]


def lines(job):
    return list(job.lines.order_by("attempt", "number").values_list("text", flat=True))


def test_a_process_is_ended_and_only_then_is_the_job_cancelled(mortal, alice, tmp_path):
    stubborn, other = tmp_path / "stubborn", Noted(tmp_path, "other", owner=alice)
    bystander = other.running()
    job = mortal.start(tasks.stubborn.s(str(tmp_path / "never"), str(stubborn)), owner=alice)
    wait_until(stubborn.exists)
    reached(job, State.RUNNING)
    assert job.stoppable
    pid = next(
        child.pid
        for child in psutil.Process(mortal.process.child.pid).children()
        if ignores_sigterm(child.pid)
    )
    assert stop(job, by="alice").is_cancelling
    while psutil.pid_exists(pid):
        job.refresh_from_db()
        # Looked at in this order: what was still there afterwards was there when the row was read.
        if psutil.pid_exists(pid):
            assert job.is_cancelling
    assert ended(job).state == State.CANCELLED
    assert (job.finished_at - job.cancel_requested_at).total_seconds() > 4
    wait_until(lambda: lines(job) == ["Stopped at once by alice"], 10, "the log")
    assert psutil.pid_exists(bystander)
    other.gate.touch()
    assert ended(other.job).state == State.SUCCEEDED
    assert ended(mortal.start(tasks.add.s(1, 2), owner=alice)).state == State.SUCCEEDED


def ignores_sigterm(pid):
    text = Path(f"/proc/{pid}/status").read_text()
    ignored = int(next(line for line in text.splitlines() if line.startswith("SigIgn")).split()[1], 16)
    return bool(ignored >> (signal.SIGTERM - 1) & 1)


def test_a_stopped_job_can_be_retried(mortal, alice, tmp_path):
    deaf = Noted(tmp_path, "deaf", owner=alice)
    first = deaf.running()
    stop(deaf.job)
    job = ended(deaf.job, 10)
    assert (job.state, job.failure, job.error) == (State.CANCELLED, "", "")
    assert not psutil.pid_exists(first)
    wait_until(lambda: lines(job) == ["Stopped at once"], 10, "the log")
    # Pages may have shown lines that were never written; theirs are the numbers in between.
    assert job.lines.get().number > 10_000
    retry(job)
    deaf.running(2)
    assert (job.attempt, job.cancel_requested_at) == (2, None)
    # The stop of the attempt before has been forgotten.
    stop(job, by="bob")
    assert ended(job, 10).state == State.CANCELLED
    wait_until(lambda: lines(job) == ["Stopped at once", "Stopped at once by bob"], 10, "the log")
    retry(job)
    deaf.running(3)
    deaf.gate.touch()
    assert ended(job).state == State.SUCCEEDED


def test_what_was_stopped_does_not_run_again(own_worker, alice, tmp_path):
    process = own_worker("late", "-c", "1")
    deaf = Noted(tmp_path, "deaf", owner=alice, queue="own", repeatable=True)
    deaf.running()
    stop(deaf.job)
    assert ended(deaf.job, 10).state == State.CANCELLED
    assert ended(start(tasks.add.s(1, 2).set(queue="own"), owner=alice)).state == State.SUCCEEDED
    process.stop()
    own_worker("after", "-c", "1")
    assert ended(start(tasks.add.s(1, 2).set(queue="own"), owner=alice)).state == State.SUCCEEDED
    deaf.job.refresh_from_db()
    assert (deaf.job.state, deaf.job.attempt, len(deaf.pids)) == (State.CANCELLED, 1, 1)
    wait_until(lambda: not is_queued(deaf.job), 10, "its message to be acknowledged")


def is_queued(job):
    """Whether a message of the job is in `own`, or was handed out and not acknowledged."""
    from celery import current_app

    with current_app.connection_for_read() as broker:
        client = broker.default_channel.client
        messages = [*client.lrange("own", 0, -1), *client.hvals("unacked")]
        return any(str(job.pk).encode() in message for message in messages)


@pytest.mark.parametrize("handles", [False, True], ids=["by finally", "by a handler of its own"])
def test_a_task_may_clean_up_and_its_process_leaves_all_the_same(mortal, alice, tmp_path, handles):
    seen, cleaned = tmp_path / "seen", tmp_path / "cleaned"
    job = mortal.start(tasks.tidy.s(str(seen), str(cleaned), handles), owner=alice)
    pid = int(wait_until(lambda: seen.exists() and seen.read_text()))
    reached(job, State.RUNNING)
    stop(job, by="alice")
    job = ended(job, 10)
    assert not psutil.pid_exists(pid)
    assert (job.state, job.failure, job.error) == (State.CANCELLED, "", "")
    assert cleaned.exists()
    wait_until(lambda: lines(job) == ["cleaning up", "Stopped at once by alice"], 10, "the log")


def test_a_job_that_has_ended_stays_as_it_ended(mortal, alice, tmp_path):
    deaf = Noted(tmp_path, "deaf", owner=alice)
    deaf.running()
    seen = Job.objects.get(pk=deaf.job.pk)
    deaf.gate.touch()
    ended(deaf.job)
    assert stop(seen).state == State.SUCCEEDED
    assert ended(deaf.job).cancel_requested_at is None


def test_one_that_ends_in_the_same_moment_ends_once(mortal, alice, tmp_path):
    for number in range(10):
        deaf = Noted(tmp_path, f"deaf {number}", owner=alice)
        deaf.running()
        deaf.gate.touch()
        # Refused if the row says that it runs and the worker knows that it does not.
        with suppress(NotStopped):
            stop(deaf.job)
        assert ended(deaf.job, 10).state in {State.SUCCEEDED, State.CANCELLED}
    assert ended(mortal.start(tasks.add.s(1, 2), owner=alice)).state == State.SUCCEEDED


def test_it_is_told_that_the_attempt_has_moved_on(mortal, alice, tmp_path):
    """Somebody saw an attempt; what runs now is the next, and must not be touched."""
    deaf = Noted(tmp_path, "deaf", owner=alice)
    deaf.running()
    stop(deaf.job)
    retry(ended(deaf.job, 10))
    pid = deaf.running(2)
    cancel(deaf.job)
    assert told(deaf.job, attempt=1) == {"error": "moved"}
    assert told(deaf.job, attempt=3) == {"error": "moved"}
    assert psutil.pid_exists(pid)
    assert told(deaf.job, attempt=2) == {"ok": "stopping"}
    assert ended(deaf.job, 10).state == State.CANCELLED


def told(job, attempt):
    """What the worker answers to the bare command."""
    from celery import current_app

    arguments = {"job_id": str(job.pk), "attempt": attempt, "by": ""}
    answers = current_app.control.broadcast(
        "status_stop", arguments=arguments, destination=[job.worker], reply=True, timeout=10
    )
    return answers[0][job.worker]


def test_any_number_of_presses_stop_it_once(mortal, alice, tmp_path):
    """A second SIGTERM would cut its cleaning up short."""
    seen, cleaned, gate = tmp_path / "seen", tmp_path / "cleaned", tmp_path / "gate"
    job = mortal.start(tasks.tidy.s(str(seen), str(cleaned), False, str(gate)), owner=alice)
    wait_until(seen.exists)
    reached(job, State.RUNNING)
    ready = threading.Barrier(3)

    def press(_):
        ready.wait()
        try:
            return stop(job, by="alice").pk
        finally:
            connection.close()

    with ThreadPoolExecutor(3) as pool:
        assert set(pool.map(press, range(3))) == {job.pk}
    gate.touch()
    assert ended(job, 10).state == State.CANCELLED
    assert cleaned.exists()
    said = ["cleaning up", "Stopped at once by alice"]
    wait_until(lambda: lines(job) == said, 10, "the log")
    assert ended(mortal.start(tasks.add.s(1, 2), owner=alice)).state == State.SUCCEEDED
    assert lines(job) == said


@pytest.mark.parametrize("pool", ["threads", "solo"])
def test_a_pool_without_processes_is_left_alone(own_worker, alice, tmp_path, pool):
    process = own_worker(pool, "-P", pool, "-c", "1")
    deaf = Noted(tmp_path, "deaf", owner=alice, queue="own")
    deaf.running()
    assert not deaf.job.stoppable
    with pytest.raises(NotStopped, match="no processes of their own"):
        stop(deaf.job)
    deaf.job.refresh_from_db()
    assert deaf.job.cancel_requested_at is None
    assert process.child.poll() is None
    deaf.gate.touch()
    assert ended(deaf.job).state == State.SUCCEEDED


def test_a_worker_that_does_not_answer_is_named_as_that(own_worker, alice, tmp_path):
    process = own_worker("mute", "-c", "1")
    deaf = Noted(tmp_path, "deaf", owner=alice, queue="own")
    deaf.running()
    os.kill(process.child.pid, signal.SIGSTOP)
    try:
        with pytest.raises(NotStopped, match="does not answer"):
            stop(deaf.job)
    finally:
        os.kill(process.child.pid, signal.SIGCONT)
    # It hears of it now.
    assert ended(deaf.job, 10).state == State.CANCELLED


def test_the_death_of_a_process_that_heeded_no_signal_is_its_next_jobs_loss(own_worker, alice, tmp_path):
    """The pool remembers that it has terminated the process, though not for which task."""
    own_worker("old", "-c", "1")
    seen, gate = tmp_path / "seen", tmp_path / "gate"
    job = start(tasks.stubborn.s(str(gate), str(seen)).set(queue="own"), owner=alice)
    wait_until(seen.exists)
    reached(job, State.RUNNING)
    assert stop(job).is_cancelling
    gate.touch()
    assert ended(job, 10).state == State.SUCCEEDED
    killed = ended(start(tasks.kill_yourself.s().set(queue="own"), owner=alice), 10)
    assert (killed.state, killed.failure) == (State.FAILED, Failure.WORKER_LOST)
