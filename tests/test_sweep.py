from datetime import timedelta
from typing import ClassVar

import pytest
from celery import current_app
from django.utils import timezone
from django.utils.translation import get_language

from status import outbox, workflow
from status.jobs import retry, start
from status.models import Job, Topic
from status.outbox import ATTEMPT_HEADER
from status.sources import sweep
from status.states import Failure, State
from tests import tasks

pytestmark = pytest.mark.django_db


@pytest.fixture
def sent(monkeypatch):
    """The attempts whose messages went to the broker, while `sent.down` is false."""

    class Sent(list):
        down = False
        poisoned: ClassVar = {}

    messages = Sent()

    def apply_async(self, **options):
        if messages.down:
            raise ConnectionError("the broker is down")
        if error := messages.poisoned.get(options["task_id"]):
            raise error
        messages.append((options["task_id"], options["headers"][ATTEMPT_HEADER], list(self.args)))

    monkeypatch.setattr("celery.canvas.Signature.apply_async", apply_async)
    return messages


def make(state=State.RUNNING, *, silent_seconds=0, **fields):
    then = timezone.now() - timedelta(seconds=silent_seconds)
    defaults = {
        "task": "tests.tasks.add",
        "title": "T",
        "created_at": then,
        "heartbeat_at": then,
        "worker": "w1@x",
    }
    return Job.objects.create(state=state, signature=dict(tasks.add.s(1, 2)), **defaults | fields)


def test_a_job_that_was_never_sent_is_sent_once(sent):
    job = make(State.QUEUED, silent_seconds=60)
    fresh = make(State.QUEUED)
    assert sweep.send_unsent() == 1
    assert sweep.send_unsent() == 0
    assert sent == [(str(job.pk), 1, [1, 2])]
    fresh.refresh_from_db()
    assert fresh.sent_at is None


def test_while_the_broker_is_down_nothing_is_lost(sent, caplog):
    make(State.QUEUED, silent_seconds=60)
    make(State.QUEUED, silent_seconds=50)
    sent.down = True
    assert sweep.send_unsent() == 0
    # One failure is enough to know.
    assert len([r for r in caplog.records if "not sent" in r.message]) == 1
    sent.down = False
    assert sweep.send_unsent() == 2


@pytest.mark.parametrize(
    "error", [TypeError("it takes no x"), KeyError("no such queue"), ValueError("countdown")]
)
def test_a_job_of_which_no_message_can_be_made_has_failed_and_holds_up_nobody(sent, error):
    whole = make(State.RUNNING, canvas="group", refreshed_at=timezone.now())
    columns = {"parent": whole, "root": whole, "silent_seconds": 60}
    poisoned, other = make(State.QUEUED, position=0, **columns), make(State.QUEUED, position=1, **columns)
    sent.poisoned = {str(poisoned.pk): error}
    outbox.send_unsent(whole.pk)
    assert sent == [(str(other.pk), 1, [1, 2])]
    poisoned.refresh_from_db()
    assert (poisoned.state, poisoned.failure) == (State.FAILED, Failure.ERROR)
    assert str(error) in poisoned.error
    # The sweep tells the whole.
    workflow.heal(timezone.now() - timedelta(seconds=15), 10)
    whole.refresh_from_db()
    assert whole.tally == {State.FAILED: 1, State.QUEUED: 1}


