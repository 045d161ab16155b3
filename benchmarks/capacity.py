"""Deliveries a second for one job before 1,000 viewers, with the rate limits opened; beside peers and the limit."""

from contextlib import AbstractContextManager
from importlib.metadata import version
from typing import Any

from benchmarks import flows
from benchmarks.figures import Figure
from benchmarks.stack import Stack, alone

VIEWERS = 1000
FEWER = 200
"""Viewers of django-liveops: each takes several hops between threads and a query to connect."""
SECONDS = 2.5
ROUNDS = 3
FLOOD = flows.flood(VIEWERS)
"""Updates a second of ours. Of the peers', 20 are more than can be delivered."""
CARD_BYTES = 220
"""What an update of the card takes: the cells that changed."""


def measure(stack: Stack) -> list[Figure]:
    """All setups alternate, so that a noisy moment hits all alike; medians."""
    setups: dict[str, Any] = {
        "bare": lambda: flows.bare(stack, VIEWERS, CARD_BYTES),
        "tutorial": lambda: flows.tutorial(stack, "daphne", VIEWERS, 20),
        "tutorial, pub/sub": lambda: flows.tutorial(stack, "daphne", VIEWERS, 20, layer=flows.PUBSUB),
        "django-liveops": lambda: flows.liveops(stack, "daphne", FEWER, 20),
        "daphne": lambda: flows.ours(stack, "daphne", VIEWERS, FLOOD, opened=True),
        "uvicorn": lambda: flows.ours(stack, "uvicorn", VIEWERS, FLOOD, opened=True),
    }
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in setups}
    for _ in range(ROUNDS):
        for name, setup in setups.items():
            rounds[name].append(_window(setup()))
    found = {name: flows.median(each) for name, each in rounds.items()}
    # The tutorial names the core layer; the other one is what ours uses.
    peer = found["tutorial"]["rate"]
    limit = found["bare"]["rate"]
    figures = [
        _figure(f"capacity, {kind}", found[kind], peer, limit, times)
        for kind, times in (("daphne", 20), ("uvicorn", 35))
    ]
    best = max(found["daphne"]["rate"], found["uvicorn"]["rate"])
    figures.append(
        Figure(
            name="capacity beside the bare uvloop loop",
            measured=f"{best / limit:.2f} of {limit:,.0f}/s ({found['bare']['cpu']:.1f} µs each)",
            bound="≥ 0.5",
            holds=best >= 0.5 * limit,
            limit="the system call and the wakeup of the reader, for each socket",
        )
    )
    peers = {
        "tutorial": "tutorial",
        "tutorial, pub/sub": "tutorial, pub/sub layer",
        "django-liveops": f"django-liveops {version('django-liveops')}, {FEWER} viewers, pub/sub layer",
    }
    for name, shown in peers.items():
        figures.append(
            Figure(
                name=f"peer: {shown}, daphne",
                measured=f"{found[name]['rate']:,.0f}/s, {found[name]['cpu']:,.0f} µs each, "
                f"{found[name]['bytes']:.0f} bytes",
                bound="–",
                holds=True,
            )
        )
    return figures


def _window(setup: AbstractContextManager[Any]) -> dict[str, Any]:
    with setup as (server, viewers):
        return flows.window(server, viewers, SECONDS)


def _figure(name: str, found: dict[str, float], peer: float, limit: float, times: int) -> Figure:
    ratio = found["rate"] / peer
    return Figure(
        name=f"{name}, {VIEWERS:,} viewers",
        measured=f"{found['rate']:,.0f}/s, {ratio:.0f}× the tutorial, {found['rate'] / limit:.2f} of the bare loop; "
        f"{found['cpu']:.1f} µs each, {found['bytes']:.0f} bytes; server {found['busy']:.0%}, "
        f"client {found['client']:.0%} of a core",
        bound=f"≥ {times}× the tutorial",
        holds=ratio >= times,
        limit="what the bare loop takes as well, system call and wakeup of the reader, for each socket; then its "
        "`write`, and for each frame receiving and rendering",
    )


if __name__ == "__main__":
    alone(measure)
