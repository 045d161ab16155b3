"""Orders added up by month and group: of one file, and of many together. All results are JSON."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Context, Decimal, localcontext
from typing import Any

from django.utils.translation import gettext as _

from demo.column_types import ColumnType, Verdict
from demo.csv_shapes import converter
from demo.csv_source import CSVSource
from demo.csv_text import ignore_progress
from demo.csv_values import NULLS, Form, Value
from demo.order_columns import BadOrders, OrderColumns
from demo.ragged_rows import RaggedRows

MAX_TOTALS = 2_000
"""So many totals are a report at most: months times groups."""
MAX_LEFT_OUT = 20
"""So many of the rows that were left out are named, of each file."""
EXACT = Context(prec=100)
"""Enough digits for any sum of amounts."""

_MAX_GROUP_CHARS = 100
_NO_GROUP = "–"
_DATES = (Form.DATE, Form.DAY_FIRST_DATE, Form.DATETIME, Form.DAY_FIRST_DATETIME)
_NUMBERS = (Form.INTEGER, Form.DECIMAL, Form.GROUPED_INTEGER, Form.GROUPED_DECIMAL, Form.COMMA_DECIMAL)


@dataclass(slots=True)
class Totals:
    """Numbers and sums of orders by month and group.

    Example:
        >>> totals = Totals()
        >>> totals.add("2026-05", "Berlin", 1, Decimal("12.50"))
        >>> totals.to_json()
        [['2026-05', 'Berlin', 1, '12.50']]
    """

    cells: dict[tuple[str, str], tuple[int, Decimal]] = field(default_factory=dict)

    def add(self, month: str, group: str, count: int, amount: Decimal) -> None:
        """Add orders.

        Raises:
            BadOrders: there are more than `MAX_TOTALS` totals.
        """
        key = (month, group)
        if key not in self.cells and len(self.cells) >= MAX_TOTALS:
            raise BadOrders(
                _("These are more than %(most)d totals; choose a column with fewer values to group by.")
                % {"most": MAX_TOTALS}
            )
        orders, total = self.cells.get(key, (0, Decimal()))
        self.cells[key] = (orders + count, EXACT.add(total, amount))

    def by(self, place: int) -> dict[str, tuple[int, Decimal]]:
        """The totals of each month (place 0) or group (place 1), in the order of their names."""
        found = Totals()
        for key, (count, amount) in self.cells.items():
            found.add(key[place], "", count, amount)
        return {key[0]: cell for key, cell in sorted(found.cells.items())}

    @property
    def whole(self) -> tuple[int, Decimal]:
        """The number and sum of all orders."""
        found = Totals()
        for count, amount in self.cells.values():
            found.add("", "", count, amount)
        return found.cells.get(("", ""), (0, Decimal()))

    def to_json(self) -> list[list[Any]]:
        """As rows of month, group, number and sum, by month and then by group."""
        return [[*key, count, f"{amount:f}"] for key, (count, amount) in sorted(self.cells.items())]

    @classmethod
    def from_json(cls, rows: Sequence[Sequence[Any]]) -> "Totals":
        """From what `to_json` gave."""
        found = cls()
        for month, group, count, amount in rows:
            found.add(month, group, count, Decimal(amount))
        return found


@dataclass(slots=True)
class FileTotals:
    """What the rows of one file come to."""

    totals: Totals = field(default_factory=Totals)
    left_out: int = 0
    examples: list[tuple[int, str]] = field(default_factory=list)
    """The line and the reason of the first rows that were left out."""

    def leave_out(self, line: int, reason: str) -> None:
        """Note a row that is not counted."""
        self.left_out += 1
        if len(self.examples) < MAX_LEFT_OUT:
            self.examples.append((line, reason))


def add_up(
    source: CSVSource,
    columns: OrderColumns,
    verdicts: Sequence[Verdict],
    group: str,
    on_rows: Callable[[int], None] = ignore_progress,
) -> FileTotals:
    """Add up the orders of a file, by month and group.

    Args:
        source: the file.
        columns: where date, amount and group are.
        verdicts: on its columns, in their order.
        group: that of all rows, if no column says it.
        on_rows: called with the number of rows so far, every some hundred rows.

    Raises:
        BadOrders: a column does not hold what it should, or no row has both a date and an amount.
        BadCSV: the file cannot be read to its end.

    Example:
        >>> add_up(source, find_columns(profiles, Choice()), verdicts, "Berlin").totals.whole
        (1204, Decimal('96320.00'))
    """
    names = source.header.names
    date_of = _reader(source, columns.date, verdicts, _DATES, is_date=True)
    amount_of = _reader(source, columns.amount, verdicts, _NUMBERS, is_date=False)
    found, rows = FileTotals(), 0
    with localcontext(EXACT):
        for rows, (line, row) in enumerate(source.numbered(RaggedRows(width=len(names))), start=1):
            day, amount = row[columns.date].strip(), row[columns.amount].strip()
            problem = _missing(day, names[columns.date]) or _missing(amount, names[columns.amount])
            when = None if problem else date_of(day)
            value = None if problem else amount_of(amount)
            if not problem and not isinstance(when, date):
                problem = _("“%(text)s” is no date.") % {"text": day[:_MAX_GROUP_CHARS]}
            elif not problem and not isinstance(value, int | Decimal):
                problem = _("“%(text)s” is no amount.") % {"text": amount[:_MAX_GROUP_CHARS]}
            if isinstance(when, date) and isinstance(value, int | Decimal):
                key = group if columns.group is None else _group(row[columns.group])
                found.totals.add(f"{when.year:04}-{when.month:02}", key, 1, Decimal(value))
            else:
                found.leave_out(line, problem)
            if rows % 500 == 0:
                on_rows(rows)
    on_rows(rows)
    if rows and not found.totals.cells:
        line, problem = found.examples[0]
        raise BadOrders(
            _("Not one row has both a date and an amount. Line %(line)d: %(problem)s")
            % {"line": line, "problem": problem}
        )
    return found


def merge(results: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The results of several files as one.

    Args:
        results: each with `file`, `digest`, `rows`, `totals`, `left_out`, `left_out_rows` and `notes`.

    Raises:
        BadOrders: a file came twice, all are empty, or there are too many totals.

    Example:
        >>> merge([berlin, paris])["rows"]
        2410
    """
    seen: dict[str, str] = {}
    totals = Totals()
    for result in results:
        if result["digest"] in seen:
            raise BadOrders(
                _("“%(one)s” and “%(other)s” are the same file, and would be counted twice.")
                % {"one": seen[result["digest"]], "other": result["file"]}
            )
        seen[result["digest"]] = result["file"]
        for month, group, count, amount in result["totals"]:
            totals.add(month, group, count, Decimal(amount))
    if not totals.cells:
        raise BadOrders(_("There are no orders in these files."))
    kept = ("file", "rows", "left_out", "left_out_rows", "columns", "notes")
    return {
        "files": [{name: result[name] for name in kept} for result in results],
        "rows": sum(result["rows"] for result in results),
        "left_out": sum(result["left_out"] for result in results),
        "totals": totals.to_json(),
    }


