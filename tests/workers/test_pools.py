"""What is particular to pools of greenlets: many jobs at once, one that never waits, limits, ends."""

import asyncio
import re
import signal
import threading
from contextlib import ExitStack, contextmanager, suppress
from uuid import uuid4

import pytest
from celery import current_app

from status import channel, conf
from status.events import from_wire
from status.jobs import cancel, start
from status.models import Job
from status.sources.sweep import sweep
from status.states import Failure, State
from tests import tasks
from tests.conftest import ended, reached
from tests.processes import Process, start_worker, wait_until

pytestmark = [pytest.mark.workers, pytest.mark.django_db(transaction=True)]

BURST = 200
SUCCEEDED = re.compile(r'id="(live-\w+)"[^>]*>(?:(?!<div id="live).)*?data-job-state="succeeded"', re.DOTALL)


@pytest.fixture
def green(green_worker):
    """Start a job in the gevent worker, `green(signature)`; in the end nothing has gone wrong there."""
    before = len(green_worker.output())

    def start_there(signature, **options):
        return start(signature.clone().set(queue="green"), **options)

    yield start_there
    assert "Traceback" not in green_worker.output()[before:]


@contextmanager
def listening(*groups):
    """All events that are sent to these groups while it lasts, in a list."""
    events, listens, loop = [], threading.Event(), asyncio.new_event_loop()

    async def listen():
        layer = channel.get_layer()
        name = await layer.new_channel()
        for group in groups:
            await layer.group_add(group, name)
        listens.set()
        try:
            while True:
                events.append(from_wire(await layer.receive(name)))
        finally:
            await layer.flush()

    task = loop.create_task(listen())

    def run():
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(task)
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    assert listens.wait(10)
    try:
        yield events
    finally:
        loop.call_soon_threadsafe(task.cancel)
        thread.join()


