"""A thousand updates at full speed before a thousand viewers: does every one end on the final state, and when?"""

import time
from pathlib import Path

from benchmarks.figures import Figure, percentile
from benchmarks.stack import Stack, alone
from benchmarks.viewers import Viewers

UPDATES, VIEWERS = 1000, 1000
PATIENCE_SECONDS = 15.0


def measure(stack: Stack) -> list[Figure]:
    """All viewers are connected before the first update."""
    from tests import tasks
    from tests.conftest import ended

    gate = stack.gate()
    with stack.web() as server:
        job = stack.start(tasks.flood.s(UPDATES, str(gate)), stack.shipped())
        with Viewers([stack.card(server, job)], VIEWERS) as viewers:
            viewers.report()
            gate.touch()
            ended(job)
            finals = _finals(viewers)
    delays = [(at - job.finished_at.timestamp()) * 1000 for at in finals]
    late = percentile(delays, 0.99) if delays else float("inf")
    shown, part = _tutorial(stack)
    return [
        Figure(
            name=f"burst of {UPDATES:,} updates, {VIEWERS:,} viewers, daphne",
            measured=f"{len(finals):,} end on the final state, p99 {late:.0f} ms after it was reported",
            bound="all, p99 ≤ 150 ms",
            holds=len(finals) == VIEWERS and late <= 150,
            limit="one write of the row, one rendering, then the sockets in turn",
        ),
        Figure(
            name="peer: the same burst, tutorial, daphne",
            measured=f"{shown:,} end on the final state; {part:.1%} of the updates came",
            bound="–",
            holds=True,
        ),
    ]


def _finals(viewers: Viewers) -> list[float]:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        found: list[float] = viewers.report()["finals"]
        if len(found) == viewers.count or time.monotonic() > deadline:
            return found
        time.sleep(0.05)


def _tutorial(stack: Stack) -> tuple[int, float]:
    """How many viewers have seen the final state, and the part of all updates that came."""
    from benchmarks import tasks
    from tests.processes import wait_until

    gate, seen, name = stack.gate(), stack.gate(), stack.name("job")
    queue = stack.queue("tutorial-core")
    with stack.web("daphne", "benchmarks.tutorial:application") as server:
        address = server.address(f"/ws/progress/{name}/", stack.cookie())
        with Viewers([address], VIEWERS) as viewers:
            viewers.report()
            signature = tasks.tutorial_pulse.s(f"progress_{name}", UPDATES, 0.0, str(gate), str(seen))
            signature.set(queue=queue).delay()
            gate.touch()
            wait_until(seen.exists, 120, "the end of the tutorial's burst")
            deadline, frames = time.monotonic() + PATIENCE_SECONDS, 0
            while time.monotonic() < deadline:
                report = viewers.report()
                frames += report["frames"]
                if len(report["finals"]) == VIEWERS:
                    break
                time.sleep(0.2)
            Path(gate).unlink()
            return len(report["finals"]), frames / UPDATES / VIEWERS


if __name__ == "__main__":
    alone(measure)
