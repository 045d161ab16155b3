"""More than one worker: the same tasks with one worker and with two, tracked and not; what the two share.

Each gets a part of a core: two cores have no room for two workers of two processes each, Redis and who waits for them.
"""

import statistics
import time
from collections.abc import Callable

from benchmarks.figures import Figure
from benchmarks.shares import held
from benchmarks.stack import Stack, alone

TASKS = 200
PAUSE = 0.02
ROUNDS = 2
PART = 0.4


def measure(stack: Stack) -> list[Figure]:
    """Queued while no worker takes anything, then let go. Each worker runs one task at a time."""
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
    workers = [worker for queue in queues.values() for worker in stack.workers[queue]]
    with held(([worker, *worker.children()] for worker in workers), PART) as is_held:
        part = f", each worker held to {PART:.0%} of a core" if is_held else ""
        return [
            _figure(stack, queues, name, part, plain, tracked(made)) for name, (made, plain) in kinds.items()
        ]


def _figure(
    stack: Stack,
    queues: dict[int, str],
    name: str,
    part: str,
    plain: Callable[[str], object],
    tracked: Callable[[str], object],
) -> Figure:
    found: dict[tuple[int, bool], list[float]] = {}
    for _ in range(ROUNDS):
        for count, queue in queues.items():
            for is_tracked, send in ((False, plain), (True, tracked)):
                found.setdefault((count, is_tracked), []).append(_rate(stack, queue, send))
    rates = {key: statistics.median(rounds) for key, rounds in found.items()}

    def beside(is_tracked: bool) -> str:
        two, one = rates[2, is_tracked], rates[1, is_tracked]
        return f"{two:.0f}/s beside {one:.0f}/s: {two / one:.2f}"

    return Figure(
        name=f"{name} a second with two workers beside one{part}",
        measured=f"tracked {beside(True)}; untracked {beside(False)}",
        bound="–",
        holds=True,
        limit="their cores; both wait for one database, where SQLite lets one write at a time, and take from one queue",
    )


def _rate(stack: Stack, queue: str, send: Callable[[str], object]) -> float:
    from celery import current_app

    from benchmarks import tasks
    from tests.processes import wait_until

    names = [f"{queue}-{number}@test" for number in range(len(stack.workers[queue]))]
    control, done = current_app.control, [stack.gate() for _ in names]
    control.cancel_consumer(queue, destination=names, reply=True, timeout=2)
    for _ in range(TASKS):
        send(queue)
    for path in done:
        tasks.touch.apply_async((str(path),), queue=queue)
    began = time.perf_counter()
    control.add_consumer(queue, destination=names)
    wait_until(lambda: all(path.exists() for path in done), 120, "the last of the tasks")
    return TASKS / (time.perf_counter() - began)


if __name__ == "__main__":
    alone(measure)