def test_a_crash_between_commit_and_sending_is_made_good(sent, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks():
        job = start(tasks.add.s(1, 2))
    Job.objects.update(created_at=timezone.now() - timedelta(minutes=1))
    assert sweep.send_unsent() == 1
    assert sent == [(str(job.pk), 1, [1, 2])]


def test_a_message_that_went_under_with_its_worker_is_sent_again(sent):
    """Fetched and not begun: nobody but the broker knows of it, and that for an hour."""
    now = timezone.now()
    job = make(State.QUEUED, silent_seconds=2000, sent_at=now - timedelta(seconds=1000))
    make(State.QUEUED, silent_seconds=2000, sent_at=now - timedelta(seconds=800))
    make(State.QUEUED, silent_seconds=2000, sent_at=now - timedelta(seconds=1000), held=True)
    make(State.RUNNING, silent_seconds=2000, sent_at=now - timedelta(seconds=1000))
    assert sweep.send_held_up() == 1
    assert sweep.send_held_up() == 0
    assert sent == [(str(job.pk), 1, [1, 2])]


def test_a_silent_worker_is_lost_and_says_what_is_known(sent):
    job, alive = make(silent_seconds=60), make(silent_seconds=2)
    assert sweep.expire_leases() == 1
    job.refresh_from_db()
    alive.refresh_from_db()
    assert (job.state, job.failure, alive.state) == (State.FAILED, Failure.WORKER_LOST, State.RUNNING)
    assert "w1@x" in job.error
    assert sent == []


def test_it_is_said_in_the_language_of_who_started_the_job(sent, monkeypatch):
    monkeypatch.setattr(sweep, "_", lambda text: f"{get_language()}: {text}")
    for known in ("de", "tlh"):
        job = make(silent_seconds=60)
        job.signature["options"] = {"headers": {"status_language": known}}
        job.save()
    assert sweep.expire_leases() == 2
    assert {job.error.split(":")[0] for job in Job.objects.all()} == {"de", "en"}


def test_what_is_safe_to_repeat_is_repeated(sent):
    job = make(silent_seconds=60, repeatable=True)
    assert sweep.expire_leases() == 1
    job.refresh_from_db()
    assert job.state == State.WAITING
    assert sent == [(str(job.pk), 2, [1, 2])]


def test_but_not_for_ever(sent):
    job = make(silent_seconds=60, repeatable=True, attempt=3)
    sweep.expire_leases()
    job.refresh_from_db()
    assert (job.state, sent) == (State.FAILED, [])


def test_a_waiting_job_whose_message_is_lost_is_sent_again(sent):
    now = timezone.now()
    job = make(State.WAITING, attempt=2, next_at=now - timedelta(minutes=2))
    make(State.WAITING, next_at=now + timedelta(minutes=2))
    make(State.WAITING, next_at=now - timedelta(seconds=5))
    assert sweep.send_overdue() == 1
    assert sweep.send_overdue() == 0
    assert sent == [(str(job.pk), 3, [1, 2])]


def test_after_a_pause_the_workers_are_given_time(sent):
    make(silent_seconds=60)
    sweep.sweep()
    assert Job.objects.get().state == State.RUNNING
    sweep.sweep()
    assert Job.objects.get().state == State.FAILED
    Topic.objects.update(updated_at=timezone.now() - timedelta(hours=1))
    make(silent_seconds=60)
    sweep.sweep()
    assert Job.objects.filter(state=State.RUNNING).count() == 1


def test_beat_knows_the_sweep():
    current_app.loader.import_default_modules()
    assert current_app.conf.beat_schedule["status.sweep"]["task"] == "status.sweep"
    assert "status.sweep" in current_app.tasks


@pytest.mark.parametrize("state", [State.FAILED, State.CANCELLED])
def test_retry_begins_the_next_attempt_of_the_same_job(sent, state, django_capture_on_commit_callbacks):
    job = make(state, error="boom", traceback="t", failure="error", finished_at=timezone.now(), progress=0.5)
    with django_capture_on_commit_callbacks(execute=True):
        again = retry(job)
    assert (again.pk, again.state, again.attempt) == (job.pk, State.QUEUED, 2)
    assert (again.error, again.failure, again.progress, again.finished_at) == ("", "", None, None)
    assert sent == [(str(job.pk), 2, [1, 2])]


@pytest.mark.parametrize("state", [State.QUEUED, State.RUNNING, State.WAITING, State.SUCCEEDED])
def test_only_what_failed_or_was_cancelled_is_retried(sent, state, django_capture_on_commit_callbacks):
    job = make(state)
    with django_capture_on_commit_callbacks(execute=True):
        again = retry(job)
    assert (again.state, again.attempt, sent) == (state, 1, [])


def test_a_double_click_retries_once(sent, django_capture_on_commit_callbacks):
    job = make(State.FAILED)
    with django_capture_on_commit_callbacks(execute=True):
        retry(job)
        retry(job)
    assert len(sent) == 1


def test_the_sweep_costs_a_fixed_number_of_queries_when_all_is_well(sent, django_assert_max_num_queries):
    make()
    sweep.sweep()
    with django_assert_max_num_queries(23):
        sweep.sweep()
