"""Summaries of a long stream of values in bounded memory: how many distinct ones, and which are frequent."""

from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from heapq import nsmallest
from math import sqrt

MAX_VALUE_CHARS = 250

_HALF_OF_THE_HASHES = 2**63


class DistinctSketch:
    """Estimates the number of distinct values from the k smallest hashes (KMV, "k minimum values").

    If n hashes are spread evenly over the unit interval, the k-th smallest is near k/n. So n is estimated
    as (k - 1) / u, u being the k-th smallest hash as a fraction: without bias, and with a relative standard
    error of about 1 / sqrt(k - 2), which is 3.1 % for k = 1,024.

    Z. Bar-Yossef et al., "Counting distinct elements in a data stream", RANDOM 2002; this estimator and its
    error: K. Beyer et al., "On synopses for distinct-value estimation under multiset operations", SIGMOD
    2007.

    The hash is Python's SipHash with the random key of the process: no input can be made to defeat it, and
    two processes estimate the same file differently, by about that error.

    Args:
        size: k, at least 3; each takes up to 16 bytes of memory.

    Example:
        >>> sketch = DistinctSketch(1_024)
        >>> sketch.add(map(str, range(100_000)))
        >>> 85_000 < sketch.estimate() < 115_000
        True
    """

    def __init__(self, size: int) -> None:
        if size < 3:
            raise ValueError(f"The error is defined from a size of 3 on, not {size}.")
        self.size = size
        self._hashes = array("q")
        self._limit = _HALF_OF_THE_HASHES

    @property
    def standard_error(self) -> float:
        """Of an estimate, as a fraction of it; two of three estimates are off by less."""
        return 1 / sqrt(self.size - 2)

    def add(self, values: Iterable[str]) -> None:
        """Take note of `values`; any of them may have come before."""
        limit = self._limit
        self._hashes.extend({hashed for hashed in map(hash, values) if hashed < limit})
        # Sorting each time would cost more than all the rest when few values come at a time.
        if len(self._hashes) > 2 * self.size:
            self._compact()

    def estimate(self) -> float:
        """How many distinct values there were; exact as long as there were fewer than `size`."""
        self._compact()
        if len(self._hashes) < self.size:
            return float(len(self._hashes))
        largest = (self._hashes[-1] + _HALF_OF_THE_HASHES) / (2 * _HALF_OF_THE_HASHES)
        return (self.size - 1) / largest

    def _compact(self) -> None:
        """Keep the `size` smallest hashes, sorted."""
        self._hashes = array("q", sorted(set(self._hashes))[: self.size])
        if len(self._hashes) == self.size:
            self._limit = self._hashes[-1]


def shortened(value: str) -> str:
    """`value`, or if it is long its beginning with a digest, so that different values stay different.

    Example:
        >>> shortened("short")
        'short'
    """
    if len(value) <= MAX_VALUE_CHARS:
        return value
    digest = blake2b(value.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
    return f"{value[:MAX_VALUE_CHARS]}…{digest}"


@dataclass(frozen=True, slots=True)
class Frequency:
    """A value and how often it occurs: at least `count` times, and at most `count + error` times."""

    value: str
    count: int
    error: int = 0


class FrequentSketch:
    """Finds the most frequent values with k counters (Misra and Gries).

    Whenever there are more than k counters, the (k + 1)-th largest count is taken from each of them, and
    those that fall to zero go. A count is therefore too small by at most the sum of what was taken, which
    never exceeds n / (k + 1) for n occurrences; a value that occurs more often than that is not missed.

    J. Misra and D. Gries, "Finding repeated elements", Science of Computer Programming 2 (1982); taking
    many at once: P. K. Agarwal et al., "Mergeable summaries", PODS 2012.

    Values of more than 250 characters are held by their beginning and a digest.

    Args:
        size: k.

    Example:
        >>> sketch = FrequentSketch(2)
        >>> sketch.add({"a": 50, "b": 30, "c": 1})
        >>> sketch.most_common(1)
        [Frequency(value='a', count=49, error=1)]
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.error = 0
        """By how much any count may be too small; also how often a value may occur that has no counter."""
        self._counts: dict[str, int] = {}

    def add(self, counts: Mapping[str, int]) -> None:
        """Take note of how often values occurred since the last call."""
        total = self._counts
        for value, count in self._reduced(counts).items():
            key = shortened(value)
            total[key] = total.get(key, 0) + count
        self._counts = self._reduced(total)

    def most_common(self, limit: int) -> list[Frequency]:
        """The `limit` most frequent values, the most frequent first, equals in order of their text.

        Only values that certainly occur more often than any that has no counter; there may be none.
        """
        certain = ((value, count) for value, count in self._counts.items() if count > self.error)
        ranked = nsmallest(limit, certain, key=lambda item: (-item[1], item[0]))
        return [Frequency(value, count, self.error) for value, count in ranked]

    def _reduced(self, counts: Mapping[str, int]) -> dict[str, int]:
        if len(counts) <= self.size:
            return dict(counts)
        ranked = sorted(counts.values(), reverse=True)
        taken = ranked[self.size]
        self.error += taken
        if taken == ranked[0]:
            return {}
        return {value: count - taken for value, count in counts.items() if count > taken}
