"""A fork and the threads that use the database: what the new process inherits of them."""

import os
import signal
import threading
import traceback
import uuid

import pytest
from django.db import connection, connections, transaction
from django.utils import timezone

from status import forks, workflow
from status.models import Process
from status.presence import Presence
from status.reporter import Reporter
from tests.processes import wait_until

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")


class Writer:
    """Is in the middle of a write, in a thread that others made, until a process has been forked."""

    def __init__(self):
        self.inside, self.forked = threading.Event(), threading.Event()

    def write(self, *args):
        with transaction.atomic():
            Process.objects.filter(pk="nobody").update(said={})
            self.inside.set()
            # A fork that waits for it does not come.
            self.forked.wait(0.5)
        return {}


def in_a_child(work):
    """Fork, and have the child do `work`; returns how it ended."""
    pid = os.fork()
    if pid == 0:
        # A child that hangs is ended by the signal.
        signal.alarm(10)
        code = 1
        try:
            work()
            code = 0
        except Exception:
            traceback.print_exc()
        finally:
            os._exit(code)
    return pid


def writes():
    connections.close_all()
    with connection.cursor() as cursor:
        if connection.vendor == "sqlite":
            cursor.execute("PRAGMA busy_timeout = 1000")
    now = timezone.now()
    Process.objects.create(name="child", kind=Process.Kind.WORKER, started_at=now, seen_at=now)


@pytest.fixture
def telling(settings):
    """Have a process told of, by the thread that does so."""
    settings.STATUS = {"WORKER_SECONDS": 0.05}
    begun = []

    def begin(writer):
        begun.append(Presence("w1@here", Process.Kind.WORKER, writer.write))

    yield begin
    for each in begun:
        each.stop()
        wait_until(lambda each=each: not each._thread.is_alive(), 20, "the end of its thread")


@pytest.fixture
def reporting(monkeypatch):
    """Have the reporter compute a canvas, in a process where no job has begun."""

    def begin(writer):
        monkeypatch.setattr(workflow, "refresh_in_turn", lambda *args: (writer.write() and 0.0, set()))
        Reporter().refresh_soon([uuid.uuid4()])

    return begin


@pytest.mark.parametrize("begins", ["telling", "reporting"])
def test_a_forked_process_inherits_nothing_half_done(transactional_db, request, begins):
    """SQLite would tell it for ever that its database is locked."""
    writer = Writer()
    request.getfixturevalue(begins)(writer)
    assert writer.inside.wait(20)
    connections.close_all()
    pid = in_a_child(writes)
    writer.forked.set()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert Process.objects.filter(pk="child").exists()


def test_a_fork_does_not_wait_for_ever(monkeypatch, caplog):
    monkeypatch.setattr(forks, "PATIENCE_SECONDS", 0.05)
    with forks.hold_off():
        pid = in_a_child(lambda: None)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert "may hang" in caplog.text
    # Neither this process nor one after it finds the way shut.
    with forks.hold_off():
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(in_a_child(enters), 0)[1]) == 0


def enters():
    with forks.hold_off():
        pass
