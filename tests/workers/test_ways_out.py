"""Ways out of a task that Celery has of its own, and messages that no worker begins, in real workers."""

from datetime import timedelta

import pytest
from django.utils import timezone

from status.jobs import start
from status.models import Job
from status.sources.remote import send_due
from status.states import Failure, State
from tests import tasks
from tests.conftest import ended
from tests.processes import start_worker, wait_until

pytestmark = [pytest.mark.workers, pytest.mark.django_db(transaction=True)]


def test_a_task_that_replaces_itself_goes_on_as_the_next_attempt(worker, tmp_path):
    job = ended(start(tasks.replace_yourself.s(str(tmp_path / "path"))))
    assert (job.state, job.attempt, job.result, job.error) == (State.SUCCEEDED, 2, "replaced", "")
    assert (tmp_path / "path").read_text() == "x"
    # The replacement may run and end before what it replaces has said its end.
    lines = job.lines.order_by("attempt").values_list("attempt", "text")
    wait_until(lambda: list(lines.all()) == [(1, "before"), (2, "instead")], 10, "the lines of both attempts")


def test_a_deadline_is_not_retried_by_autoretry(worker, tmp_path):
    path = tmp_path / "polls"
    job = start(tasks.impatient.s(str(path), 0.5))

    def look():
        send_due()
        job.refresh_from_db()
        return not job.is_live

    wait_until(look, what="the end")
    assert (job.state, job.failure, job.tries) == (State.FAILED, Failure.TIMEOUT, 1)
    assert "after 0.5 s" in job.error
    assert "remote.py" in job.traceback or "tasks.py" in job.traceback
    assert len(path.read_text()) == job.polls + 1
    wait_until((tmp_path / "polls.cancelled").exists, what="the cancel of the remote work")


@pytest.fixture
def tracking(tmp_path):
    """A worker whose runs of some tasks are jobs."""
    # Whoever runs the tests may be root, which Celery refuses where pickles are accepted.
    options = {"DJANGO_SETTINGS_MODULE": "tests.pickle_settings", "C_FORCE_ROOT": "1"}
    process = start_worker(tmp_path / "log", "-c", "1", queues="tracked", name="t", **options)
    yield process
    process.kill()


def test_a_tracked_run_that_expires_is_a_job_that_failed(tracking):
    past = timezone.now() - timedelta(seconds=5)
    headers = {"periodic_task_name": "Every night"}
    result = tasks.add.apply_async([1, 2], queue="tracked", expires=past, headers=headers)
    job = ended(wait_until(lambda: Job.objects.filter(pk=result.id).first(), what="a job"))
    assert (job.state, job.failure, job.schedule) == (State.FAILED, Failure.TIMEOUT, "Every night")
    assert job.error == "The job expired before a worker could begin it."
    assert (job.started_at, job.attempt) == (None, 1)
    # It can be run again all the same.
    assert (job.signature["args"], job.signature["options"]["queue"]) == ([1, 2], "tracked")


def test_a_run_that_cannot_be_tracked_goes_on_without(tracking):
    """Arguments that only pickle holds, and an id of somebody's own."""
    result = tasks.add.apply_async([{1}, {2}], queue="tracked", serializer="pickle")
    tracking.wait_for(f"[{result.id}] runs, but is no job")
    tracking.wait_for(f"add[{result.id}] raised")
    tasks.add.apply_async([1, 2], queue="tracked", task_id="nightly")
    tracking.wait_for("[nightly] runs, but is no job")
    tracking.wait_for("add[nightly] succeeded")
    after = tasks.add.apply_async([1, 2], queue="tracked")
    job = ended(wait_until(lambda: Job.objects.filter(pk=after.id).first(), what="a job"))
    assert (job.state, Job.objects.count()) == (State.SUCCEEDED, 1)
