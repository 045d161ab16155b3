"""Sample tasks for the tests."""

import os
import signal
import time
from pathlib import Path

from celery import chain, shared_task
from celery.exceptions import Ignore, Reject
from celery.utils.log import get_task_logger
from django.db import transaction
from django.utils import translation

from demo.renders import Passing, ask, stop_render
from status.notifications import notify
from status.progress import JobCancelled, attach, log, plan, step, track
from status.sources.remote import poll_again

task_logger = get_task_logger(__name__)


def wait_for_file(path, seconds=60.0):
    """Block until `path` exists: the test decides when a task goes on."""
    deadline = time.monotonic() + seconds
    while not Path(path).exists():
        if time.monotonic() > deadline:
            raise TimeoutError(path)
        time.sleep(0.01)


@shared_task(bind=True)
def language(self, passes_on=False):
    """The language that is active; a job of its own is sent by `passes_on`, and another attempt follows the first."""
    if passes_on:
        language.delay()
        if not self.request.retries:
            raise self.retry(countdown=0)
    return translation.get_language()


@shared_task
def add(x, y):
    return {"sum": x + y}


@shared_task
def traced():
    """The trace that it runs in."""
    from opentelemetry import trace

    step("Look").update(1, total=1)
    return {"trace": f"{trace.get_current_span().get_span_context().trace_id:032x}"}


@shared_task
def tell(user_id, title, url):
    notify(user_id, title, url=url)


@shared_task
def touch(path):
    Path(path).touch()


@shared_task
def talk(count, gate):
    """Logs so many lines, waits for a file, and logs as many again."""
    for number in range(count):
        log("line %d", number)
    wait_for_file(gate)
    for number in range(count, 2 * count):
        log("line %d", number)


@shared_task
def import_rows(count, gate=None):
    plan({"Read": 1, "Import": 8, "Write": 1})
    with step("Read", unit="bytes") as reading:
        reading.update(1024, total=1024)
    for number in track(range(count), "Import", unit="rows"):
        if gate and number == count // 2:
            log("half of %d", count)
            task_logger.warning("careful now")
            wait_for_file(gate)
    with step("Write"):
        attach("rows.txt", f"{count} rows\n")
    return {"url": "/orders/", "label": "See the orders"}


@shared_task
def flood(count, gate=None):
    """Updates at full speed."""
    if gate:
        wait_for_file(gate)
    counter = step("Flood", unit="updates")
    for number in range(1, count + 1):
        counter.update(number, total=count)


@shared_task
def pulse(count, pause_seconds):
    """Updates at a given pace; the time of each stands in its log line's place, the step's unit."""
    counter = step("Pulse")
    for number in range(1, count + 1):
        counter.update(number, total=count, unit=f"{time.time():.6f}")
        time.sleep(pause_seconds)


@shared_task
def chatter(count, gate=None):
    if gate:
        wait_for_file(gate)
    for number in range(1, count + 1):
        log("line %d", number)


@shared_task
def fail(text):
    with step("Break"):
        raise ValueError(text)


@shared_task
def until_cancelled(cleanup_path):
    """Runs until it is cancelled, then cleans up."""
    try:
        for _ in track(range(10**9), "Wait"):
            time.sleep(0.01)
    except JobCancelled:
        log("cleaning up")
        Path(cleanup_path).touch()
        raise


@shared_task
def deaf(gate):
    """Reports nothing and so cannot be asked to stop."""
    wait_for_file(gate)
    return "done all the same"


@shared_task
def ignored():
    raise Ignore("nothing to do")


@shared_task
def rejected():
    raise Reject("not today", requeue=False)


@shared_task(bind=True, max_retries=3)
def third_time_lucky(self):
    log("attempt of retry %d", self.request.retries)
    if self.request.retries < 2:
        raise self.retry(exc=ConnectionError("not yet"), countdown=0)
    return "at last"


@shared_task(soft_time_limit=1)
def too_slow():
    time.sleep(30)


@shared_task
def kill_yourself():
    os.kill(os.getpid(), signal.SIGKILL)


@shared_task
def unserialisable_result():
    return "x" * 400_000


@shared_task
def tick_until(gate, seen=None):
    """Counts, a hundred a second, until the test opens the gate; leaves the count in a file."""
    counter, number = step("Tick"), 0
    while not Path(gate).exists():
        number += 1
        counter.update(number)
        if seen:
            Path(seen).write_text(str(number))
        time.sleep(0.01)


@shared_task
def tick_then_fail(gate):
    """Ends a step, counts in the next, a hundred a second, until the test opens the gate, and fails."""
    plan({"Read": 1, "Tick": 8})
    with step("Read"):
        pass
    counter, number = step("Tick"), 0
    while not Path(gate).exists():
        number += 1
        counter.update(number, total=9_999)
        time.sleep(0.01)
    raise ValueError("no more ticks")


@shared_task
def kill_yourself_once(path):
    """Dies the first time, at once and hard."""
    if not Path(path).exists():
        Path(path).touch()
        os.kill(os.getpid(), signal.SIGKILL)


