"""CPU for each delivery at 100, 2,000 and 5,000 viewers, beside that at 1,000."""

import statistics

from benchmarks import flows
from benchmarks.figures import Figure
from benchmarks.stack import Stack, alone

CROWDS = (1000, 100, 2000, 5000)
SECONDS = 3.0
ROUNDS = 3


def measure(stack: Stack) -> list[Figure]:
    """One server for each crowd, with the rate limits opened; each crowd in turn, and that several times."""
    costs: dict[int, list[float]] = {count: [] for count in CROWDS}
    rates: dict[int, list[float]] = {count: [] for count in CROWDS}
    for _round in range(ROUNDS):
        for count in CROWDS:
            with flows.ours(stack, "daphne", count, flows.flood(count), opened=True) as (server, viewers):
                found = flows.window(server, viewers, SECONDS)
            costs[count].append(found["cpu"])
            rates[count].append(found["rate"])
    base, *others = CROWDS
    return [_beside(count, rates[count], costs[count], statistics.median(costs[base])) for count in others]


def _beside(count: int, rates: list[float], costs: list[float], base: float) -> Figure:
    cost = statistics.median(costs)
    return Figure(
        name=f"capacity at {count:,} viewers, daphne",
        measured=f"{statistics.median(rates):,.0f}/s, {cost:.1f} µs each, {cost / base - 1:+.0%}",
        bound="± 30 % of that at 1,000",
        holds=abs(cost / base - 1) <= 0.3,
        limit="with few viewers, receiving and rendering; with many, the sockets",
    )


if __name__ == "__main__":
    alone(measure)
