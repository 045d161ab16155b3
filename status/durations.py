"""How long things took, as counts in fixed bins: those of many times and tasks can be added and tell percentiles."""

import math
from typing import Self

import msgspec

SHORTEST_SECONDS = 0.001
BINS_PER_DOUBLING = 4
MOST_BINS = 124
"""The last bin holds all that took longer, some 24 days."""

_decode = msgspec.json.Decoder(dict[int, int]).decode


class Durations:
    """Counts of durations in bins whose bounds grow by the fourth root of two.

    A percentile is told as the middle of its bin, so it is wrong by 9 % at most.

    Args:
        bins: how many fell into each bin; bins without any are left out.

    Example:
        >>> took = Durations(); took.add(2.0); round(took.percentile(0.5), 1)
        2.1
    """

    __slots__ = ("bins",)

    def __init__(self, bins: dict[int, int] | None = None) -> None:
        self.bins = bins or {}

    def add(self, seconds: float) -> None:
        """Count one."""
        number = bin_of(seconds)
        self.bins[number] = self.bins.get(number, 0) + 1

    def merge(self, other: "Durations") -> None:
        """Add all counts of `other` to these."""
        for number, count in other.bins.items():
            self.bins[number] = self.bins.get(number, 0) + count

    def merge_text(self, text: str) -> None:
        """Add what `to_wire` wrote of others, as the text of its JSON; pages add thousands of these."""
        mine = self.bins
        for number, count in _decode(text).items():
            mine[number] = mine.get(number, 0) + count

    @property
    def count(self) -> int:
        """How many were counted."""
        return sum(self.bins.values())

    def percentile(self, part: float) -> float | None:
        """The seconds that `part` (0 to 1) of all took at most, by nearest rank; None if there are none."""
        rank = max(math.ceil(part * self.count), 1)
        for number in sorted(self.bins):
            rank -= self.bins[number]
            if rank <= 0:
                return middle_of(number)
        return None

    def to_wire(self) -> dict[str, int]:
        """For JSON, whose keys are text."""
        return {str(number): count for number, count in self.bins.items()}

    @classmethod
    def from_wire(cls, bins: dict[str, int]) -> Self:
        """What `to_wire` wrote."""
        return cls({int(number): count for number, count in bins.items()})


def bin_of(seconds: float) -> int:
    """The number of the bin that a duration falls into.

    >>> bin_of(0.0), bin_of(0.002), bin_of(1e9)
    (0, 4, 124)
    """
    if seconds <= SHORTEST_SECONDS:
        return 0
    # What lies on a bound is above it, whatever the logarithm's last digit says.
    number = math.floor(BINS_PER_DOUBLING * math.log2(seconds / SHORTEST_SECONDS) + 1e-9)
    return min(number, MOST_BINS)


def middle_of(number: int) -> float:
    """The duration that stands for a bin: the geometric middle of its bounds.

    >>> round(middle_of(4), 4)
    0.0022
    """
    seconds: float = SHORTEST_SECONDS * 2 ** ((number + 0.5) / BINS_PER_DOUBLING)
    return seconds
