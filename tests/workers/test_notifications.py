"""What real workers tell people."""

import pytest
from celery import chain, group

from status import outbox
from status.jobs import start
from status.models import Notification
from status.states import State
from tests import tasks
from tests.conftest import ended
from tests.processes import wait_until

pytestmark = [pytest.mark.workers, pytest.mark.django_db(transaction=True)]


def told(count):
    """What is told, once it is so much; the end of a task is told a moment later."""
    wait_until(lambda: Notification.objects.count() >= count)
    return list(Notification.objects.values_list("kind", "title", "attempt").order_by("pk"))


def test_a_task_tells_a_user_and_its_end_is_told_as_well(worker, alice):
    job = ended(start(tasks.tell.s(alice.pk, "Report ready", "/reports/7/"), owner=alice, title="Report"))
    assert told(2) == [("message", "Report ready", None), ("succeeded", "Report", 1)]
    assert Notification.objects.get(job=job).owner == alice


def test_a_failed_workflow_is_told_once_and_as_the_whole(worker, alice):
    canvas = chain(tasks.add.s(1, 2), group(tasks.fail.si("no"), tasks.add.si(1, 1)), tasks.add.si(2, 2))
    whole = ended(start(canvas, owner=alice, title="All of it"))
    assert whole.state == State.FAILED
    assert told(1) == [("failed", "All of it", 1)]


def test_a_message_that_comes_twice_tells_once(worker, alice, tmp_path):
    job = ended(start(tasks.append.s(str(tmp_path / "runs")), owner=alice, title="Twice"))
    assert outbox.deliver(job, 1)
    # Behind it in the same queue.
    ended(start(tasks.add.s(1, 2), title="Later"))
    wait_until(lambda: (tmp_path / "runs").exists())
    assert told(1) == [("succeeded", "Twice", 1)]


def test_the_end_of_a_job_whose_process_died_is_told_once(mortal, alice):
    job = ended(mortal.start(tasks.kill_yourself.s(), owner=alice, title="Dies"))
    assert job.state == State.FAILED
    assert told(1) == [("failed", "Dies", 1)]
