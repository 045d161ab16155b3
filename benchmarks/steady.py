"""Ten updates a second, as shipped, before 1 and 1,000 viewers: CPU for each delivery, and from report to frame."""

from typing import Any

from benchmarks import flows
from benchmarks.figures import Figure
from benchmarks.stack import Stack, alone

VIEWERS = 1000
RATE = 10
SECONDS = 8.0
FEW_SECONDS = 15.0


def measure(stack: Stack) -> list[Figure]:
    """The tutorial first, then ours under both servers."""
    with flows.tutorial(stack, "daphne", VIEWERS, RATE) as (server, viewers):
        peer = flows.window(server, viewers, SECONDS)
    found = {}
    figures = []
    for kind, part in (("daphne", 7), ("uvicorn", 20)):
        with flows.ours(stack, kind, VIEWERS, RATE, stamps=True) as (server, viewers):
            found[kind] = flows.window(server, viewers, SECONDS)
        ratio = peer["cpu"] / found[kind]["cpu"]
        figures.append(
            Figure(
                name=f"CPU for each delivery at {RATE} updates/s, {VIEWERS:,} viewers, {kind}",
                measured=f"{found[kind]['cpu']:.1f} µs, the tutorial {peer['cpu']:.0f} µs: 1/{ratio:.0f}",
                bound=f"≤ 1/{part} of the tutorial",
                holds=ratio >= part,
                limit="the system call for each socket",
            )
        )
    with flows.ours(stack, "daphne", 1, RATE, stamps=True) as (server, viewers):
        one = flows.window(server, viewers, FEW_SECONDS)
    return [*figures, _latency(1, one, 10, 25), _latency(VIEWERS, found["daphne"], 40, 150)]


def _latency(count: int, found: dict[str, Any], p50: float, p99: float) -> Figure:
    # The client gives the thousandths of all delays.
    middle, late = found["delays"][500], found["delays"][990]
    return Figure(
        name=f"report → frame, {RATE}/s, {count:,} viewer{'s' if count > 1 else ''}, daphne",
        measured=f"p50 {middle:.1f} ms, p99 {late:.1f} ms",
        bound=f"p50 ≤ {p50} ms, p99 ≤ {p99} ms",
        holds=middle <= p50 and late <= p99,
        limit="thread switches: task, reporter, sender, Redis, hub, its rendering thread, then the sockets in turn",
    )


if __name__ == "__main__":
    alone(measure)
