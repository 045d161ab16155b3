"""CPU for each delivery at 100, 2,000 and 5,000 viewers, beside that at 1,000."""

from benchmarks import flows
from benchmarks.figures import Figure
from benchmarks.stack import Stack, alone

CROWDS = (1000, 100, 2000, 5000)
SECONDS = 3.0


def measure(stack: Stack) -> list[Figure]:
    """One server for each crowd, with the rate limits opened."""
    figures, base = [], 0.0
    for count in CROWDS:
        with flows.ours(stack, "daphne", count, flows.flood(count), opened=True) as (server, viewers):
            found = flows.window(server, viewers, SECONDS)
        base = base or found["cpu"]
        figures.append(
            Figure(
                name=f"capacity at {count:,} viewers, daphne",
                measured=f"{found['rate']:,.0f}/s, {found['cpu']:.1f} µs each, {found['cpu'] / base - 1:+.0%}",
                bound="± 30 % of that at 1,000",
                holds=abs(found["cpu"] / base - 1) <= 0.3,
                limit="with few viewers, receiving and rendering; with many, the sockets",
            )
        )
    return figures[1:]


if __name__ == "__main__":
    alone(measure)
