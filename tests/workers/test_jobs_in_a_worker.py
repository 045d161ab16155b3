"""Jobs in a real worker process."""

from pathlib import Path

import pytest

from status.jobs import cancel, start
from status.models import Attachment, Job
from status.states import Failure, State
from tests import tasks
from tests.conftest import ended, reached
from tests.processes import start_worker, wait_until

pytestmark = [pytest.mark.workers, pytest.mark.django_db(transaction=True)]


def lines(job):
    return list(job.lines.order_by("attempt", "number").values_list("text", flat=True))


def test_a_job_runs_and_its_row_tells_everything(pool, alice, tmp_path):
    job = ended(pool.start(tasks.import_rows.s(1000), owner=alice, title="Orders of May"))
    assert job.state == State.SUCCEEDED
    assert job.percent == 100
    assert [(s.name, s.state, s.weight) for s in job.step_list] == [
        ("Read", "done", 1),
        ("Import", "done", 8),
        ("Write", "done", 1),
    ]
    assert (job.step_list[1].current, job.step_list[1].total, job.step_list[1].unit) == (1000, 1000, "rows")
    assert job.worker == pool.worker
    assert job.queue == pool.queue
    assert job.started_at <= job.finished_at
    assert (job.result_url, job.result_label) == ("/orders/", "See the orders")
    attachment = Attachment.objects.get(job=job)
    assert attachment.name == "rows.txt"
    assert attachment.file.read() == b"1000 rows\n"
    assert job.file_count == 1


def test_its_row_is_kept_up_while_it_runs(pool, alice, tmp_path):
    gate = tmp_path / "gate"
    job = pool.start(tasks.import_rows.s(1000, str(gate)), owner=alice)
    reached(job, State.RUNNING)

    def half_way():
        job.refresh_from_db()
        return job.progress is not None and job.line_count == 2 and job.step and job.step.name == "Import"

    wait_until(half_way)
    assert job.step.current == 500
    assert job.progress == pytest.approx(0.1 + 0.8 * 0.5)
    assert job.heartbeat_at is not None
    assert lines(job) == ["half of 1000", "careful now"]
    gate.touch()
    assert ended(job).state == State.SUCCEEDED


def test_a_failure_names_its_message_and_keeps_its_traceback(pool, alice):
    job = ended(pool.start(tasks.fail.s("the file has no header"), owner=alice))
    assert (job.state, job.failure) == (State.FAILED, Failure.ERROR)
    assert job.error == "ValueError: the file has no header"
    assert "raise ValueError(text)" in job.traceback
    assert job.step_list[0].state == "running"


def test_a_running_job_is_asked_to_stop_and_cleans_up(pool, alice, tmp_path):
    cleaned = tmp_path / "cleaned"
    job = reached(pool.start(tasks.until_cancelled.s(str(cleaned)), owner=alice), State.RUNNING)
    asked = cancel(job)
    assert asked.state == State.RUNNING
    assert asked.is_cancelling
    job = ended(job, 10)
    assert job.state == State.CANCELLED
    assert (job.finished_at - job.cancel_requested_at).total_seconds() < 2.5
    assert cleaned.exists()
    assert lines(job) == ["cleaning up"]


def test_a_job_that_ends_before_it_is_asked_ends_as_it_ended(pool, alice, tmp_path):
    gate = tmp_path / "gate"
    job = reached(pool.start(tasks.deaf.s(str(gate)), owner=alice), State.RUNNING)
    assert cancel(job).is_cancelling
    gate.touch()
    job = ended(job)
    assert job.state == State.SUCCEEDED
    assert job.result == "done all the same"
    assert not job.is_cancelling


