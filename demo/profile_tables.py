"""The CSV files to download: the profile with a row per column, and the ragged rows."""

import csv
import io
import re
from collections.abc import Iterable, Sequence
from decimal import Context, Decimal
from fractions import Fraction
from typing import Any

from demo.csv_profile import MOST_FREQUENT, ColumnProfile, Extreme
from demo.profile_report import wire_value
from demo.ragged_rows import RaggedRows

_MEAN_DIGITS = Context(prec=28)
# A spreadsheet takes what begins with one of these for a formula, unless it is a number; the wide ones as
# well.
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
_NUMBER = re.compile(r"[+-]?(?:\d[\d.,]*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)

_PROFILE_HEADER = (
    *("column", "type", "rows", "nulls", "distinct", "distinct_standard_error", "min", "max", "mean", "sum"),
    *("min_length", "max_length", "off"),
    *(f"{fact}_{rank}" for rank in range(1, MOST_FREQUENT + 1) for fact in ("most_frequent", "count")),
    *("count_error", "notes"),
)


def columns_csv(columns: Iterable[ColumnProfile]) -> bytes:
    """The profile, a row per column, in UTF-8; numbers as exact as they are known.

    Example:
        >>> attach("profile.csv", columns_csv(columns))
    """
    return _written([_PROFILE_HEADER, *map(_profile_row, columns)])


def ragged_csv(ragged: RaggedRows, names: Sequence[str]) -> bytes:
    """The ragged rows that were kept, as they stand in the file, in UTF-8.

    Args:
        ragged: the rows.
        names: of the columns.

    Returns:
        The line each begins in, how many fields it has, and its fields under the columns' names.

    Example:
        >>> attach("ragged.csv", ragged_csv(ragged, source.header.names))
    """
    surplus = max((len(row.fields) for row in ragged.kept), default=0) - len(names)
    header = ["line", "fields", *names, *(f"surplus {place}" for place in range(1, surplus + 1))]
    return _written([header, *((row.line, row.width, *row.fields) for row in ragged.kept)])


def defused(cell: str) -> str:
    """`cell`, with an apostrophe before it if a spreadsheet would take it for a formula.

    The apostrophe is what OWASP advises against CSV injection. Numbers stay as they are.

    Example:
        >>> defused("=1+1"), defused("-1.5")
        ("'=1+1", '-1.5')
    """
    dangerous = cell.startswith(_FORMULA_STARTS) or cell.lstrip().startswith(_FORMULA_STARTS)
    return f"'{cell}" if dangerous and not _NUMBER.fullmatch(cell) else cell


def _written(rows: Iterable[Iterable[Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text)
    for row in rows:
        writer.writerow(["" if cell is None else defused(str(cell)) for cell in row])
    return text.getvalue().encode("utf-8", "replace")


def _profile_row(column: ColumnProfile) -> list[object]:
    verdict = column.verdict
    frequent: list[object] = []
    for entry in column.frequent:
        frequent += [entry.value, entry.count]
    frequent += [None] * (2 * MOST_FREQUENT - len(frequent))
    return [
        *(column.name, verdict.type.value, column.rows, column.nulls),
        *(column.distinct, round(column.distinct_error, 4)),
        *(_cell(extreme, zoned=verdict.tally.zoned) for extreme in (column.minimum, column.maximum)),
        *(_cell(verdict.mean), _cell(verdict.tally.total) if verdict.type.is_number else None),
        *((column.shortest, column.longest) if verdict.type.is_text else (None, None)),
        verdict.off,
        *frequent,
        *(column.uncounted, " ".join(column.notes)),
    ]


def _cell(value: Extreme | Fraction | None, *, zoned: bool = False) -> object:
    if isinstance(value, Fraction) and value.denominator > 1:
        value = _MEAN_DIGITS.divide(Decimal(value.numerator), Decimal(value.denominator))
    if isinstance(value, Decimal):
        # Plain notation as long as it is not absurd: 1250.00, but 1E+60.
        return f"{value:f}" if abs(value.adjusted()) < 40 else str(value)
    return wire_value(value, zoned=zoned)
