"""Parts are taken away while a job runs; everything comes right by itself."""

import sqlite3
import time
from uuid import uuid4

import pytest
from django.db import connection
from kombu import Connection as Broker
from websockets.exceptions import ConnectionClosed

from config.valkey import Valkey
from status.jobs import start
from status.models import Job
from status.outbox import ATTEMPT_HEADER
from status.states import State
from tests import tasks
from tests.conftest import Page, ended, reached
from tests.processes import Web, start_worker, wait_until

pytestmark = [pytest.mark.workers, pytest.mark.django_db(transaction=True)]


def send_by(broker_url, owner, task, *args):
    """Start a job whose message goes to a broker of the test's own."""
    job = Job.objects.create(pk=uuid4(), task=task.name, title=task.name, owner=owner)
    with Broker(broker_url) as broker:
        task.apply_async(args, task_id=str(job.pk), headers={ATTEMPT_HEADER: 1}, connection=broker)
    return job


def progress_of(job):
    job.refresh_from_db()
    return job.step_list[-1].current if job.step_list else 0


@pytest.mark.parametrize("pool", ["prefork", "gevent"])
def test_redis_is_restarted_under_a_running_job(alice, open_page, tmp_path, pool):
    with Valkey(tmp_path / "valkey", persistent=True) as valkey:
        worker = start_worker(tmp_path / "worker", "-P", pool, "-c", "1", name="redis", REDIS_URL=valkey.url)
        web = Web(tmp_path / "web", REDIS_URL=valkey.url)
        try:
            gate = tmp_path / "gate"
            job = reached(send_by(valkey.url, alice, tasks.tick_until, str(gate)), State.RUNNING)
            page = open_page(f"/jobs/{job.pk}/", alice)
            page = Page(page.html, web, page.cookie)
            with page.socket() as socket:
                socket.recv(timeout=20)
                valkey.stop()
                before = progress_of(job)
                if pool == "gevent":
                    # Celery's pauses between two tries to connect halt all greenlets; the reporter is a thread.
                    beat = job.heartbeat_at
                    wait_until(
                        lambda: progress_of(job) > before and job.heartbeat_at > beat, what="a heartbeat"
                    )
                else:
                    wait_until(lambda: progress_of(job) > before + 50, what="progress without Redis")
                valkey.start()
                gate.touch()
                text = ""
                while 'data-job-state="succeeded"' not in text:
                    text = socket.recv(timeout=30)
            assert ended(job).state == State.SUCCEEDED
        finally:
            worker.stop()
            web.stop()


def test_pages_that_come_while_redis_is_down_are_told_to_come_back(alice, open_page, tmp_path):
    with Valkey(tmp_path / "valkey") as valkey:
        web = Web(tmp_path / "web", REDIS_URL=valkey.url)
        try:
            job = Job.objects.create(task="t", title="T", owner=alice)
            page = open_page(f"/jobs/{job.pk}/", alice)
            page = Page(page.html, web, page.cookie)
            valkey.stop()
            with page.socket() as socket:
                with pytest.raises(ConnectionClosed) as closed:
                    socket.recv(timeout=30)
                # One of the codes after which htmx connects again.
                assert closed.value.rcvd.code == 1011
            valkey.start()
            with page.socket() as socket:
                assert 'data-job-state="queued"' in socket.recv(timeout=20)
        finally:
            web.stop()


@pytest.mark.skipif(connection.vendor != "sqlite", reason="Only SQLite has one lock for all writers.")
def test_a_locked_database_holds_no_task(worker, alice, tmp_path):
    gate, seen = tmp_path / "gate", tmp_path / "seen"
    job = reached(start(tasks.tick_until.s(str(gate), str(seen)), owner=alice), State.RUNNING)
    wait_until(lambda: progress_of(job) > 0)
    locker = sqlite3.connect(connection.settings_dict["NAME"], isolation_level=None)
    locker.execute("BEGIN IMMEDIATE")
    try:
        before = int(seen.read_text() or 0)
        began = time.monotonic()
        wait_until(lambda: int(seen.read_text() or 0) > before + 100, what="steps beside the lock")
        assert time.monotonic() - began < 10
    finally:
        locker.execute("ROLLBACK")
        locker.close()
    after = progress_of(job)
    wait_until(lambda: progress_of(job) > after, what="the row catching up")
    gate.touch()
    assert ended(job).state == State.SUCCEEDED


def test_a_worker_that_is_stopped_at_once_says_so(alice, tmp_path):
    process = start_worker(tmp_path / "log", "-c", "1", queues="stopping", name="stopping")
    try:
        job = start(tasks.tick_until.s(str(tmp_path / "never")).set(queue="stopping"), owner=alice)
        reached(job, State.RUNNING)
        process.child.send_signal(3)
        job = ended(job)
        assert (job.state, job.failure) == (State.FAILED, "worker lost")
    finally:
        process.stop()
