"""A measured figure beside its bound."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One row of the table."""

    name: str
    measured: str
    bound: str
    holds: bool
    limit: str = ""
    """What the time goes into."""


def table(figures: Iterable[Figure]) -> str:
    """The figures as Markdown."""
    rows = [f"| {f.name} | {f.measured} | {f.bound} | {'yes' if f.holds else '**no**'} |" for f in figures]
    return "\n".join(["| figure | measured | must reach | holds |", "|---|---|---|---|", *rows])


def percentile(values: list[float], part: float) -> float:
    """The nearest-rank percentile: `part` of all values are at most this."""
    ordered = sorted(values)
    return ordered[min(int(part * len(ordered)), len(ordered) - 1)]