@shared_task
def append(path):
    with open(path, "a") as file:
        file.write("x")


@shared_task
def fail_without(path):
    log("looking")
    if not Path(path).exists():
        raise FileNotFoundError(path)


@shared_task(bind=True, max_retries=4)
def later(self):
    raise self.retry(exc=ConnectionError("not yet"), countdown=600)


@shared_task(time_limit=1)
def much_too_slow():
    time.sleep(60)


@shared_task(bind=True)
def watch_render(self, render, after=0.1, deadline=None):
    """Polls the demo's farm, quickly."""
    pace = {"after": after, "deadline": deadline, "longest": 0.5, "on_cancel": stop_render.si(render)}
    log("looking")
    try:
        state = ask("GET", f"/renders/{render}")
    except Passing as error:
        raise poll_again(self, error=error, **pace) from None
    step("Render", unit="frames").update(state["done"], total=state["frames"])
    if not state["finished"]:
        raise poll_again(self, **pace)
    return state["url"]


@shared_task(bind=True)
def count_polls(self, path, times, poll=1, after=0.1):
    """Polls `times`, and notes each in a file."""
    append.run(path)
    if poll < times:
        raise poll_again(self, after=after, kwargs={"poll": poll + 1})


@shared_task(bind=True)
def wait_for_approval(self, path):
    """Polls until the test lays the file there."""
    if not Path(path).exists():
        raise poll_again(self, after=0.1, waits_for="approve the draft")
    return "approved"


@shared_task
def counts_to(folder, numbers, total):
    """Counts to each of these numbers when the test lays a file of that name in the folder, then to the end."""
    counter = step("Count")
    for number in numbers:
        wait_for_file(f"{folder}/{number}")
        counter.update(number, total=total)
    wait_for_file(f"{folder}/end")


@shared_task
def total(numbers):
    return sum(numbers)


@shared_task
def plus(x, y, gate=None):
    """Adds, once the test opens the gate."""
    if gate:
        wait_for_file(gate)
    return x + y


@shared_task
def needs(path, value=None):
    """Fails until the file is there; then returns `value`."""
    if not Path(path).exists():
        raise FileNotFoundError("not there yet")
    return value


@shared_task
def half_way(gate):
    """Stands at one half until the test opens the gate."""
    for number in track(range(10), "Half"):
        if number == 5:
            wait_for_file(gate)


@shared_task
def starts_others(count, gate=None):
    """Sends `count` tasks of its own, then perhaps waits."""
    for number in range(count):
        plus.delay(number, 1)
    if gate:
        wait_for_file(gate)


@shared_task
def opens_then_rolls_back(path):
    """Sends a task within a transaction that is then rolled back."""
    try:
        with transaction.atomic():
            append.delay(path)
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass


@shared_task
def starts_a_chain(path):
    chain(append.si(path), append.si(path), append.si(path)).delay()


@shared_task(ignore_result=True)
def a_set():
    return {1, 2}


@shared_task
def hog(seconds):
    """Counts at full speed and lets nobody else run; a greenlet that never waits."""
    counter, end = step("Hog"), time.monotonic() + seconds
    while time.monotonic() < end:
        counter.advance()


@shared_task
def short(number, gate):
    """One of many at once: waits with the others, tells something, ends."""
    wait_for_file(gate)
    for _ in track(range(5), "Short"):
        time.sleep(0.01)
    log("number %d", number)
    return number


@shared_task
def stubborn(gate, seen):
    """Reports nothing, and does not heed SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        Path(seen).touch()
        wait_for_file(gate)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


@shared_task
def tidy(seen, cleanup_path, handles=False, gate=None):
    """Reports nothing; leaves in order on SIGTERM, by Celery's handler or one of its own, when `gate` is there."""

    def leave(number, frame):
        raise SystemExit(0)

    if handles:
        signal.signal(signal.SIGTERM, leave)
    try:
        Path(seen).write_text(str(os.getpid()))
        wait_for_file(f"{seen}.never")
    finally:
        log("cleaning up")
        if gate:
            wait_for_file(gate)
        Path(cleanup_path).touch()


@shared_task(acks_late=True, reject_on_worker_lost=True)
def deaf_until(gate, runs):
    """Reports nothing, notes each run and its process; its message is acknowledged at the end."""
    with open(runs, "a") as file:
        file.write(f"{os.getpid()}\n")
    wait_for_file(gate)


@shared_task(bind=True)
def replace_yourself(self, path):
    log("before")
    raise self.replace(append_and_say.si(path))


@shared_task
def append_and_say(path):
    append.run(path)
    log("instead")
    return "replaced"


@shared_task(bind=True, autoretry_for=(Exception,), retry_kwargs={"countdown": 0, "max_retries": 3})
def impatient(self, path, deadline):
    """Polls until its deadline; what Celery retries is appended to the path."""
    append.run(path)
    raise poll_again(self, after=0.1, deadline=deadline, on_cancel=touch.si(f"{path}.cancelled"))
