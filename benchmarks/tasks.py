"""What the workers run while it is measured."""

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

from asgiref.sync import async_to_sync
from celery import shared_task, signals
from celery_progress.backend import ProgressRecorder
from channels.layers import get_channel_layer

from benchmarks import queries
from status.progress import step
from tests.tasks import wait_for_file

signals.worker_process_init.connect(lambda **kwargs: queries.count_them(), weak=False)


def _paced(count: int, pause: float, gate: str) -> Iterator[int]:
    """The numbers from 1 to `count`, one every `pause` seconds, once the file `gate` is there; while it is."""
    wait_for_file(gate)
    due = time.monotonic()
    for number in range(1, count + 1):
        yield number
        due += pause
        left = due - time.monotonic()
        if left > 0:
            time.sleep(left)
        if not Path(gate).exists():
            return


@shared_task
def pulse(count: int, pause: float, gate: str) -> None:
    """Updates a job; each carries the time at which it was made, in the place of the unit."""
    counter = step("Import")
    for number in _paced(count, pause, gate):
        counter.update(number, total=count, unit=f"{time.time():.6f}")


@shared_task(ignore_result=True)
def tutorial_pulse(group: str, count: int, pause: float, gate: str, seen: str) -> None:
    """The same for the tutorial's consumers: a message to the group for each update."""
    layer = get_channel_layer("tutorial")
    for number in _paced(count, pause, gate):
        event = {
            "type": "progress.update",
            "name": "Import",
            "state": "succeeded" if number == count else "running",
            "current": number,
            "total": count,
            "percent": number * 100 // count,
            "unit": f"{time.time():.6f}",
            "speed": 100,
        }
        async_to_sync(layer.group_send)(group, event)
    Path(seen).write_text(repr(time.time()))


@shared_task(ignore_result=True)
def liveops_pulse(channel: str, count: int, pause: float, gate: str, seen: str) -> None:
    """The same for django-liveops: its worker renders a fragment for each update, and sends it to the group."""
    from liveops.progress import WebProgress

    progress = WebProgress(SimpleNamespace(get_channel_name=lambda: channel), get_channel_layer())
    for number in _paced(count, pause, gate):
        progress.status(f"{number} of {count}")
    Path(seen).touch()


@shared_task
def busy(seconds: float, gate: str) -> None:
    """Updates its job without pause."""
    wait_for_file(gate)
    counter, number, end = step("Busy"), 0, time.monotonic() + seconds
    while time.monotonic() < end:
        number += 1
        counter.update(number)


@shared_task(ignore_result=True)
def nothing() -> None:
    """The trivial task."""


@shared_task
def nothing_kept() -> None:
    """The trivial task, whose result the project's backend keeps, as it does unless told otherwise."""


@shared_task(ignore_result=True)
def nap(seconds: float) -> None:
    """The short task that waits for something."""
    time.sleep(seconds)


@shared_task(ignore_result=True)
def hold(gate: str) -> None:
    """Keeps the worker until the file is there."""
    wait_for_file(gate)


@shared_task(ignore_result=True)
def touch(path: str) -> None:
    """Says by a file that all before it is done."""
    Path(path).touch()


@shared_task
def query_count() -> int:
    """How many queries this process has made."""
    return queries.count()


@shared_task(bind=True)
def progress_recorded(self, count: int) -> float:
    """Nanoseconds for one update with celery-progress, into the project's result backend."""
    recorder = ProgressRecorder(self)
    began = time.perf_counter()
    for number in range(count):
        recorder.set_progress(number, count)
    return (time.perf_counter() - began) / count * 1e9
