"""The records of a CSV file one by one, with the line each ends in."""

import csv
from collections.abc import Iterable, Iterator
from itertools import chain, islice

from django.utils.translation import gettext as _

from demo.bad_csv import BadCSV
from demo.csv_dialect import END_MARK, Dialect
from demo.csv_text import CSVText, split_lines

MAX_FIELD_CHARS = 1_000_000


class Records:
    """The records of one pass over a file; blank lines are skipped and counted.

    Args:
        text: the pass.
        dialect: how fields are separated and quoted.
        lines: what `text` yields, if some of it was taken already; no quote may be open there.

    Raises:
        BadCSV: a quote is never closed, or a field or record is too long.

    Example:
        >>> for record in (records := Records(CSVText(open_stream, encoding), dialect)):
        ...     print(records.line, record)
    """

    def __init__(self, text: CSVText, dialect: Dialect, lines: Iterable[str] | None = None) -> None:
        self._text = text
        self._dialect = dialect
        self._ended = False
        self._first_line = text.line - 1
        if lines is None:
            lines = chain.from_iterable(map(split_lines, text.pieces()))
            if dialect.separator_line:
                lines = islice(lines, 1, None)
                self._first_line += 1
        self._lines = lines
        self.before = self.line = self._first_line
        """The last lines of the record before this one, and of this one."""
        self.blank = 0
        """Lines without a character so far."""

    def __iter__(self) -> Iterator[list[str]]:
        csv.field_size_limit(MAX_FIELD_CHARS)  # One for the whole process, and everywhere the same.
        reader = csv.reader(chain(self._lines, self._end()), **self._dialect.options())
        text = self._text
        try:
            for row in reader:
                if self._ended:
                    if row == [END_MARK]:
                        return
                    raise self._unclosed()
                self.before = self.line
                self.line = reader.line_num + self._first_line
                text.mark = text.position
                if row:
                    yield row
                else:
                    self.blank += 1
        except csv.Error as error:
            raise self._unclosed() from error

    def _end(self) -> Iterator[str]:
        self._ended = True
        yield END_MARK

    def _unclosed(self) -> BadCSV:
        return BadCSV(
            _(
                "The record in line %(line)d has no end: a quote (%(quote)s) is opened there and never closed;"
                " close or double it, and try again."
            )
            % {"line": self.line + 1, "quote": self._dialect.quote}
        )
