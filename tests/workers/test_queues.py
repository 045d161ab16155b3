"""Several workers on several queues: nothing waits for what is long."""

import pytest

from demo.site_status import TOPIC, broadcast_site_status
from status.jobs import start
from status.models import Topic
from status.states import State
from tests import tasks
from tests.conftest import ended, reached
from tests.processes import start_worker, wait_until

pytestmark = [pytest.mark.workers, pytest.mark.django_db(transaction=True)]


def test_broadcasts_and_polls_do_not_wait_for_long_work(alice, tmp_path):
    workers = [
        start_worker(tmp_path / "long", "-P", "solo", queues="long", name="long"),
        start_worker(tmp_path / "poll", "-P", "solo", queues="poll", name="poll"),
        start_worker(tmp_path / "broadcast", "-P", "solo", queues="broadcast", name="broadcast"),
    ]
    try:
        gate = tmp_path / "gate"
        long = reached(start(tasks.tick_until.s(str(gate)).set(queue="long"), owner=alice), State.RUNNING)
        behind = start(tasks.add.s(1, 2).set(queue="long"), owner=alice)
        poll = ended(start(tasks.add.s(1, 2).set(queue="poll"), owner=alice))
        broadcast_site_status.delay()
        wait_until(lambda: Topic.objects.filter(pk=TOPIC, payload={"status": "RUNNING"}).exists())
        behind.refresh_from_db()
        assert behind.state == State.QUEUED
        gate.touch()
        assert ended(behind).state == State.SUCCEEDED
        long.refresh_from_db()
        assert [(job.queue, job.worker) for job in (long, poll)] == [
            ("long", "long@test"),
            ("poll", "poll@test"),
        ]
    finally:
        for worker in workers:
            worker.stop()
