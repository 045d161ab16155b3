"""What one iteration of `track()` and one `update()` cost, beside tqdm in the same run."""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from uuid import uuid4

from benchmarks.figures import Figure

COUNT = 1_000_000
ROUNDS = 5


def nanoseconds(loop: Callable[[], None], bare: float = 0.0) -> float:
    """The time of one iteration of `loop`, less `bare`."""
    began = time.perf_counter()
    loop()
    return (time.perf_counter() - began) / COUNT * 1e9 - bare


def _exhaust(items: Iterator[int] | range) -> None:
    for _ in items:
        pass


def measure() -> list[Figure]:
    """Alternate all of them, so that a noisy moment hits all alike; report medians."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    os.environ.setdefault("RUN_DIR", tempfile.mkdtemp(prefix="status-bench-"))
    import django

    django.setup()
    from tqdm import tqdm

    from status.live import LiveJob, set_current
    from status.progress import step, track

    set_current(LiveJob(uuid4()))
    counter = step("Update")

    def update() -> None:
        for number in range(COUNT):
            counter.update(number)

    quiet = open(os.devnull, "w")  # noqa: SIM115
    tracks, tqdms, updates = [], [], []
    for _ in range(ROUNDS):
        bare = nanoseconds(lambda: _exhaust(range(COUNT)))
        tracks.append(nanoseconds(lambda: _exhaust(track(range(COUNT), "Track")), bare))
        tqdms.append(nanoseconds(lambda: _exhaust(tqdm(range(COUNT), file=quiet)), bare))
        updates.append(nanoseconds(update, bare))
    set_current(None)
    ours, theirs, update_cost = map(statistics.median, (tracks, tqdms, updates))
    return [
        Figure(
            name="one iteration of `track()`, beside tqdm",
            measured=f"{ours:.0f} ns, tqdm {theirs:.0f} ns, ratio {ours / theirs:.2f}",
            bound="ratio ≤ 2",
            holds=ours <= 2 * theirs,
        ),
        Figure(
            name="one `update()`",
            measured=f"{update_cost:.0f} ns",
            bound="≤ 150 ns",
            holds=update_cost <= 150,
        ),
    ]


if __name__ == "__main__":
    for figure in measure():
        sys.stdout.write(f"{figure.name}: {figure.measured}\n")
