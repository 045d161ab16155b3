"""The type of a column, from all of its values."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Context, Decimal, localcontext
from fractions import Fraction
from itertools import islice
from operator import mul
from typing import Any

from django.db import models
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from demo.csv_shapes import SHAPES
from demo.csv_values import Form, Reading, read

DOMINANT_SHARE = 0.95
_EXAMPLES = 3
# Enough digits for any sum of values between 1e-290 and 1e290 to be exact.
_EXACT = Context(prec=700)


class ColumnType(models.TextChoices):
    """What the values of a column are."""

    EMPTY = "empty", _("empty")
    INTEGER = "integer", _("integer")
    DECIMAL = "decimal", _("decimal")
    BOOLEAN = "boolean", _("boolean")
    DATE = "date", _("date")
    DATETIME = "datetime", _("date and time")
    TEXT = "text", _("text")
    MIXED = "mixed", _("mixed")

    @property
    def is_number(self) -> bool:
        """Its values have a mean."""
        return self in (ColumnType.INTEGER, ColumnType.DECIMAL)

    @property
    def is_text(self) -> bool:
        """Its values have no other order than that of code points."""
        return self in (ColumnType.TEXT, ColumnType.MIXED)

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
    """What is known of the values that were read as one form, or as one of several."""

    count: int = 0
    minimum: Any = None
    maximum: Any = None
    total: int | Decimal = 0
    """The exact sum of numbers."""
    zoned: bool = False
    """Some moments have a time zone."""
    local: bool = False
    """Some moments have none."""
    examples: list[str] = field(default_factory=list)

    def add(self, reading: Reading, weights: Sequence[int] | None) -> None:
        """Take note of values which occur as often as `weights` says; each once without."""
        self.count += len(reading.texts) if weights is None else sum(weights)
        self.examples += reading.texts[: _EXAMPLES - len(self.examples)]
        values: Sequence[Any] = reading.values
        if not values:
            return
        if isinstance(values[0], datetime):
            values = self._in_utc(values)
        elif not isinstance(values[0], date):
            self.total += sum(values) if weights is None else sum(map(mul, values, weights))
        self._extend(min(values), max(values))

    def merge(self, other: "Tally") -> None:
        """Add what is known of another form; days become midnights if there are moments as well."""
        self.count += other.count
        self.total += other.total
        self.zoned |= other.zoned
        self.local |= other.local
        if other.minimum is not None:
            self._extend(other.minimum, other.maximum)

    def in_moments(self) -> "Tally":
        """The same with midnights instead of days."""
        if self.minimum is None or isinstance(self.minimum, datetime):
            return self
        low, high = (datetime.combine(day, time()) for day in (self.minimum, self.maximum))
        return Tally(count=self.count, minimum=low, maximum=high, local=True)

    def _extend(self, low: Any, high: Any) -> None:
        self.minimum = low if self.minimum is None else min(self.minimum, low)
        self.maximum = high if self.maximum is None else max(self.maximum, high)

    def _in_utc(self, values: Sequence[datetime]) -> Sequence[datetime]:
        zoned = sum(value.tzinfo is not None for value in values)
        self.zoned |= zoned > 0
        self.local |= zoned < len(values)
        return [_in_utc(value) for value in values] if zoned else values


def _in_utc(value: datetime) -> datetime:
    """In UTC but without saying so, to compare it with moments that have no time zone."""
    try:
        return value.astimezone(UTC).replace(tzinfo=None) if value.tzinfo else value
    except OverflowError:  # In the first hours of year 1, or the last ones of 9999.
        return value.replace(tzinfo=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The type of a column, and what follows from it."""

    type: ColumnType
    off: int = 0
    """How many values are of another type, if the type is the one that dominates."""
    off_examples: tuple[str, ...] = ()
    parts: Mapping[ColumnType, int] = field(default_factory=dict)
    """How many values are of each type, if the column is mixed."""
    tally: Tally = field(default_factory=Tally)
    """Of the values that are of the type."""
    notes: tuple[str, ...] = ()
    """Sentences about what is uncertain."""
    forms: tuple[Form, ...] = ()
    """What the values that are of the type were read as, if they are numbers or times."""

    @property
    def mean(self) -> Fraction | None:
        """Of the numbers, exact."""
        if not self.type.is_number:
            return None
        return Fraction(self.tally.total) / self.tally.count