def test_of_a_burst_nothing_is_lost(green, open_page, alice, tmp_path):
    gate, ids = tmp_path / "gate", [uuid4() for _ in range(BURST)]
    for number, job_id in enumerate(ids):
        green(tasks.short.s(number, str(gate)), owner=alice, job_id=job_id)
    size = conf.current().page_size
    pages = [open_page(f"/?page={number + 1}", alice) for number in range(BURST // size)]
    with ExitStack() as stack:
        events = stack.enter_context(listening(*[channel.job_group(job_id) for job_id in ids]))
        sockets = [stack.enter_context(page.socket()) for page in pages]
        wait_until(lambda: Job.objects.filter(state=State.RUNNING).count() == 50)
        gate.touch()
        for socket in sockets:
            done = set()
            while len(done) < size:
                done |= set(SUCCEEDED.findall(socket.recv(timeout=30)))
        last = {event.job: event for event in events}
        assert {last[job_id].state for job_id in ids} == {State.SUCCEEDED}
    for number, job_id in enumerate(ids):
        job = Job.objects.get(pk=job_id)
        assert (job.state, job.result, job.attempt) == (State.SUCCEEDED, number, 1)
        assert [(step.name, step.state, step.current) for step in job.step_list] == [("Short", "done", 5)]
        assert list(job.lines.values_list("text", flat=True)) == [f"number {number}"]


def test_a_task_that_never_waits_is_reported_all_the_same(green, alice):
    job_id, counts = uuid4(), set()
    with listening(channel.job_group(job_id)) as events:
        job = reached(green(tasks.hog.s(60), owner=alice, job_id=job_id), State.RUNNING)

        def moved():
            job.refresh_from_db()
            counts.update((job.heartbeat_at, step.current) for step in job.step_list)
            return len(counts) > 2

        wait_until(moved)
        assert cancel(job).is_cancelling
        assert ended(job, 10).state == State.CANCELLED
        wait_until(lambda: events[-1].state == State.CANCELLED, 10, "the last event")
    # The request to cancel is told by who asks, who knows the row alone: a few counts ago.
    told = [e.steps[0].current for e in events if e.steps and e.cancel_requested_at is None]
    assert len(set(told)) >= 8
    assert told == sorted(told)


def test_a_hard_time_limit_is_named(green, green_worker, alice):
    job = ended(green(tasks.much_too_slow.s(), owner=alice))
    assert (job.state, job.failure) == (State.FAILED, Failure.TIMEOUT)
    assert job.error == "The job took longer than its time limit of 1 s."


def test_a_task_that_is_terminated_is_cancelled(green, green_worker, alice, tmp_path):
    job = reached(green(tasks.deaf.s(str(tmp_path / "never")), owner=alice), State.RUNNING)
    current_app.control.revoke(str(job.pk), terminate=True, destination=["green@test"])
    assert ended(job, 10).state == State.CANCELLED


@pytest.fixture
def own_worker(tmp_path):
    """Start workers for the queue `own`."""
    started = []

    def start_one(pool, **environment):
        options = ("-P", pool, "-c", "5")
        started.append(start_worker(tmp_path / pool, *options, queues="own", name=pool, **environment))
        return started[-1]

    yield start_one
    for process in started:
        process.kill()


def test_a_worker_that_stops_lets_its_tasks_end_and_sends_everything(own_worker, open_page, alice):
    worker = own_worker("gevent")
    job = reached(start(tasks.pulse.s(10, 0.1).set(queue="own"), owner=alice), State.RUNNING)
    page = open_page(f"/jobs/{job.pk}/", alice)
    with page.socket() as socket:
        frame = socket.recv(timeout=20)
        worker.child.send_signal(signal.SIGTERM)
        while 'data-job-state="succeeded"' not in frame:
            frame = socket.recv(timeout=20)
    assert worker.child.wait(20) == 0
    assert "Traceback" not in worker.output()


def test_a_worker_that_is_stopped_at_once_says_so(own_worker, alice, tmp_path):
    worker = own_worker("gevent", DJANGO_SETTINGS_MODULE="tests.one_stop_settings")
    assert "worker_soft_shutdown_timeout" not in worker.output()
    assert "CELERY_DB_REUSE_MAX" not in worker.output()
    job = start(tasks.tick_until.s(str(tmp_path / "never")).set(queue="own"), owner=alice)
    reached(job, State.RUNNING)
    worker.child.send_signal(signal.SIGQUIT)
    job = ended(job)
    assert (job.state, job.failure) == (State.FAILED, Failure.WORKER_LOST)


def test_a_killed_worker_is_noticed(own_worker, alice, tmp_path, settings):
    settings.STATUS = {"LEASE_SECONDS": 4}
    worker = own_worker("gevent")
    jobs = [start(tasks.tick_until.s(str(tmp_path / "never")).set(queue="own"), owner=alice) for _ in "123"]
    for job in jobs:
        reached(job, State.RUNNING)
    worker.kill()

    def all_lost():
        sweep.apply()
        return not Job.objects.live().exists()

    wait_until(all_lost)
    assert {(job.state, job.failure) for job in Job.objects.all()} == {(State.FAILED, Failure.WORKER_LOST)}


def test_a_gevent_worker_says_what_it_cannot_do(green_worker):
    said = green_worker.output().partition(" ready.")[0]
    assert "does not keep soft time limits, which are set for tests.tasks.too_slow." in said
    assert "With worker_soft_shutdown_timeout" in said
    assert "With CELERY_DB_REUSE_MAX" in said
    assert "not chosen with -P" not in said
    assert "does not keep time limits" not in said


def test_an_eventlet_worker_reports_and_says_what_it_cannot_do(own_worker, alice, tmp_path):
    worker = own_worker("eventlet")
    said = worker.output()
    assert "Use -P gevent." in said
    assert "does not keep time limits, which are set for tests.tasks.much_too_slow." in said
    running = start(tasks.until_cancelled.s(str(tmp_path / "cleaned")).set(queue="own"), owner=alice)
    reached(running, State.RUNNING)
    beside = ended(start(tasks.import_rows.s(100).set(queue="own"), owner=alice))
    assert (beside.state, beside.step_list[1].current) == (State.SUCCEEDED, 100)
    cancel(running)
    assert ended(running, 10).state == State.CANCELLED


def test_a_web_process_of_greenlets_publishes(tmp_path):
    """As under `gunicorn -k gevent`."""
    with listening(*[channel.topic_group(f"topic-{number}") for number in range(20)]) as events:
        process = Process("tests.green_broadcasts", log=tmp_path / "log")
        try:
            assert process.child.wait(30) == 0, process.output()
        finally:
            process.stop()
        wait_until(
            lambda: len({event.topic for event in events if event.version == 2}) == 20, 10, "the events"
        )
    assert process.output() == "all published\n"