def _reader(
    source: CSVSource, place: int, verdicts: Sequence[Verdict], forms: Sequence[Form], *, is_date: bool
) -> Callable[[str], Value | None]:
    """What reads the values of a column; refuses one that holds something else."""
    verdict = verdicts[place]
    if (verdict.type.is_temporal if is_date else verdict.type.is_number) and verdict.forms:
        return converter(verdict.forms)
    name = source.header.names[place]
    if verdict.type is ColumnType.EMPTY:
        raise BadOrders(_("The column “%(name)s” is empty.") % {"name": name})
    line, text = _first_other(source, place, converter(forms))
    says = (
        _("The column “%(name)s” holds no dates: “%(text)s” in line %(line)d.")
        if is_date
        else _("The column “%(name)s” holds no amounts: “%(text)s” in line %(line)d.")
    )
    raise BadOrders(says % {"name": name, "text": text[:_MAX_GROUP_CHARS], "line": line})


def _first_other(source: CSVSource, place: int, convert: Callable[[str], Value | None]) -> tuple[int, str]:
    """The line and text of the first value that cannot be read; the first of all if each can, by itself."""
    first: tuple[int, str] | None = None
    for line, row in source.numbered(RaggedRows(width=len(source.header.names))):
        text = row[place].strip()
        if text in NULLS:
            continue
        first = first or (line, text)
        if convert(text) is None:
            return line, text
    return first or (1, "")


def _missing(text: str, name: str) -> str:
    return _("“%(name)s” is missing.") % {"name": name} if text in NULLS else ""


def _group(text: str) -> str:
    plain = " ".join(text.split())[:_MAX_GROUP_CHARS]
    return _NO_GROUP if plain in NULLS else plain
