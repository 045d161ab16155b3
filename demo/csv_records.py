"""The records of a CSV file, with the line each begins in."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, chain, islice

from django.utils.translation import gettext as _

from demo.bad_csv import BadCSV
from demo.csv_dialect import END_MARK, Dialect
from demo.csv_text import CSVText, count_lines

MAX_FIELD_CHARS = 1_000_000
BATCH_BYTES = 4 * 1024 * 1024

# After so many records the time has come to look how much was read. One by one would cost a third more.
_STRIDE = 8


@dataclass(frozen=True, slots=True)
class RecordBatch:
    """Some records in a row; a blank line is a record without fields."""

    line: int
    """The line the first of them begins in, from 1."""
    records: list[list[str]]

    def lines(self) -> Iterator[int]:
        """The line each record begins in."""
        lengths = (1 + sum(map(count_lines, record)) for record in self.records)
        return accumulate(lengths, initial=self.line)


class Records:
    """The records of one pass over a file.

    Args:
        text: the pass.
        dialect: how fields are separated and quoted.
        lines: what `text` yields, if some of it was taken already; no quote may be open there.
        line: the number of the first of them.

    Example:
        >>> for batch in Records(CSVText(open_stream, encoding), dialect).batches(2_000):
        ...     print(batch.line, len(batch.records))
    """

    def __init__(
        self, text: CSVText, dialect: Dialect, lines: Iterable[str] | None = None, line: int = 1
    ) -> None:
        self._text = text
        self._dialect = dialect
        self._line = line
        self._ended = False
        if lines is None:
            lines = chain.from_iterable(text.blocks())
            if dialect.separator_line:
                lines = islice(lines, 1, None)
                self._line += 1
        self._lines = lines

    def __iter__(self) -> Iterator[list[str]]:
        """One by one, without blank lines."""
        return (record for batch in self.batches(_STRIDE) for record in batch.records if record)

    def batches(self, most: int) -> Iterator[RecordBatch]:
        """In batches of about `most` records, fewer if they are longer than 4 MB together.

        Raises:
            BadCSV: a quote is never closed, or a field or record is too long; or as `CSVText.blocks`.
        """
        csv.field_size_limit(MAX_FIELD_CHARS)  # One for the whole process, and everywhere the same.
        reader = csv.reader(chain(self._lines, self._end()), **self._dialect.options())
        text, first = self._text, self._line
        while not self._ended:
            line = first + reader.line_num
            records: list[list[str]] = []
            stop = text.position + BATCH_BYTES
            try:
                while not self._ended and len(records) < most and text.position < stop:
                    records += islice(reader, _STRIDE)
                    text.mark = text.position
            except csv.Error as error:
                raise self._unclosed(RecordBatch(line, records)) from error
            if self._ended and records.pop() != [END_MARK]:
                raise self._unclosed(RecordBatch(line, records))
            yield RecordBatch(line, records)

    def _end(self) -> Iterator[str]:
        self._ended = True
        yield END_MARK

    def _unclosed(self, read: RecordBatch) -> BadCSV:
        *_begins, line = read.lines()
        return BadCSV(
            _(
                "The record in line %(line)d has no end: a quote (%(quote)s) opened there is never closed;"
                " close or double it and try again."
            )
            % {"line": line, "quote": self._dialect.quote}
        )
