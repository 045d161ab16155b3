"""Past one process: the capacity of 1, 2 and 4 web processes behind one port, and their part of the work.

Two cores have no room for four of them beside worker, Redis and load client; so each gets a part of a core.
"""

from typing import Any

import psutil

from benchmarks import flows
from benchmarks.figures import Figure
from benchmarks.shares import held
from benchmarks.stack import Server, Stack, alone

VIEWERS = 1000
PROCESSES = (1, 2, 4)
SECONDS = 2.5
ROUNDS = 2
FLOOD = 300
RATE = 10
PART = 0.2
NAME = f"capacity, {VIEWERS:,} viewers, uvicorn, each web process held to {PART:.0%} of a core"


def measure(stack: Stack) -> list[Figure]:
    """uvicorn's processes share a listening socket; each has a hub of its own, all share Redis."""
    flooded: dict[int, list[dict[str, Any]]] = {count: [] for count in PROCESSES}
    for _ in range(ROUNDS):
        for count in PROCESSES:
            with (
                flows.ours(stack, "uvicorn", VIEWERS, FLOOD, opened=True, processes=count) as (
                    server,
                    viewers,
                ),
                held([[process] for process in _serving(server, count)], PART) as is_held,
            ):
                if not is_held:
                    return [_unknown(), *(_steady(stack, count) for count in PROCESSES)]
                flooded[count].append(flows.window(server, viewers, SECONDS))
    found = {count: flows.median(rounds) for count, rounds in flooded.items()}
    figures = [
        Figure(
            name=f"{NAME}, {count} web process{'es' if count > 1 else ''}",
            measured=f"{found[count]['rate']:,.0f}/s, {found[count]['rate'] / found[1]['rate']:.2f}× one process; "
            f"{found[count]['cpu']:.1f} µs each; servers {found[count]['busy']:.0%}, client "
            f"{found[count]['client']:.0%} of a core",
            bound="–",
            holds=True,
            limit="its part of a core; each process gets every event from Redis and renders it for its own viewers",
        )
        for count in PROCESSES
    ]
    return [*figures, *(_steady(stack, count) for count in PROCESSES)]


def _serving(server: Server, count: int) -> list[psutil.Process]:
    """The processes that hold sockets: beside more than one, their parent only looks after them."""
    found = [each for each in server.process.children() if "spawn_main" in " ".join(each.cmdline())]
    assert len(found) == (count if count > 1 else 0), found
    return found or [server.process]


def _unknown() -> Figure:
    measured = "not measured: who runs this may not hold a process to a part of a core"
    return Figure(name=NAME, measured=measured, bound="–", holds=True)


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
