"""What a table holds, column by column, in memory that does not grow with the number of rows.

Each column counts its distinct values in a buffer. While they are few, the buffer is all there is to know,
and everything is worked out from it at the end: a value is looked at once, however often it occurs. When
they become too many, the buffer is absorbed into sketches and emptied, again and again.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from heapq import nsmallest

from django.utils.translation import ngettext

from demo.column_types import ColumnType, ColumnTypes, Verdict
from demo.csv_source import CSVSource
from demo.csv_text import ignore_progress
from demo.csv_values import NULLS
from demo.ragged_rows import RaggedRows
from demo.sketches import MAX_VALUE_CHARS, DistinctSketch, Frequency, FrequentSketch, shortened

Extreme = int | Decimal | date | str

EXACT_DISTINCT = 10_000
MOST_FREQUENT = 5

_LEAST_EXACT_DISTINCT = 200
_BUFFERED_VALUES = 400_000
_BUFFERED_CHARS = 16 * 1024 * 1024
_BYTES_BETWEEN_CHECKS = 8 * 1024 * 1024
_SKETCH_SIZE = 1_024


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnProfile:
    """What one column holds."""

    name: str
    rows: int
    nulls: int
    null_tokens: Mapping[str, int]
    """How often each spelling of a missing value occurs; empty fields under the empty text."""
    verdict: Verdict
    """The type, and what follows from it."""
    distinct: int
    distinct_error: float
    """The relative standard error of `distinct`; 0 if it is exact."""
    frequent: tuple[Frequency, ...]
    """The most frequent values, the most frequent first."""
    uncounted: int
    """How often a value may occur that is not in `frequent` because its count was given up; 0 if none was."""
    first: str | None
    """The first value in the order of code points, cut if it is long."""
    last: str | None
    shortest: int
    """The length of the shortest value, in characters."""
    longest: int
    notes: tuple[str, ...]
    """Sentences about what is uncertain or was left out."""

    @property
    def type(self) -> ColumnType:
        """Of the values."""
        return self.verdict.type

    @property
    def minimum(self) -> Extreme | None:
        """The smallest number, the earliest date, or of text the first in the order of code points."""
        return self.first if self.type.is_text else self.verdict.tally.minimum

    @property
    def maximum(self) -> Extreme | None:
        """The opposite of `minimum`."""
        return self.last if self.type.is_text else self.verdict.tally.maximum


class ColumnProfiler:
    """Profiles one column.

    Args:
        name: of the column.
        exact: up to how many distinct values are counted exactly.
        prefer_comma: as in `ColumnTypes`.

    Example:
        >>> column = ColumnProfiler("age", exact=10_000)
        >>> column.add(["36", "", "41"])
        >>> column.profile().mean
        Fraction(77, 2)
    """

    def __init__(self, name: str, *, exact: int, prefer_comma: bool = False) -> None:
        self._name = name
        self._exact = exact
        self._buffer: Counter[str] = Counter()
        self._rows = 0
        self._nulls: Counter[str] = Counter()
        self._padded = 0
        self._types = ColumnTypes(prefer_comma=prefer_comma)
        self._lowest: str | None = None
        self._highest: str | None = None
        self._lengths: set[int] = set()
        self._most_at_once = 0
        self._distinct: DistinctSketch | None = None
        self._frequent = FrequentSketch(max(50, exact // 10))

    def add(self, values: Sequence[str]) -> None:
        """Take note of the column's values in the next rows."""
        self._rows += len(values)
        self._buffer.update(values)
        if len(self._buffer) > self._exact:
            self.absorb()

    @property
    def buffered_chars(self) -> int:
        """How much text the buffer holds."""
        return sum(map(len, self._buffer))

    def absorb(self) -> None:
        """Empty the buffer into the sketches; from now on distinct and frequent values are estimated."""
        counts = self._cleaned()
        self._digest(counts)
        if self._distinct is None:
            self._distinct = DistinctSketch(_SKETCH_SIZE)
        self._distinct.add(counts)
        self._frequent.add(counts)

    def profile(self) -> ColumnProfile:
        """What the column holds. Nothing can be added afterwards."""
        exact = self._cleaned() if self._distinct is None else None
        if exact is None:
            self.absorb()
        else:
            self._digest(exact)
        verdict = self._types.verdict()
        nulls = sum(self._nulls.values())
        return ColumnProfile(
            name=self._name,
            rows=self._rows,
            nulls=nulls,
            null_tokens=dict(self._nulls.most_common()),
            verdict=verdict,
            distinct=len(exact) if exact is not None else self._estimate(self._rows - nulls),
            distinct_error=0.0 if self._distinct is None else self._distinct.standard_error,
            frequent=tuple(self._frequent.most_common(MOST_FREQUENT) if exact is None else _ranked(exact)),
            uncounted=self._frequent.error,
            first=self._lowest,
            last=self._highest,
            shortest=min(self._lengths, default=0),
            longest=max(self._lengths, default=0),
            notes=(*verdict.notes, *self._notes()),
        )

    def _cleaned(self) -> Mapping[str, int]:
        """The buffer without missing values and spaces around values; afterwards it is empty."""
        counts: dict[str, int] = self._buffer
        self._buffer = Counter()
        stripped = list(map(str.strip, counts))
        if stripped != list(counts):
            raw, counts = counts, Counter()
            for text, (padded, count) in zip(stripped, raw.items(), strict=True):
                counts[text] += count
                self._padded += count if text and text != padded else 0
        for token in NULLS.intersection(counts):
            self._nulls[token] += counts.pop(token)
        return counts

    def _digest(self, counts: Mapping[str, int]) -> None:
        """All that does not depend on how often a value comes back."""
        if not counts:
            return
        self._types.add(counts)
        lowest, highest = min(counts), max(counts)
        # Cutting keeps the order, so the beginning of the first value is the first of the beginnings.
        self._lowest = min(lowest[:MAX_VALUE_CHARS], self._lowest or lowest)
        self._highest = max(highest[:MAX_VALUE_CHARS], self._highest or "")
        self._most_at_once = max(self._most_at_once, len(counts))
        lengths = self._lengths.union(map(len, counts))
        self._lengths = {min(lengths), max(lengths)}

    def _estimate(self, values: int) -> int:
        """Estimated within what is certain: not fewer than were seen at once, nor more than there are."""
        estimate = round(self._distinct.estimate()) if self._distinct is not None else 0
        return min(values, max(self._most_at_once, estimate))

    def _notes(self) -> Iterator[str]:
        if self._padded:
            yield ngettext(
                "%(count)d value had spaces around it, which were left out.",
                "%(count)d values had spaces around them, which were left out.",
                self._padded,
            ) % {"count": self._padded}


