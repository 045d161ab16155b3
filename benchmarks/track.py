"""What one iteration of `track()` and one `update()` cost, beside tqdm, rich and celery-progress in the same run."""

import io
import statistics
import time
from collections.abc import Callable, Iterable
from uuid import uuid4

from benchmarks.figures import Figure
from benchmarks.stack import Stack, alone

COUNT = 1_000_000
ROUNDS = 5
RECORDED = 200


def nanoseconds(loop: Callable[[], None], bare: float = 0.0) -> float:
    """The time of one iteration of `loop`, less `bare`."""
    began = time.perf_counter()
    loop()
    return (time.perf_counter() - began) / COUNT * 1e9 - bare


def _exhaust(items: Iterable[int]) -> None:
    for _ in items:
        pass


def measure(stack: Stack) -> list[Figure]:
    """Alternate all of them, so that a noisy moment hits all alike; report medians."""
    from rich.console import Console
    from rich.progress import track as rich_track
    from tqdm import tqdm

    from benchmarks import tasks
    from status.live import LiveJob, set_current
    from status.progress import step, track

    set_current(LiveJob(uuid4()))
    counter = step("Update")

    def update() -> None:
        for number in range(COUNT):
            counter.update(number)

    quiet = io.StringIO()
    console = Console(file=quiet)
    loops: dict[str, Callable[[], None]] = {
        "track": lambda: _exhaust(track(range(COUNT), "Track")),
        "tqdm": lambda: _exhaust(tqdm(range(COUNT), file=quiet)),
        "rich": lambda: _exhaust(rich_track(range(COUNT), console=console)),
        "update": update,
    }
    found: dict[str, list[float]] = {name: [] for name in loops}
    for _ in range(ROUNDS):
        bare = nanoseconds(lambda: _exhaust(range(COUNT)))
        for name, loop in loops.items():
            found[name].append(nanoseconds(loop, bare))
    set_current(None)
    cost = {name: statistics.median(values) for name, values in found.items()}
    recorded = tasks.progress_recorded.apply_async((RECORDED,), queue=stack.shipped()).get(timeout=60)
    return [
        Figure(
            name="one iteration of `track()`",
            measured=f"{cost['track']:.0f} ns; tqdm {cost['tqdm']:.0f}, rich {cost['rich']:.0f}",
            bound="≤ 60 ns",
            holds=cost["track"] <= 60,
            limit="a generator's step, an attribute set and one looked at",
        ),
        Figure(
            name="one `update()`",
            measured=f"{cost['update']:.0f} ns; celery-progress {recorded:,.0f} (rows of the result backend)",
            bound="≤ 150 ns",
            holds=cost["update"] <= 150,
            limit="the call, and what it compares",
        ),
    ]


if __name__ == "__main__":
    alone(measure)