def test_a_cancelled_queued_job_never_runs_even_after_the_workers_restart(alice, tmp_path):
    touched, later = tmp_path / "touched", tmp_path / "later"
    job = start(tasks.touch.s(str(touched)).set(queue="slow"), owner=alice)
    assert cancel(job).state == State.CANCELLED
    after = start(tasks.touch.s(str(later)).set(queue="slow"), owner=alice)
    process = start_worker(tmp_path / "log", "-P", "solo", queues="slow", name="slow")
    try:
        assert ended(after).state == State.SUCCEEDED
    finally:
        process.kill()
    assert later.exists()
    assert not touched.exists()
    job.refresh_from_db()
    assert job.state == State.CANCELLED
    assert job.started_at is None


def test_a_retry_waits_and_begins_the_next_attempt(pool, alice):
    job = ended(pool.start(tasks.third_time_lucky.s(), owner=alice))
    assert (job.state, job.attempt, job.result) == (State.SUCCEEDED, 3, "at last")
    assert job.error == ""
    # Celery sends the next attempt before the one before has said its end: that one's line may come last.
    said = [(n + 1, 1, f"attempt of retry {n}") for n in range(3)]
    lines = job.lines.order_by("attempt").values_list("attempt", "number", "text")
    wait_until(lambda: list(lines.all()) == said, 10, "the lines of each attempt")


def test_a_soft_time_limit_is_a_timeout(worker, alice):
    job = ended(start(tasks.too_slow.s(), owner=alice))
    assert (job.state, job.failure) == (State.FAILED, Failure.TIMEOUT)
    assert job.error == "The job took longer than its time limit of 1 s."


def test_a_killed_process_is_a_lost_worker(mortal, alice):
    job = ended(mortal.start(tasks.kill_yourself.s(), owner=alice))
    assert (job.state, job.failure) == (State.FAILED, Failure.WORKER_LOST)


@pytest.mark.parametrize(
    ("task", "state", "error"),
    [
        (tasks.ignored, State.CANCELLED, "nothing to do"),
        (tasks.rejected, State.CANCELLED, "not today"),
    ],
)
def test_celerys_own_ways_out(pool, alice, task, state, error):
    job = ended(pool.start(task.s(), owner=alice))
    assert (job.state, job.error) == (state, error)


def test_a_result_too_large_for_the_row_says_so(pool, alice):
    job = ended(pool.start(tasks.unserialisable_result.s(), owner=alice))
    assert job.state == State.SUCCEEDED
    assert job.result is None
    assert "too large" in job.error


def test_every_line_of_a_flood_is_kept_in_order(pool, alice):
    job = ended(pool.start(tasks.chatter.s(5000), owner=alice))
    assert lines(job) == [f"line {number}" for number in range(1, 5001)]


@pytest.mark.parametrize("pool", ["solo", "threads"])
def test_other_pools_report_as_well(alice, tmp_path, pool):
    process = start_worker(tmp_path / "log", "-P", pool, "-c", "2", queues="other", name=pool)
    try:
        cleaned = tmp_path / "cleaned"
        running = start(tasks.until_cancelled.s(str(cleaned)).set(queue="other"), owner=alice)
        reached(running, State.RUNNING)
        beside = start(tasks.import_rows.s(100).set(queue="other"), owner=alice)
        if pool == "threads":
            assert ended(beside).state == State.SUCCEEDED
        cancel(running)
        assert ended(running, 10).state == State.CANCELLED
        assert ended(beside).state == State.SUCCEEDED
        assert beside.step_list[1].current == 100
    finally:
        process.kill()


def test_a_task_that_is_no_job_makes_no_row(worker, alice, tmp_path):
    path = tmp_path / "touched"
    tasks.touch.delay(str(path))
    wait_until(path.exists)
    assert Job.objects.count() == 0


def test_a_key_returns_the_live_job(pool, alice, tmp_path):
    gate = tmp_path / "gate"
    first = pool.start(tasks.deaf.s(str(gate)), owner=alice, key="import:42")
    assert pool.start(tasks.deaf.s(str(gate)), owner=alice, key="import:42").pk == first.pk
    Path(gate).touch()
    ended(first)
    third = pool.start(tasks.deaf.s(str(gate)), owner=alice, key="import:42")
    assert third.pk != first.pk
    ended(third)
