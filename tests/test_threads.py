"""Real threads, with nothing patched here and in processes where gevent or eventlet has patched everything."""

import asyncio
import subprocess
import sys
import textwrap
import threading
import time

import pytest

from status import threads
from status.threads import Event, Lock, Thread
from tests.processes import PROJECT, wait_until

PATCH = {
    "gevent": "from gevent import monkey; monkey.patch_all(); from gevent import spawn, sleep",
    "eventlet": """
        import warnings; warnings.simplefilter("ignore")
        import eventlet; eventlet.monkey_patch(); from eventlet import spawn, sleep
    """,
}
# Each waits for the next: the thread for the greenlet that holds the lock, a greenlet for that one as well.
SCRIPT = """
    import asyncio, time
    from django.conf import settings
    from status import threads

    def in_greenlet():
        with lock:
            sleep(0.2)
            done.append("holder")

    def waits():
        with lock:
            done.append("waiter")

    def counts():
        while not seen.is_set():
            ticks.append(time.monotonic())
            sleep(0.005)

    def in_thread():
        asked.wait(10)
        with lock:
            done.append("thread")
        threads.new_event_loop().run_until_complete(connect())
        seen.set()

    async def connect():
        await asyncio.sleep(0.05)
        server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1")
        port = server.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection("localhost", port)
        assert await reader.read() == b""
        done.append("connected")

    lock, asked, seen, done, ticks = threads.Lock(), threads.Event(), threads.Event(), [], []
    thread = threads.Thread(in_thread, name="real")
    greenlets = [spawn(in_greenlet), spawn(waits), spawn(counts)]
    sleep(0.01)
    asked.set()
    assert threads.patched_by() == LIBRARY
    assert seen.wait(10), done
    assert {"holder", "waiter", "thread", "connected"} == set(done), done
    assert len(ticks) > 4, "the other greenlets go on"
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        print("no loop runs here")
"""


@pytest.mark.parametrize("library", PATCH)
def test_real_threads_and_greenlets_wait_for_each_other(library, tmp_path):
    script = tmp_path / "script.py"
    lines = [textwrap.dedent(PATCH[library]), f"LIBRARY = {library!r}", textwrap.dedent(SCRIPT)]
    script.write_text("\n".join(lines))
    run = subprocess.run(
        [sys.executable, str(script)],
        cwd=PROJECT,
        env={"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (run.returncode, run.stdout) == (0, "no loop runs here\n"), run.stderr


def test_where_nothing_is_patched_they_are_those_of_the_standard_library():
    seen = []
    thread = Thread(lambda: seen.append(threading.current_thread()), name="mine")
    wait_until(lambda: not thread.is_alive())
    assert (seen[0].name, seen[0].daemon) == ("mine", True)
    assert threads.patched_by() == ""
    assert type(threads.new_event_loop()) is type(asyncio.new_event_loop())


def test_an_event_wakes_all_who_wait():
    event, woken = Event(), []
    waiters = [threading.Thread(target=lambda: woken.append(event.wait(10))) for _ in range(5)]
    for waiter in waiters:
        waiter.start()
    event.set()
    for waiter in waiters:
        waiter.join(10)
    assert woken == [True] * 5
    assert event.is_set()
    assert event.wait()
    event.clear()
    began = time.monotonic()
    assert not event.wait(0.05)
    assert 0.04 < time.monotonic() - began < 1.0
    assert not event.wait(0)


def test_an_event_that_is_set_just_then_is_not_missed():
    event, rounds = Event(), 2000

    def set_often():
        for _ in range(rounds):
            asked.wait(10)
            asked.clear()
            event.set()

    asked = Event()
    thread = Thread(set_often, name="sets")
    for _ in range(rounds):
        asked.set()
        assert event.wait(10)
        event.clear()
    wait_until(lambda: not thread.is_alive())


def test_a_lock_lets_one_in_at_a_time():
    lock, inside, most = Lock(), [], []

    def enter():
        for _ in range(200):
            with lock:
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    entering = [Thread(enter, name=f"enters-{number}") for number in range(4)]
    wait_until(lambda: not any(thread.is_alive() for thread in entering))
    assert set(most) == {1}
