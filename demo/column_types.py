"""The type of a column, from all of its values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Context, Decimal, localcontext
from enum import StrEnum
from fractions import Fraction
from itertools import islice
from operator import mul

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from demo.csv_shapes import SHAPES
from demo.csv_values import Form, Reading, Value, read

DOMINANT_SHARE = 0.95
_EXAMPLES = 3
# Enough digits for any sum of values between 1e-290 and 1e290 to be exact.
_EXACT = Context(prec=700)


class ColumnType(StrEnum):
    """What the values of a column are."""

    EMPTY = "empty"
    INTEGER = "integer"
    DECIMAL = "decimal"
    BOOLEAN = "boolean"
    DATE = "date"
    DATETIME = "datetime"
    TEXT = "text"
    MIXED = "mixed"

    @property
    def is_number(self) -> bool:
        """Its values have a mean."""
        return self in (ColumnType.INTEGER, ColumnType.DECIMAL)

    @property
    def is_temporal(self) -> bool:
        """Its values are days or moments."""
        return self in (ColumnType.DATE, ColumnType.DATETIME)


@dataclass(frozen=True, slots=True)
class Interpretation:
    """Forms that go together in a column, and the type they make."""

    type: ColumnType
    forms: tuple[Form, ...]
    note: Promise | None = None


_DECIMAL_COMMA = _("Read with a comma before the decimals.")
_POINT_GROUPS = _("Read with points between the thousands.")
_INTEGER = Interpretation(ColumnType.INTEGER, (Form.INTEGER,))
_DECIMAL = Interpretation(ColumnType.DECIMAL, (Form.INTEGER, Form.DECIMAL))
_BY_POINT = (
    Interpretation(ColumnType.INTEGER, (Form.INTEGER, Form.GROUPED_INTEGER)),
    Interpretation(
        ColumnType.DECIMAL, (Form.INTEGER, Form.DECIMAL, Form.GROUPED_INTEGER, Form.GROUPED_DECIMAL)
    ),
)
_BY_COMMA = (
    Interpretation(ColumnType.INTEGER, (Form.INTEGER, Form.DOTTED_INTEGER), _POINT_GROUPS),
    Interpretation(
        ColumnType.DECIMAL, (Form.INTEGER, Form.DOTTED_INTEGER, Form.COMMA_DECIMAL), _DECIMAL_COMMA
    ),
)
_DATES = (Form.DATE, Form.DAY_FIRST_DATE)
_MONTH_FIRST_DATES = (Form.DATE, Form.MONTH_FIRST_DATE)
_TEMPORAL = (
    Interpretation(ColumnType.DATE, _DATES),
    Interpretation(ColumnType.DATE, _MONTH_FIRST_DATES),
    Interpretation(ColumnType.DATETIME, (*_DATES, Form.DATETIME, Form.DAY_FIRST_DATETIME)),
    Interpretation(ColumnType.DATETIME, (*_MONTH_FIRST_DATES, Form.DATETIME, Form.MONTH_FIRST_DATETIME)),
)
_BOOLEAN = Interpretation(ColumnType.BOOLEAN, (Form.BOOLEAN,))


@dataclass(slots=True)
class Tally:
    """What is known of the values that were read as one form."""

    count: int = 0
    minimum: Value | None = None
    maximum: Value | None = None
    total: int | Decimal = 0
    zoned: int = 0
    """Distinct moments given with a time zone."""
    unzoned: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, reading: Reading, weights: Sequence[int]) -> None:
        """Take note of the values of `reading`, each of which occurs as often as its weight says."""
        self.count += sum(weights)
        self.examples += reading.texts[: _EXAMPLES - len(self.examples)]
        values = reading.values
        if not values:
            return
        if isinstance(values[0], datetime):
            values = self._in_utc(values)
        elif not isinstance(values[0], date):
            self.total += sum(map(mul, values, weights))
        self._extend(min(values), max(values))
    ...
