"""More than one worker: the same tasks with one worker and with two, tracked and not; what the two share."""

import statistics
import time
from collections.abc import Callable

from benchmarks.figures import Figure
from benchmarks.stack import Stack, alone

TASKS = 300
PAUSE = 0.02
ROUNDS = 2


def measure(stack: Stack) -> list[Figure]:
    """Queued while no worker takes anything, then let go. The workers have one process each."""
    from benchmarks import tasks
    from status.jobs import start

    queues = {1: stack.shipped(), 2: stack.queue("pair", workers=2)}

    def tracked(signature: Callable[[], object]) -> Callable[[str], object]:
        return lambda queue: start(signature().set(queue=queue), owner=stack.user)

    kinds = {
        "trivial tasks": (tasks.nothing.s, lambda queue: tasks.nothing.apply_async(queue=queue)),
        f"tasks that wait {PAUSE * 1000:.0f} ms": (
            lambda: tasks.nap.s(PAUSE),
            lambda queue: tasks.nap.apply_async((PAUSE,), queue=queue),
        ),
    }
    return [_figure(stack, queues, name, plain, tracked(made)) for name, (made, plain) in kinds.items()]


def _figure(
    stack: Stack,
    queues: dict[int, str],
    name: str,
    plain: Callable[[str], object],
    tracked: Callable[[str], object],
) -> Figure:
    found: dict[tuple[int, bool], list[float]] = {}
    for _ in range(ROUNDS):
        for count, queue in queues.items():
            for is_tracked, send in ((False, plain), (True, tracked)):
                found.setdefault((count, is_tracked), []).append(_rate(stack, queue, count, send))
    rates = {key: statistics.median(rounds) for key, rounds in found.items()}

    def beside(is_tracked: bool) -> str:
        two, one = rates[2, is_tracked], rates[1, is_tracked]
        return f"{two:.0f}/s beside {one:.0f}/s: {two / one:.2f}"

    return Figure(
        name=f"{name} a second with two workers beside one",
        measured=f"tracked {beside(True)}; untracked {beside(False)}",
        bound="–",
        holds=True,
        limit="the cores, which two workers of two processes each, Redis and who waits for them share; they share one "
        "database, where SQLite lets one write at a time, and the queue",
    )


def _rate(stack: Stack, queue: str, count: int, send: Callable[[str], object]) -> float:
    from celery import current_app

    from benchmarks import tasks
    from tests.processes import wait_until

    control, done = current_app.control, [stack.gate() for _ in range(count)]
    control.cancel_consumer(queue, reply=True, timeout=2)
    for _ in range(TASKS):
        send(queue)
    for path in done:
        tasks.touch.apply_async((str(path),), queue=queue)
    began = time.perf_counter()
    control.add_consumer(queue)
    wait_until(lambda: all(path.exists() for path in done), 120, "the last of the tasks")
    return TASKS / (time.perf_counter() - began)


if __name__ == "__main__":
    alone(measure)
