"""Past one process: the capacity of 1, 2 and 4 web processes behind one port, and their part of the work."""

from typing import Any

from benchmarks import flows
from benchmarks.figures import Figure
from benchmarks.stack import Stack, alone

VIEWERS = 1000
PROCESSES = (1, 2, 4)
SECONDS = 2.5
ROUNDS = 2
FLOOD = 300
RATE = 10


def measure(stack: Stack) -> list[Figure]:
    """uvicorn's processes share a listening socket; each has a hub of its own, all share Redis."""
    flooded: dict[int, list[dict[str, Any]]] = {count: [] for count in PROCESSES}
    for _ in range(ROUNDS):
        for count in PROCESSES:
            with flows.ours(stack, "uvicorn", VIEWERS, FLOOD, opened=True, processes=count) as (
                server,
                viewers,
            ):
                flooded[count].append(flows.window(server, viewers, SECONDS))
    found = {count: flows.median(rounds) for count, rounds in flooded.items()}
    alone_ = found[1]["rate"]
    figures = [
        Figure(
            name=f"capacity of {count} web processes, {VIEWERS:,} viewers, uvicorn",
            measured=f"{found[count]['rate']:,.0f}/s, {found[count]['rate'] / alone_:.2f}× one process; "
            f"{found[count]['cpu']:.1f} µs each; servers {found[count]['busy']:.0%}, client "
            f"{found[count]['client']:.0%} of a core",
            bound="–",
            holds=True,
            limit="the cores of this machine, which the processes share with the load client and the worker"
            if count > 1
            else "one core",
        )
        for count in PROCESSES
    ]
    return [*figures, *(_steady(stack, count) for count in PROCESSES)]


def _steady(stack: Stack, count: int) -> Figure:
    with flows.ours(stack, "uvicorn", VIEWERS, RATE, stamps=True, processes=count) as (server, viewers):
        found = flows.window(server, viewers, 2 * SECONDS)
    return Figure(
        name=f"{RATE} updates/s before {VIEWERS:,} viewers, {count} web process{'es' if count > 1 else ''}, uvicorn",
        measured=f"{found['rate']:,.0f}/s, p50 {found['delays'][500]:.1f} ms, p99 {found['delays'][990]:.1f} ms, "
        f"{found['busy']:.0%} of a core in all",
        bound="–",
        holds=True,
    )


if __name__ == "__main__":
    alone(measure)
