"""The ways in which numbers, dates and times are written in CSV files.

No text has two of these shapes, unless they have the same form, so it does not matter which is tried first.
The number of digits is bounded: no value overflows a float, and every sum is exact with a few hundred
digits.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal

from demo.csv_values import Form, Shape, Value

_WHOLE = r"(?:0|[1-9]\d{0,39})"
_IN_GROUPS_BY_COMMA = r"[+-]?[1-9]\d{0,2}(?:,\d{3}){1,13}"
_GROUP_BY_POINT = r"(?:\.\d{3})"
_FIRST_GROUP = r"[1-9]\d{0,2}"
_INTERNET_ADDRESS = r"(?:[12]?\d{1,2}\.){3}[12]?\d{1,2}"
# With a mantissa of 40 digits, from 1e-290 to 1e290.
_EXPONENT = r"[eE][+-]?0{0,2}(?:1\d\d|2[0-4]\d|\d{1,2})"

_ISO_DATE = r"\d{4}-\d\d-\d\d"
_YEAR_FIRST = r"(?P<year>\d{4})(?P<mark>[-/.])(?P<second>\d{1,2})(?P=mark)(?P<first>\d{1,2})"
_YEAR_LAST = r"(?P<first>\d{1,2})(?P<mark>[-/.])(?P<second>\d{1,2})(?P=mark)(?P<year>\d{4}|(?<=[/.])\d\d)"
_ISO_TIME = r"[T ]\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d)?"
_LOOSE_TIME = (
    r"(?:T|,? {1,2})(?P<hour>\d{1,2}):(?P<minute>\d\d)(?::(?P<seconds>\d\d)(?:[.,](?P<fraction>\d{1,9}))?)?"
    r"(?: ?(?P<half>[AaPp])\.?[Mm]\.?)?(?: ?(?P<zone>Z|UTC|GMT|[+-]\d\d:?\d\d))?"
)


def _matches(pattern: str) -> Callable[[str], re.Match[str] | None]:
    return re.compile(pattern, re.ASCII).fullmatch


def _ungrouped_integer(text: str) -> int:
    return int(text.replace(",", ""))


def _ungrouped_decimal(text: str) -> Decimal:
    return Decimal(text.replace(",", ""))


def _undotted_integer(text: str) -> int:
    return int(text.replace(".", ""))


def _decimal_with_comma(text: str) -> Decimal:
    return Decimal(text.replace(".", "").replace(",", "."))


def _date(fields: Mapping[str, str | None], *, month_first: bool) -> date:
    """From what a pattern above found; POSIX tells the century of a year with two digits."""
    year, first, second = int(fields["year"] or 0), int(fields["first"] or 0), int(fields["second"] or 0)
    if year < 100 and len(fields["year"] or "") == 2:
        year += 1900 if year > 68 else 2000
    if month_first and fields["mark"] == ".":
        raise ValueError("Points stand only in dates with the day first.")
    return date(year, first, second) if month_first else date(year, second, first)


def _time(fields: Mapping[str, str | None]) -> time:
    hour = int(fields["hour"] or 0)
    if fields["half"]:
        if not 1 <= hour <= 12:
            raise ValueError("A clock with a.m. and p.m. has twelve hours.")
        hour = hour % 12 + (12 if fields["half"] in "pP" else 0)
    microsecond = int((fields["fraction"] or "0")[:6].ljust(6, "0"))
    zone = fields["zone"]
    return time(hour, int(fields["minute"] or 0), int(fields["seconds"] or 0), microsecond, _offset(zone))


def _offset(zone: str | None) -> timezone | None:
    if zone is None:
        return None
    if zone[0] not in "+-":
        return UTC
    offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
    return timezone(-offset if zone[0] == "-" else offset)


def _calendar(form: Form, pattern: str, *, month_first: bool = False, also: Shape | None = None) -> Shape:
    matches = _matches(pattern)

    def convert(text: str) -> Value:
        match = matches(text)
        if match is None:
            raise ValueError(text)
        fields = match.groupdict()
        day = _date(fields, month_first=month_first)
        return datetime.combine(day, _time(fields)) if "hour" in fields else day

    return Shape(matches, form, convert, also)


SHAPES = (
    Shape(_matches(rf"-?{_WHOLE}|\+(?:0|[1-9]\d{{0,5}})"), Form.INTEGER, int),
    # Leading zeros, or a plus sign before as many digits as a telephone number has.
    Shape(_matches(r"0\d{1,39}|\+[1-9]\d{6,39}"), Form.CODE, int),
    Shape(
        _matches(rf"[+-]?{_WHOLE}?\.\d{{1,40}}"),
        Form.DECIMAL,
        Decimal,
        also=Shape(
            _matches(rf"[+-]?{_FIRST_GROUP}{_GROUP_BY_POINT}"), Form.DOTTED_INTEGER, _undotted_integer
        ),
    ),
    Shape(_matches(rf"[+-]?(?:{_WHOLE}(?:\.\d{{0,40}})?|\.\d{{1,40}}){_EXPONENT}"), Form.DECIMAL, Decimal),
    Shape(
        _matches(_IN_GROUPS_BY_COMMA),
        Form.GROUPED_INTEGER,
        _ungrouped_integer,
        also=Shape(_matches(r"[+-]?[1-9]\d{0,2},\d{3}"), Form.COMMA_DECIMAL, _decimal_with_comma),
    ),
    Shape(_matches(rf"{_IN_GROUPS_BY_COMMA}\.\d{{1,40}}"), Form.GROUPED_DECIMAL, _ungrouped_decimal),
    Shape(
        _matches(
            rf"(?!{_IN_GROUPS_BY_COMMA}$)[+-]?(?:{_WHOLE}|{_FIRST_GROUP}{_GROUP_BY_POINT}{{1,13}}),\d{{1,40}}"
        ),
        Form.COMMA_DECIMAL,
        _decimal_with_comma,
    ),
    Shape(
        _matches(rf"(?!{_INTERNET_ADDRESS}$)[+-]?{_FIRST_GROUP}{_GROUP_BY_POINT}{{2,13}}"),
        Form.DOTTED_INTEGER,
        _undotted_integer,
    ),
    Shape(_matches(_ISO_DATE), Form.DATE, date.fromisoformat),
    _calendar(Form.DATE, _YEAR_FIRST),
    _calendar(
        Form.DAY_FIRST_DATE,
        _YEAR_LAST,
        also=_calendar(Form.MONTH_FIRST_DATE, _YEAR_LAST, month_first=True),
    ),
    Shape(_matches(_ISO_DATE + _ISO_TIME), Form.DATETIME, datetime.fromisoformat),
    _calendar(Form.DATETIME, _YEAR_FIRST + _LOOSE_TIME),
    _calendar(
        Form.DAY_FIRST_DATETIME,
        _YEAR_LAST + _LOOSE_TIME,
        also=_calendar(Form.MONTH_FIRST_DATETIME, _YEAR_LAST + _LOOSE_TIME, month_first=True),
    ),
)


def converter(forms: Iterable[Form]) -> Callable[[str], Value | None]:
    """Reads values of a column whose forms are known.

    Args:
        forms: of a verdict; see `column_types.Verdict.forms`.

    Returns:
        What gives the value of a text, or None if it has none of these forms.

    Example:
        >>> converter([Form.INTEGER, Form.COMMA_DECIMAL])("12,50")
        Decimal('12.50')
    """
    wanted = frozenset(forms)
    readings = (reading for shape in SHAPES for reading in (shape, shape.also) if reading is not None)
    shapes = [shape for shape in readings if shape.form in wanted]

    def convert(text: str) -> Value | None:
        for shape in shapes:
            if shape.matches(text):
                with suppress(ValueError):
                    return shape.convert(text)
        return None

    return convert
