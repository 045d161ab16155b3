"""A process that tells of itself, from its own thread."""

import os
import subprocess
import sys

import pytest
from django.db import DatabaseError

from status import presence
from status.models import Process
from status.presence import Presence, memory_bytes
from tests.processes import wait_until


@pytest.fixture
def told(transactional_db, settings):
    """Begin to tell of a process; it ends with the test."""
    settings.STATUS = {"WORKER_SECONDS": 0.05}
    begun = []

    def begin(look, name="w1@here"):
        begun.append(Presence(name, Process.Kind.WORKER, look))
        return begun[-1]

    yield begin
    for each in begun:
        each.stop()
        wait_until(lambda each=each: not each._thread.is_alive(), 20, "the end of its thread")


def row(name="w1@here"):
    return Process.objects.filter(pk=name).first()


def test_it_tells_again_and_again_and_at_last_that_it_stops(told):
    looks = []
    process = told(lambda: looks.append(1) or {"looks": len(looks)})
    first = wait_until(row, 20, "the row")
    assert (first.kind, first.stopped_at) == ("worker", None)
    wait_until(lambda: row().said["looks"] > first.said["looks"] + 1, 20, "the next looks")
    assert row().started_at == first.started_at
    assert row().seen_at > first.seen_at
    process.stop()
    wait_until(lambda: not process._thread.is_alive(), 20, "the end of its thread")
    assert row().stopped_at is not None
    again = told(lambda: {"looks": 0})
    wait_until(lambda: row().stopped_at is None, 20, "it is back")
    assert row().started_at > first.started_at
    again.stop()


def test_what_goes_wrong_once_is_tried_again(told, caplog):
    failures = [DatabaseError("gone"), ZeroDivisionError("a slip")]

    def look():
        if failures:
            raise failures.pop()
        return {"well": True}

    told(look)
    wait_until(row, 20, "the row")
    assert row().said == {"well": True}
    assert caplog.text.count("could not tell of itself") == 2


def test_a_row_that_was_deleted_is_written_again(told):
    told(dict)
    wait_until(row, 20, "the row")
    Process.objects.all().delete()
    wait_until(row, 20, "the row again")


def test_in_a_hurry_it_does_not_wait(told, settings):
    settings.STATUS = {"WORKER_SECONDS": 3600}
    looks = []
    process = told(lambda: looks.append(1) or {})
    wait_until(row, 20, "the row")
    process.hurry()
    wait_until(lambda: len(looks) >= 2, 20, "another look")


def test_a_long_name_is_cut(told):
    told(dict, "w" * 300)
    wait_until(lambda: row("w" * 200), 20, "the row")


def test_memory_is_what_the_system_says():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        wait_until(lambda: (memory_bytes(child.pid) or 0) > 1_000_000, 20, "its memory")
        child.communicate(b"\n")
    assert memory_bytes(child.pid) is None
    assert memory_bytes() == pytest.approx(memory_bytes(os.getpid()), rel=0.2)


def test_a_web_server_tells_what_it_has_counted():
    said = presence.look_at_web()
    assert {"sockets", "received", "frames", "repaired", "memory_bytes"} <= set(said)
    assert len(said["delay_counts"]) == len(said["delay_bounds"]) + 1
