"""The dialect of a CSV file, detected: which character separates fields, which one quotes them.

Python's csv.Sniffer guesses from single patterns and is easily led astray. Here every candidate reads the
sample, and the reading that looks most like a table wins: rows of one width, and cells that are not torn
apart or stuck together. The idea of such a measure is that of G. J. J. van den Burg, A. Nazábal and C.
Sutton, "Wrangling messy CSV files by detecting row and type patterns", Data Mining and Knowledge Discovery
33 (2019).
"""

import csv
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import pgettext

from demo.csv_text import split_lines

DELIMITERS = ",;\t|:"
QUOTES = "\"'"
END_MARK = "\0"
"""A line that no file holds, put after its last one; unless it is read as a row, a quote was left open."""
# Unit separator: what a file with a single column is split by, since the csv module needs some character.
_NO_DELIMITER = "\x1f"
_SEPARATOR_LINE = re.compile(r'("?)sep=([^\w\s"\'\\\0]|\t)\1(?:\r\n|\n|\r|\Z)', re.IGNORECASE)

_NUMBER_OR_TIME = re.compile(r"[+-]?[\d.,:/ T-]*\d[\d.,:/ T%Z+-]*", re.ASCII)
_PROSE_OR_URL = re.compile(r"[,:;] |[,:;]$|://")
_TORN_WEIGHT = 0.2
_SINGLE_COLUMN_SCORE = 0.25
_HEADER_MISFIT = 0.7


def is_number_or_time(cell: str) -> bool:
    """Whether `cell` is written with digits and the signs that stand in numbers, dates and times.

    Example:
        >>> is_number_or_time("2024-02-29 12:30")
        True
    """
    # Longer than any of them, a cell would cost the pattern the square of its length.
    return len(cell) <= 50 and _NUMBER_OR_TIME.fullmatch(cell) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """How fields are separated and quoted."""

    delimiter: str = _NO_DELIMITER
    quote: str = '"'
    """Empty: nothing is quoted."""
    backslash: bool = False
    """A quote inside a quoted field has a backslash before it; otherwise it is doubled."""
    space_after_delimiter: bool = False
    """A space stands between a delimiter and the quote that opens the next field."""
    separator_line: bool = False
    """The first line is `sep=;` as Excel writes it, which is no row."""

    @property
    def is_single_column(self) -> bool:
        """Nothing separates fields: each row is one field."""
        return self.delimiter == _NO_DELIMITER

    @property
    def delimiter_label(self) -> str:
        """The delimiter's name in the user's language."""
        names = {
            ",": _("comma"),
            ";": _("semicolon"),
            "\t": _("tab"),
            "|": _("vertical bar"),
            ":": _("colon"),
            _NO_DELIMITER: pgettext("delimiter", "none"),
        }
        return names.get(self.delimiter, self.delimiter)

    def options(self) -> dict[str, Any]:
        """The keyword arguments for `csv.reader`.

        Example:
            >>> csv.reader(lines, **Dialect(delimiter=";").options())
        """
        return {
            "delimiter": self.delimiter,
            "quoting": csv.QUOTE_MINIMAL if self.quote else csv.QUOTE_NONE,
            "quotechar": self.quote or None,
            "doublequote": not self.backslash,
            "escapechar": "\\" if self.backslash else None,
            "skipinitialspace": self.space_after_delimiter,
        }


def detect_dialect(sample: str, *, complete: bool) -> Dialect:
    """The dialect that reads `sample` most like a table.

    Args:
        sample: the beginning of the file; some dozen lines suffice, 64 KB are quick.
        complete: the sample is the whole file. Otherwise its last row counts for nothing, as it may be cut.

    Returns:
        A dialect; one with a single column if no delimiter makes sense.

    Example:
        >>> detect_dialect("a;b\\n1,5;2,5\\n", complete=True).delimiter
        ';'
    """
    declared = _SEPARATOR_LINE.match(sample)
    if declared is not None:
        sample, delimiters = sample[declared.end() :], declared[2]
    else:
        delimiters = "".join(mark for mark in DELIMITERS if mark in sample)
    lines = split_lines(sample)
    candidates = list(_candidates(sample, delimiters, declared is not None))
    # max() takes the first of equals: candidates come in order of how common they are.
    return max(candidates, key=lambda dialect: _score(dialect, lines, complete))


def _candidates(sample: str, delimiters: str, declared: bool) -> Iterator[Dialect]:
    quotes = ['"', "'"] if "'" in sample else ['"']
    for delimiter in [*delimiters] + ([] if declared else [_NO_DELIMITER]):
        for quote in (*quotes, ""):
            yield Dialect(
                delimiter=delimiter,
                quote=quote,
                backslash=bool(quote) and f"\\{quote}" in sample and f"{quote}{quote}" not in sample,
                space_after_delimiter=bool(quote) and f"{delimiter} {quote}" in sample,
                separator_line=declared,
            )


def _score(dialect: Dialect, lines: Sequence[str], complete: bool) -> float:
    """From 0 to 1: how much the reading looks like a table."""
    rows, coverage = _read(dialect, lines, complete)
    if not rows:
        return 0.0
    wholeness = _wholeness(dialect, rows) * coverage
    if dialect.is_single_column:
        return _SINGLE_COLUMN_SCORE * wholeness
    widths = Counter(map(len, rows))
    first = len(rows[0])
    width = max(widths, key=lambda candidate: (widths[candidate], candidate == first))
    if width == 1 or (first == 1 and dialect.delimiter == ":"):
        # Times, addresses of the Internet and ratios hold colons, under a header that holds none.
        return 0.0
    split = len(rows) - widths[1]
    consistency = (widths[width] + 0.5 * (split - widths[width])) / len(rows)
    header = 1.0 if first == width else _HEADER_MISFIT
    return consistency**2 * header * wholeness * (width - 1) / width


def _read(dialect: Dialect, lines: Sequence[str], complete: bool) -> tuple[list[list[str]], float]:
    """The rows of the sample, and the share of its lines in them.

    That share is small where a quote was taken for an opening one: a cell then swallows all that follows.
    """
    reader = csv.reader([*lines, END_MARK], **dialect.options())
    rows: list[list[str]] = []
    ends: list[int] = []
    with suppress(csv.Error):
        for row in reader:
            rows.append(row)
            ends.append(reader.line_num)
    closed = rows[-1:] == [[END_MARK]]
    kept = len(rows) - 1
    if closed and not complete and kept > 1:
        kept -= 1
    coverage = ends[kept - 1] / len(lines) if kept > 0 else 0.0
    return [row for row in rows[:kept] if row], coverage


def _wholeness(dialect: Dialect, rows: Sequence[Sequence[str]]) -> float:
    """The share of characters that stand in whole cells, where those in torn ones count a little as well."""
    whole = torn = 0
    for row in rows:
        for cell in row:
            if _is_whole(dialect, cell.strip()):
                whole += len(cell) + 1
            else:
                torn += len(cell) + 1
    return (whole + _TORN_WEIGHT * torn) / (whole + torn)


def _is_whole(dialect: Dialect, cell: str) -> bool:
    """Whether a cell looks neither torn apart nor stuck together of several."""
    if not cell or cell.isalnum() or is_number_or_time(cell):
        return True
    if cell[0] in QUOTES or cell[-1] == '"':
        return False
    if "\n" in cell and cell.count(dialect.delimiter) >= cell.count("\n"):
        return False
    rest = _PROSE_OR_URL.sub("", cell)
    return not any(mark in rest for mark in DELIMITERS if mark != dialect.delimiter)
