"""What workers tell of themselves, and how they keep to paused queues."""

import os
import signal

import pytest
from django.utils import timezone

from status import conf, queues
from status.jobs import start
from status.models import Process
from status.states import State
from status.workers import Standing, read_processes, workers_of
from tests import tasks
from tests.conftest import ended, reached
from tests.processes import start_worker, wait_until

pytestmark = [pytest.mark.workers, pytest.mark.django_db(transaction=True)]


@pytest.fixture(autouse=True)
def quick(settings):
    settings.STATUS = {"WORKER_SECONDS": 1}


@pytest.fixture
def own(tmp_path):
    """Start workers that tell of themselves every second."""
    started = []

    def start_one(name, *options, queues="own"):
        environment = {"DJANGO_SETTINGS_MODULE": "tests.quick_settings"}
        process = start_worker(tmp_path / name, *options, queues=queues, name=name, **environment)
        started.append(process)
        return process

    yield start_one
    for process in started:
        process.kill()


def find(name):
    """The worker of that name as people see it."""
    now = timezone.now()
    return next((w for w in workers_of(read_processes(now), now) if w.name == name), None)


def seen(name, condition, what):
    return wait_until(lambda: (worker := find(name)) and condition(worker) and worker, 20, what)


@pytest.mark.parametrize(
    ("pool", "options"),
    [
        ("prefork", ("-c", "2")),
        ("threads", ("-P", "threads", "-c", "3")),
        ("gevent", ("-P", "gevent", "-c", "5")),
        ("solo", ("-P", "solo")),
    ],
)
def test_a_worker_of_each_pool_tells_what_it_is_and_runs_and_how_it_goes(own, alice, tmp_path, pool, options):
    process, name, gate = own(pool, *options), f"{pool}@test", tmp_path / "gate"
    worker = seen(name, lambda worker: worker.is_up, "it is up")
    told = worker.told
    assert (told.pool, told.queues) == (pool, ("own",))
    assert told.concurrency == (1 if pool == "solo" else int(options[-1]))
    assert told.memory_bytes > 10_000_000
    assert told.children == (2 if pool == "prefork" else 0)
    assert (told.children_bytes or 0) > (10_000_000 if pool == "prefork" else -1)
    job = start(tasks.tick_until.s(str(gate)).set(queue="own"), owner=alice, title="Long one")
    worker = seen(name, lambda worker: worker.jobs, "its job")
    assert [(each.pk, each.title) for each in worker.jobs] == [(job.pk, "Long one")]
    # Also while it does nothing but run that one.
    seen_at = Process.objects.get(pk=name).seen_at
    wait_until(lambda: Process.objects.get(pk=name).seen_at > seen_at, 10, "a sign of life")
    gate.touch()
    ended(job)
    assert not find(name).jobs
    os.kill(process.child.pid, signal.SIGTERM)
    seen(name, lambda worker: worker.standing is Standing.STOPPED, "it has stopped")


def test_a_worker_that_dies_is_lost_after_its_time(own):
    process = own("mortal", "-P", "solo")
    seen("mortal@test", lambda worker: worker.is_up, "it is up")
    process.kill()
    assert find("mortal@test").is_up
    worker = seen("mortal@test", lambda worker: not worker.is_up, "it is lost")
    assert worker.standing is Standing.LOST
    silent = (timezone.now() - worker.since).total_seconds()
    assert silent >= 3 * conf.current().worker_seconds
    process.start()
    seen("mortal@test", lambda worker: worker.is_up, "it is back")


def test_what_is_no_job_is_told_too_and_how_much_comes(own, tmp_path):
    own("other", "-P", "threads", "-c", "1")
    gate = tmp_path / "gate"
    tasks.deaf.s(str(gate)).set(queue="own").delay()
    worker = seen("other@test", lambda worker: worker.told.others, "the task")
    assert [other.task for other in worker.told.others] == ["tests.tasks.deaf"]
    assert -1 <= (timezone.now() - worker.told.others[0].started_at).total_seconds() < 20
    assert 0 < worker.told.rates["own"] <= 1
    gate.touch()
    seen("other@test", lambda worker: not worker.told.others, "its end")


@pytest.mark.parametrize("options", [("-c", "1"), ("-P", "gevent", "-c", "5")], ids=["prefork", "gevent"])
def test_nobody_takes_from_a_paused_queue_whenever_it_was_started(own, alice, monkeypatch, options):
    first = own("first", *options, queues="own,side")
    assert queues.pause("own", by=alice)
    assert not queues.pause("own", by=alice)
    first.wait_for("Canceling queue own", 20)
    second = own("second", *options)
    assert "The queue own is paused" in second.output()
    job = start(tasks.add.s(1, 2).set(queue="own"), owner=alice)
    # What else a worker takes from goes on.
    beside = start(tasks.add.s(1, 2).set(queue="side"), owner=alice)
    assert ended(beside).worker == "first@test"
    job.refresh_from_db()
    assert job.state == State.QUEUED
    assert queues.read_depths(["own"])["own"] == 1
    assert find("second@test").told.queues == ("own",)
    # They look by themselves as well, should nobody be able to tell them.
    monkeypatch.setattr(queues, "_tell_all", lambda: None)
    assert queues.resume("own")
    assert reached(job, State.SUCCEEDED)
    # Who did not take from a queue before does not afterwards.
    queues.pause("side")
    first.wait_for("Canceling queue side", 20)
    queues.resume("side")
    first.wait_for("Started consuming from side", 20)
    assert "side" not in second.output()