class TableProfiler:
    """Profiles all columns of a table. At most 400,000 distinct values are held, and 16 MB of text.

    Args:
        names: of the columns.
        prefer_comma: as in `ColumnTypes`.

    Example:
        >>> table = TableProfiler(["name", "age"])
        >>> table.add([["Ada", "36"], ["Alan", "41"]])
        >>> [column.type for column in table.profiles()]
        ['text', 'integer']
    """

    def __init__(self, names: Sequence[str], *, prefer_comma: bool = False) -> None:
        self.exact = max(_LEAST_EXACT_DISTINCT, min(EXACT_DISTINCT, _BUFFERED_VALUES // len(names)))
        """Up to how many distinct values of a column are counted exactly."""
        self._columns = [ColumnProfiler(name, exact=self.exact, prefer_comma=prefer_comma) for name in names]

    def add(self, rows: Sequence[Sequence[str]]) -> None:
        """Take note of the next rows.

        Args:
            rows: at least one, each with a field for every column; a few megabytes at most, with `shrink`
                after every few of them.
        """
        for column, values in zip(self._columns, zip(*rows, strict=True), strict=True):
            column.add(values)

    def profiles(self) -> list[ColumnProfile]:
        """What the columns hold, in their order. Nothing can be added afterwards."""
        return [column.profile() for column in self._columns]

    def shrink(self) -> None:
        """Absorb the largest buffers if long values make them too large; due every few megabytes."""
        sizes = [(column.buffered_chars, column) for column in self._columns]
        excess = sum(size for size, _column in sizes) - _BUFFERED_CHARS
        for size, column in sorted(sizes, key=lambda entry: -entry[0]):
            if excess <= 0:
                return
            column.absorb()
            excess -= size


def profile_table(
    source: CSVSource, ragged: RaggedRows, on_rows: Callable[[int], None] = ignore_progress
) -> list[ColumnProfile]:
    """Profile a CSV file.

    Args:
        source: the file. ragged: notes the rows with too few or too many fields. What they lack counts as
            missing, and what they
            have too much is left out.
        on_rows: called with the number of rows profiled so far, every some hundred rows.

    Returns:
        What the columns hold, in their order.

    Raises:
        BadCSV: the file cannot be read to its end.

    Example:
        >>> columns = profile_table(source, RaggedRows(width=len(source.header.names)))
    """
    table = TableProfiler(source.header.names, prefer_comma=source.dialect.delimiter == ";")
    rows = checked = 0
    for batch in source.batches(ragged):
        table.add(batch)
        if source.position - checked >= _BYTES_BETWEEN_CHECKS:
            table.shrink()
            checked = source.position
        rows += len(batch)
        on_rows(rows)
    return table.profiles()


def _ranked(counts: Mapping[str, int]) -> Iterator[Frequency]:
    for value, count in nsmallest(MOST_FREQUENT, counts.items(), key=lambda item: (-item[1], item[0])):
        yield Frequency(shortened(value), count)
