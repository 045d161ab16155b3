"""A measured figure beside its bound."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One row of the table."""

    name: str
    measured: str
    bound: str
    holds: bool


def percentile(values: list[float], part: float) -> float:
    """The nearest-rank percentile: `part` of all values are at most this."""
    ordered = sorted(values)
    return ordered[min(int(part * len(ordered)), len(ordered) - 1)]
