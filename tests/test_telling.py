"""Ends of tasks are told a moment later, many at once; and none is lost or told twice."""

from datetime import timedelta

import pytest
from django.db import OperationalError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from status import jobs, telling
from status.events import InboxEvent
from status.live import LiveJob
from status.models import Delivery, Job, Notification, Preferences
from status.reporter import Reporter
from status.states import State
from status.telling import MOST_AT_ONCE, SETTLE_SECONDS, catch_up, note_seen, tell_missed
from status.watch import Ending
from tests.processes import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


class Still(Reporter):
    """A reporter without its thread."""

    def _start(self):
        pass


class Watched(Reporter):
    """A reporter that shows how long it waits."""

    wait: float | None = 0.0

    def _tick(self):
        self.wait = super()._tick()
        return self.wait


@pytest.fixture
def own(published):
    return Still()


def end(own, owner=None, state=State.SUCCEEDED, **fields):
    job = Job.objects.create(task="t", title="T", state=State.RUNNING, owner=owner, **fields)
    live = LiveJob(job.pk)
    own.begin(live)
    own.end(live, Ending(state=state))
    job.refresh_from_db()
    assert job.state == state
    return job


def die_untold(owner, ago=SETTLE_SECONDS * 2, **fields):
    """A job whose process has ended it and died before it could tell of that."""
    at = timezone.now() - timedelta(seconds=ago)
    fields = {"state": State.SUCCEEDED, "finished_at": at, **fields}
    return Job.objects.create(task="t", title="T", owner=owner, **fields)


def test_all_that_ended_meanwhile_is_told_in_one_statement(
    own, alice, bob, published, django_assert_num_queries
):
    ended = [end(own, owner) for owner in (alice, bob, None, alice, alice)]
    assert not Notification.objects.exists()
    published.clear()
    with CaptureQueriesContext(connection) as asked:
        own._tell(own._untold.due_at)
    said = [query["sql"].split()[0] for query in asked]
    assert [word for word in said if word not in {"BEGIN", "COMMIT"}] == ["INSERT"]
    told = set(Notification.objects.values_list("job", "owner", "attempt", "kind", "title"))
    assert told == {(job.pk, job.owner_id, 1, "succeeded", "T") for job in ended if job.owner_id}
    assert set(published) == {InboxEvent(user=str(owner.pk)) for owner in (alice, bob)}
    assert len(published) == 2
    assert not own._untold


def test_it_is_told_soon_while_another_job_says_nothing(published, alice, settings):
    settings.STATUS = {"CHECKPOINT_SECONDS": 60}
    own = Watched()
    quiet = LiveJob(Job.objects.create(task="t", title="Quiet", state=State.RUNNING).pk)
    own.begin(quiet)
    wait_until(lambda: own.wait == 1.0)
    job = end(own, alice)
    wait_until(lambda: Notification.objects.filter(job=job).exists())
    own.end(quiet, Ending(state=State.SUCCEEDED))


def test_a_lone_job_wakes_the_thread_that_tells(published, alice):
    own = Reporter()
    end(own)
    wait_until(lambda: own._asleep)
    job = end(own, alice)
    wait_until(lambda: Notification.objects.filter(job=job).exists())


def test_of_many_ends_that_are_told_together_the_first_wakes_the_thread(own, alice, monkeypatch):
    end(own)
    woken = []
    monkeypatch.setattr(own._wake, "set", lambda: woken.append(True))
    for owner in (None, alice, alice, None, alice):
        end(own, owner)
    assert len(woken) == 1
    own._tell(own._untold.due_at)
    end(own, alice)
    assert len(woken) == 2


def test_a_process_that_is_stopped_tells_before(own, alice):
    end(own, alice)
    own.flush(1)
    assert Notification.objects.count() == 1


def test_an_end_within_a_transaction_is_told_by_that(own, alice):
    with transaction.atomic():
        end(own, alice)
        assert Notification.objects.count() == 1
    assert not own._untold


def test_what_the_database_refuses_is_told_later(own, alice, monkeypatch, caplog):
    end(own, alice)

    def refuse(*args, **kwargs):
        raise OperationalError("database is locked")

    monkeypatch.setattr("status.telling.insert", refuse)
    [wait] = own._tell(own._untold.due_at)
    assert 0 < wait <= telling.RETRY_SECONDS
    assert "1 ends are not told yet" in caplog.text
    monkeypatch.undo()
    own._tell(own._untold.due_at)
    assert Notification.objects.count() == 1


