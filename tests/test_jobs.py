import threading
from datetime import date
from decimal import Decimal

import pytest
from celery import chain, group, signals
from django.core.signals import request_finished
from django.db import connection, transaction

from status import channel, outbox
from status.jobs import cancel, start
from status.models import Job
from status.states import State
from tests import tasks


@pytest.fixture
def sent(monkeypatch):
    """The messages that would have gone to the broker."""
    messages = []
    monkeypatch.setattr(
        "celery.canvas.Signature.apply_async",
        lambda self, *args, **options: messages.append((self.task, options)),
    )
    return messages


@pytest.mark.django_db(transaction=True)
def test_the_message_goes_out_on_commit_under_the_jobs_id(sent):
    with transaction.atomic():
        job = start(tasks.add.s(1, 2), title="Add")
        assert Job.objects.get() == job
        assert sent == []
    assert sent == [("tests.tasks.add", {"task_id": str(job.pk), "headers": {"status_attempt": 1}})]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("after", [request_finished, signals.task_postrun])
def test_that_they_were_sent_is_noted_for_many_jobs_at_once(sent, after, django_assert_num_queries):
    jobs = [start(tasks.add.s(1, 2)) for _ in range(5)]
    assert Job.objects.filter(sent_at=None).count() == len(sent) == 5
    with django_assert_num_queries(1):
        after.send(None)
    assert not Job.objects.filter(sent_at=None).exists()
    with django_assert_num_queries(0):
        after.send(None)
    assert {job.pk for job in jobs} == set(Job.objects.values_list("pk", flat=True))


@pytest.mark.django_db(transaction=True)
def test_a_loop_of_starts_is_noted_now_and_then(sent, monkeypatch):
    monkeypatch.setattr(outbox, "BATCH", 10)
    for _ in range(25):
        start(tasks.add.s(1, 2))
    assert Job.objects.filter(sent_at=None).count() == 5
    outbox.note_sent()


@pytest.mark.django_db(transaction=True)
def test_a_rollback_takes_row_and_message(sent):
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        start(tasks.add.s(1, 2))
        1 / 0  # noqa: B018
    assert sent == []
    assert not Job.objects.exists()


def test_a_title_is_made_of_the_tasks_name(db, sent):
    assert start(tasks.import_rows.s(1)).title == "Import rows"


def test_the_signature_is_kept(db, sent):
    job = start(tasks.add.s(1, y=Decimal("2.5")))
    assert Job.objects.get(pk=job.pk).signature["args"] == [1]


@pytest.mark.parametrize("wrong", [tasks.add, "tests.tasks.add", None])
def test_only_signatures_are_started(db, wrong):
    with pytest.raises(TypeError, match="signature"):
        start(wrong)


def test_arguments_that_are_not_json_are_refused_before_anything_is_written(db, sent):
    with pytest.raises(TypeError, match="tests.tasks.add cannot be written as JSON"):
        start(tasks.add.s(object(), 2))
    assert not Job.objects.exists()
    assert start(tasks.add.s(date(2026, 1, 2), 3))


@pytest.mark.django_db(transaction=True)
def test_a_key_holds_under_concurrent_starts(sent):
    ready, made = threading.Barrier(5), []

    def go():
        ready.wait()
        try:
            made.append(start(tasks.add.s(1, 2), key="import:42").pk)
        finally:
            connection.close()

    threads = [threading.Thread(target=go) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(made) == 5
    assert len(set(made)) == 1 == Job.objects.count() == len(sent)


@pytest.mark.django_db(transaction=True)
def test_a_job_that_cannot_be_sent_waits_for_the_sweep(monkeypatch, caplog):
    def down(self, *args, **options):
        raise ConnectionError("broker is down")

    monkeypatch.setattr("celery.canvas.Signature.apply_async", down)
    job = start(tasks.add.s(1, 2))
    job.refresh_from_db()
    assert (job.state, job.sent_at) == (State.QUEUED, None)
    assert "the sweep will try again" in caplog.text


def test_cancel_leaves_an_ended_job_as_it_ended(db, sent):
    job = start(tasks.add.s(1, 2))
    Job.objects.advance(job.pk, State.SUCCEEDED, attempt=1)
    assert cancel(job).state == State.SUCCEEDED
    assert cancel(job).cancel_requested_at is None


def test_cancel_of_a_waiting_job_is_at_once(db, sent):
    job = start(tasks.add.s(1, 2))
    Job.objects.advance(job.pk, State.WAITING, attempt=1)
    assert cancel(job).state == State.CANCELLED


def test_cancelling_twice_asks_once(db, sent):
    job = start(tasks.add.s(1, 2))
    Job.objects.advance(job.pk, State.RUNNING, attempt=1, seq=1)
    first = cancel(job).cancel_requested_at
    assert first is not None
    assert cancel(job).cancel_requested_at == first


def test_cancel_catches_a_job_that_begins_meanwhile(db, sent, monkeypatch):
    job = start(tasks.add.s(1, 2))
    real, manager = type(Job.objects).advance, type(Job.objects)

    def slow(self, job_id, state, **kwargs):
        monkeypatch.setattr(manager, "advance", real)
        real(self, job_id, State.RUNNING, attempt=1, seq=1)
        return real(self, job_id, state, **kwargs)

    monkeypatch.setattr(manager, "advance", slow)
    assert cancel(job).is_cancelling


def test_start_tells_the_lists(db, sent, alice, monkeypatch, django_capture_on_commit_callbacks):
    published = []
    monkeypatch.setattr(channel, "publish", lambda *events: published.extend(events))
    with django_capture_on_commit_callbacks(execute=True):
        start(tasks.add.s(1, 2), owner=alice)
    assert [event.scope for event in published] == [str(alice.pk), "all"]


def test_start_costs_one_insert(db, sent, django_assert_num_queries):
    # A savepoint around it, so that a taken key spoils nothing.
    with django_assert_num_queries(3):
        start(tasks.add.s(1, 2))


@pytest.mark.django_db
def test_arguments_that_a_task_does_not_take_are_refused_at_the_start():
    wrong = tasks.fail.s("one", "two")
    for signature in (wrong, group(tasks.add.s(1, 2), wrong), chain(tasks.add.s(1, 2), tasks.fail.s("two"))):
        with pytest.raises(TypeError, match="takes 1 positional argument but 2"):
            start(signature)
    with pytest.raises(TypeError, match="missing 1 required positional argument"):
        start(chain(tasks.add.s(1), tasks.fail.s()))
    assert not Job.objects.exists()
    start(chain(tasks.add.s(1, 2), tasks.fail.s(), tasks.fail.si("one")))
    start(chain(tasks.add.s(1, 2), group(tasks.fail.s(), chain(tasks.fail.s(), tasks.fail.s()))))
