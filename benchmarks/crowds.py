"""CPU for each delivery at 100, 2,000 and 5,000 viewers, beside that at 1,000."""

from typing import Any

from benchmarks import flows
from benchmarks.figures import Figure
from benchmarks.stack import Stack, alone

CROWDS = (1000, 100, 2000, 5000)
SECONDS = 3.0
ROUNDS = 3


def measure(stack: Stack) -> list[Figure]:
    """One server for each crowd, with the rate limits opened; each crowd in turn, and that several times."""
    rounds: dict[int, list[dict[str, Any]]] = {count: [] for count in CROWDS}
    for _round in range(ROUNDS):
        for count in CROWDS:
            with flows.ours(stack, "daphne", count, flows.flood(count), opened=True) as (server, viewers):
                rounds[count].append(flows.window(server, viewers, SECONDS))
    found = {count: flows.median(each) for count, each in rounds.items()}
    base, *others = CROWDS
    return [
        _beside(count, found[count]["rate"], found[count]["cpu"] / found[base]["cpu"], found[count]["cpu"])
        for count in others
    ]


def _beside(count: int, rate: float, part: float, cost: float) -> Figure:
    return Figure(
        name=f"capacity at {count:,} viewers, daphne",
        measured=f"{rate:,.0f}/s, {cost:.1f} µs each, {part - 1:+.0%}",
        bound="± 30 % of that at 1,000",
        holds=abs(part - 1) <= 0.3,
        limit="with few viewers, receiving and rendering; with many, the sockets",
    )


if __name__ == "__main__":
    alone(measure)
