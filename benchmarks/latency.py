"""From `update()` in the worker to the frame at a client: ten updates a second, one viewer."""

import re
import sys
import time

from benchmarks.figures import Figure, percentile
from benchmarks.stack import Stack

UPDATES = 150
STAMP = re.compile(r"(\d{10}\.\d{6})")


def measure(stack: Stack) -> list[Figure]:
    """Each update carries the time at which it was made; both processes share one clock."""
    from status.jobs import start
    from tests import tasks

    job = start(tasks.pulse.s(UPDATES, 0.1), owner=stack.user)
    page = stack.page(job.get_absolute_url())
    delays: dict[str, float] = {}
    with page.socket() as socket:
        while 'data-job-state="succeeded"' not in (frame := socket.recv(timeout=30)):
            now = time.time()
            for stamp in STAMP.findall(frame):
                delays.setdefault(stamp, (now - float(stamp)) * 1000)
    values = list(delays.values())[1:]
    p50, p99 = percentile(values, 0.5), percentile(values, 0.99)
    return [
        Figure(
            name="`update()` to frame, 10 a second, 1 viewer, daphne",
            measured=f"p50 {p50:.1f} ms, p99 {p99:.1f} ms ({len(values)} updates)",
            bound="p50 ≤ 15 ms",
            holds=p50 <= 15 and len(values) >= UPDATES * 0.8,
        )
    ]


if __name__ == "__main__":
    with Stack() as running:
        for figure in measure(running):
            sys.stdout.write(f"{figure.name}: {figure.measured}\n")