def test_a_job_that_is_deleted_meanwhile_keeps_none_from_being_told(own, alice):
    gone, there = end(own, alice), end(own, alice)
    gone.delete()
    own._tell(own._untold.due_at)
    assert Notification.objects.values_list("job", flat=True).get() == there.pk


def test_what_goes_out_is_planned_with_what_is_told(own, alice, settings, monkeypatch):
    settings.STATUS = {"TELL_BY": ["webhook"]}
    monkeypatch.setattr("status.deliveries.send", lambda delivery: True)
    chosen = {"page": [], "webhook": ["failed"]}
    Preferences.objects.create(user=alice, chosen=chosen)
    end(own, alice)
    failed = end(own, alice, State.FAILED)
    own._tell(own._untold.due_at)
    assert Delivery.objects.values_list("notification__job", "channel").get() == (failed.pk, "webhook")
    assert Notification.objects.filter(read_at=None).count() == 0
    lost = die_untold(alice, state=State.FAILED)
    assert tell_missed() == 0, "the first time nothing is looked at that ended before"
    assert catch_up(Job.objects.filter(pk=lost.pk)) == 1
    assert Delivery.objects.filter(notification__job=lost).count() == 1


def test_what_a_process_took_with_it_is_told_by_the_sweep_once(alice, published):
    tell_missed()
    whole = die_untold(alice, ago=SETTLE_SECONDS + 1)
    for _ in range(2):
        # The place is before it, as it would be if it had ended since the last sweep.
        telling.Topic.objects.update(updated_at=whole.finished_at - timedelta(seconds=1))
        tell_missed()
    die_untold(None)
    die_untold(alice, parent=whole, root=whole, position=0)
    assert Notification.objects.values_list("job", "kind").get() == (whole.pk, "succeeded")


def test_ends_that_may_still_be_told_by_their_process_are_left_to_it(alice):
    tell_missed()
    telling.Topic.objects.update(updated_at=timezone.now() - timedelta(hours=1))
    die_untold(alice, ago=SETTLE_SECONDS / 2)
    assert tell_missed() == 0


def test_after_a_long_pause_all_are_told_in_several_goes(alice, monkeypatch):
    monkeypatch.setattr(telling, "MOST_AT_ONCE", 10)
    tell_missed()
    for number in range(25):
        die_untold(alice, ago=SETTLE_SECONDS * 2 + number)
    telling.Topic.objects.update(updated_at=timezone.now() - timedelta(hours=1))
    assert [tell_missed() for _ in range(4)] == [10, 10, 5, 0]
    assert Notification.objects.count() == 25


def test_who_has_seen_the_end_before_it_was_told_is_not_told_of_it(own, alice):
    job = end(own, alice)
    note_seen(alice, job)
    assert Notification.objects.get().read_at is not None
    own._tell(own._untold.due_at)
    assert Notification.objects.get().read_at is not None


def test_an_end_that_was_not_told_is_told_before_the_job_is_retried(alice, monkeypatch):
    monkeypatch.setattr("status.outbox.send", lambda job, attempt: True)
    job = die_untold(alice, state=State.FAILED)
    assert jobs.retry(job).attempt == 2
    assert Notification.objects.values_list("kind", "attempt").get() == ("failed", 1)


@pytest.mark.parametrize("count", [1, 300])
def test_however_many_have_ended_looking_for_the_untold_costs_three_queries(
    alice, count, django_assert_num_queries
):
    tell_missed()
    done = [die_untold(alice, ago=SETTLE_SECONDS + 5) for _ in range(count)]
    Notification.objects.bulk_create(
        Notification(owner=alice, job=job, attempt=1, title="T", kind="succeeded") for job in done
    )
    telling.Topic.objects.update(updated_at=timezone.now() - timedelta(seconds=SETTLE_SECONDS + 60))
    with django_assert_num_queries(3):
        assert tell_missed() == 0


def test_the_untold_are_found_by_index(alice, monkeypatch):
    asked = []
    monkeypatch.setattr(telling, "catch_up", lambda found: asked.append(found) or 0)
    tell_missed()
    monkeypatch.undo()
    told = Notification.objects.filter(job=telling.OuterRef("pk"), attempt=telling.OuterRef("attempt"))
    plan = asked[0].filter(~telling.Exists(told), owner__isnull=False)[:MOST_AT_ONCE].explain()
    if connection.vendor == "sqlite":
        assert "USING INDEX status_job_ended" in plan
        assert "USING COVERING INDEX" in plan, "of the constraint that each is told once"
