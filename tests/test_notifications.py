"""Who is told what, and how often."""

import threading

import pytest
from celery import chain, group
from django.db import OperationalError, connection, transaction

from status import jobs, workflow
from status.events import InboxEvent
from status.models import Job, Notification
from status.notifications import mark_read, notify
from status.states import State
from tests import tasks

pytestmark = pytest.mark.django_db


@pytest.fixture
def job(alice):
    return Job.objects.create(task="t", title="Orders of May", owner=alice)


@pytest.mark.parametrize("state", [State.SUCCEEDED, State.FAILED, State.CANCELLED])
def test_the_owner_is_told_how_a_job_ended(job, alice, state, published, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        assert Job.objects.advance(job.pk, state, attempt=1)
    told = Notification.objects.get()
    assert (told.owner, told.kind, told.job, told.attempt, told.title, told.read_at) == (
        alice,
        state,
        job,
        1,
        "Orders of May",
        None,
    )
    assert published == [InboxEvent(user=str(alice.pk))]


def test_nothing_is_told_of_what_goes_on(job):
    Job.objects.advance(job.pk, State.RUNNING, attempt=1, seq=1)
    Job.objects.advance(job.pk, State.RUNNING, attempt=1, seq=2)
    Job.objects.advance(job.pk, State.WAITING, attempt=1)
    assert not Notification.objects.exists()


def test_an_end_is_told_once_however_often_it_is_written(job):
    for state in (State.FAILED, State.FAILED, State.SUCCEEDED, State.CANCELLED):
        Job.objects.advance(job.pk, state, attempt=1)
    jobs.cancel(job)
    assert Notification.objects.values_list("kind", "attempt").get() == ("failed", 1)


def test_an_end_that_was_told_already_ends_all_the_same(job, alice):
    Notification.objects.create(owner=alice, job=job, attempt=1, title="T", kind="failed")
    assert Job.objects.advance(job.pk, State.SUCCEEDED, attempt=1)
    assert Notification.objects.count() == 1


def test_each_attempt_is_told(job, monkeypatch):
    monkeypatch.setattr("status.outbox.send", lambda job, attempt: True)
    Job.objects.advance(job.pk, State.FAILED, attempt=1)
    jobs.retry(job)
    Job.objects.advance(job.pk, State.SUCCEEDED, attempt=2)
    assert list(Notification.objects.values_list("kind", "attempt")) == [("succeeded", 2), ("failed", 1)]


def test_there_is_no_end_that_is_not_told(job, monkeypatch):
    """A process that dies between the two has done neither."""

    def die(*args, **kwargs):
        raise OperationalError("gone")

    monkeypatch.setattr("status.telling.insert", die)
    with pytest.raises(OperationalError):
        Job.objects.advance(job.pk, State.SUCCEEDED, attempt=1)
    monkeypatch.undo()
    job.refresh_from_db()
    assert job.state == State.QUEUED
    assert Job.objects.advance(job.pk, State.SUCCEEDED, attempt=1)
    assert Notification.objects.count() == 1


def test_nobody_is_told_of_a_job_without_owner(db):
    job = Job.objects.create(task="t", title="T")
    Job.objects.advance(job.pk, State.FAILED, attempt=1)
    assert not Notification.objects.exists()


def test_a_workflow_is_told_of_as_a_whole(alice):
    canvas = chain(tasks.add.s(1, 2), group(tasks.add.s(3), tasks.add.s(4)))
    whole = jobs.start(canvas, owner=alice, title="All of it")
    for member in Job.objects.filter(root=whole, canvas="").order_by("created_at"):
        Job.objects.filter(pk=member.pk).update(held=False)
        Job.objects.advance(member.pk, State.SUCCEEDED, attempt=1, output=[1])
        parents = workflow.ended(member.parent_id)
        while parents:
            parents = {other for parent in parents for other in workflow.refresh(parent)}
    whole.refresh_from_db()
    assert whole.state == State.SUCCEEDED
    assert Notification.objects.values_list("title", "job").get() == ("All of it", whole.pk)


def test_cancelling_a_workflow_is_told_once(alice):
    whole = jobs.start(chain(tasks.add.s(1, 2), tasks.add.s(3)), owner=alice, title="All of it")
    assert jobs.cancel(whole).state == State.CANCELLED
    assert Notification.objects.values_list("title", "kind").get() == ("All of it", "cancelled")


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif("connection.vendor != 'postgresql'", reason="SQLite has one writer at a time")
def test_of_two_who_end_a_job_at_once_one_tells(alice):
    job = Job.objects.create(task="t", title="T", owner=alice)
    states = [State.SUCCEEDED, State.FAILED] * 4

    def end(state):
        Job.objects.advance(job.pk, state, attempt=1)
        connection.close()

    threads = [threading.Thread(target=end, args=[state]) for state in states]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Notification.objects.count() == 1


def test_ending_a_member_costs_one_statement(alice, django_assert_num_queries):
    whole = jobs.start(group(tasks.add.s(1, 2), tasks.add.s(3, 4)), owner=alice)
    member = Job.objects.filter(root=whole, canvas="").first()
    # And a savepoint in this test, a transaction elsewhere.
    with django_assert_num_queries(3):
        Job.objects.advance(member.pk, State.SUCCEEDED, attempt=1)


def test_notify_tells_a_user(alice, published, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        told = notify(alice, "Report ready", url="/reports/7/")
    assert (told.owner, told.kind, told.title, told.target) == (
        alice,
        "message",
        "Report ready",
        "/reports/7/",
    )
    assert published == [InboxEvent(user=str(alice.pk))]
    assert notify(alice.pk, "Again").owner == alice


def test_what_is_rolled_back_was_never_said(alice, published):
    with pytest.raises(RuntimeError), transaction.atomic():
        notify(alice, "Report ready")
        raise RuntimeError
    assert not Notification.objects.exists()
    assert published == []


@pytest.mark.parametrize(
    ("title", "url"),
    [
        ("", ""),
        ("x" * 256, ""),
        ("T", "javascript:alert(1)"),
        ("T", "/" + "x" * 500),
        ("T", "data:text/html,x"),
    ],
)
def test_notify_refuses_what_cannot_be_shown(alice, title, url):
    with pytest.raises(ValueError, match="A notification's"):
        notify(alice, title, url=url)


def test_reading_marks_only_ones_own_and_only_once(alice, bob, published, django_capture_on_commit_callbacks):
    mine, other = notify(alice, "Mine"), notify(bob, "Bob's")
    published.clear()
    with django_capture_on_commit_callbacks(execute=True):
        assert mark_read(alice, Notification.objects.all()) == 1
        assert mark_read(alice, Notification.objects.all()) == 0
    mine.refresh_from_db()
    other.refresh_from_db()
    assert (mine.is_read, other.is_read) == (True, False)
    assert published == [InboxEvent(user=str(alice.pk))]


def test_the_job_takes_its_notifications_along(job):
    Job.objects.advance(job.pk, State.FAILED, attempt=1)
    job.delete()
    assert not Notification.objects.exists()


@pytest.fixture
def running(job):
    Job.objects.advance(job.pk, State.RUNNING, attempt=1, seq=1)
    return job


def test_a_wait_for_somebody_is_told_with_what_is_to_be_done(running, alice):
    assert Job.objects.advance(running.pk, State.WAITING, attempt=1, waits_for="approve the draft")
    told = Notification.objects.get()
    assert (told.kind, told.title, told.owner, told.job) == (
        "waiting",
        "Orders of May: approve the draft",
        alice,
        running,
    )
    # The message came twice.
    assert not Job.objects.advance(running.pk, State.WAITING, attempt=1, waits_for="approve the draft")
    assert Notification.objects.count() == 1


def test_what_ends_while_it_waits_for_somebody_is_told_as_well(running):
    Job.objects.advance(running.pk, State.WAITING, attempt=1, waits_for="approve the draft")
    jobs.cancel(running)
    kinds = Notification.objects.values_list("kind", flat=True).order_by("pk")
    assert list(kinds) == ["waiting", "cancelled"]


def test_of_a_member_that_waits_for_somebody_the_owner_is_told_and_led_to_it(alice):
    whole = jobs.start(group(tasks.add.s(1, 2), tasks.add.s(3, 4)), owner=alice)
    member = Job.objects.filter(root=whole, canvas="").first()
    Job.objects.advance(member.pk, State.WAITING, attempt=1, waits_for="approve the draft")
    assert Notification.objects.get().target == f"/jobs/{member.pk}/"