class ColumnTypes:
    """Reads the values of one column as everything they may be.

    Args:
        prefer_comma: `1,234` is a decimal, and no thousands are separated, if nothing tells; as in files
            whose
            fields are separated by semicolons.

    Example:
        >>> types = ColumnTypes()
        >>> types.add({"1": 20, "2": 20, "x": 1})
        >>> types.verdict().type, types.verdict().off
        (ColumnType.INTEGER, 1)
    """

    def __init__(self, *, prefer_comma: bool = False) -> None:
        styles = (*_BY_COMMA, *_BY_POINT) if prefer_comma else (*_BY_POINT, *_BY_COMMA)
        self._interpretations = (_INTEGER, _DECIMAL, *styles, _BOOLEAN, *_TEMPORAL)
        self._tallies: dict[Form, Tally] = {}
        self._shapes = [*SHAPES]
        self._count = 0
        self._plain_examples: list[str] = []

    def add(self, counts: Mapping[str, int]) -> None:
        """Take note of how often values occurred since the last call.

        Args:
            counts: by value; none of them missing or with spaces around it.
        """
        texts = list(counts)
        occurrences = sum(counts.values())
        self._count += occurrences
        once = occurrences == len(texts)
        unread = set(texts) if len(self._plain_examples) < _EXAMPLES else set()
        with localcontext(_EXACT):
            for reading in read(texts, self._shapes):
                weights = None if once else [counts[text] for text in reading.texts]
                self._tallies.setdefault(reading.form, Tally()).add(reading, weights)
                unread.difference_update(reading.texts)
        self._plain_examples += islice(unread, _EXAMPLES - len(self._plain_examples))

    def verdict(self) -> Verdict:
        """The narrowest type that fits all values.

        If there is only text that fits all, but another type fits 95 % of them, it is that type with some
        values off. If numbers, dates and text are mixed without one of them dominating, the type is mixed.
        """
        if not self._count:
            return Verdict(type=ColumnType.EMPTY)
        best = max(self._interpretations, key=self._fits)
        fits, codes = self._fits(best), self._tallied(Form.CODE)
        if codes and best in (_INTEGER, _DECIMAL) and fits + codes >= DOMINANT_SHARE * self._count:
            return Verdict(
                type=ColumnType.TEXT, notes=(str(_("Digits with leading zeros or +, kept as text.")),)
            )
        if fits >= DOMINANT_SHARE * self._count:
            return self._dominated(best, fits)
        parts = self._parts()
        if parts[ColumnType.TEXT] >= DOMINANT_SHARE * self._count:
            return Verdict(type=ColumnType.TEXT)
        return Verdict(type=ColumnType.MIXED, parts={kind: count for kind, count in parts.items() if count})

    def _tallied(self, form: Form) -> int:
        return self._tallies[form].count if form in self._tallies else 0

    def _fits(self, interpretation: Interpretation) -> int:
        return sum(map(self._tallied, interpretation.forms))

    def _dominated(self, best: Interpretation, fits: int) -> Verdict:
        tally = Tally()
        with localcontext(_EXACT):
            for form in best.forms:
                if form in self._tallies:
                    part = self._tallies[form]
                    tally.merge(part.in_moments() if best.type is ColumnType.DATETIME else part)
        off = [
            text for form, part in self._tallies.items() if form not in best.forms for text in part.examples
        ]
        return Verdict(
            type=best.type,
            off=self._count - fits,
            off_examples=tuple([*self._plain_examples, *off][:_EXAMPLES]) if fits < self._count else (),
            tally=tally,
            notes=tuple(map(str, self._notes(best, tally))),
            forms=best.forms,
        )

    def _notes(self, best: Interpretation, tally: Tally) -> Iterator[str | Promise]:
        if best.note is not None:
            yield best.note
        elif best in _BY_POINT and self._commas_are_ambiguous():
            yield _("The commas were read as separating thousands; they could be decimal commas.")
        day_first = self._tallied(Form.DAY_FIRST_DATE) + self._tallied(Form.DAY_FIRST_DATETIME)
        month_first = self._tallied(Form.MONTH_FIRST_DATE) + self._tallied(Form.MONTH_FIRST_DATETIME)
        if best.type.is_temporal and day_first == month_first > 0:
            yield _("Day and month were read in this order; they could be the other way round.")
        if tally.zoned:
            yield (
                _("Times are given in UTC.")
                if not tally.local
                else _("Times without a zone were taken as UTC.")
            )

    def _commas_are_ambiguous(self) -> bool:
        grouped = self._tallied(Form.GROUPED_INTEGER)
        return grouped == self._tallied(Form.COMMA_DECIMAL) and not self._tallied(Form.GROUPED_DECIMAL)

    def _parts(self) -> dict[ColumnType, int]:
        """How many values are numbers, days or moments, and text; words for true and false are text here."""
        numbers = max(map(self._fits, (_DECIMAL, *_BY_POINT, *_BY_COMMA)))
        whole = max(map(self._fits, (_INTEGER, _BY_POINT[0], _BY_COMMA[0])))
        moments = max(map(self._fits, _TEMPORAL))
        days = max(map(self._fits, _TEMPORAL[:2]))
        return {
            ColumnType.DECIMAL if numbers > whole else ColumnType.INTEGER: numbers,
            ColumnType.DATETIME if moments > days else ColumnType.DATE: moments,
            ColumnType.TEXT: self._count - numbers - moments,
        }
