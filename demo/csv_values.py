"""How a value in a CSV file may be written, and what it may be read as.

A shape is a way of writing, a form a way of reading. Most shapes have one form, but `1,234` is read as a
whole number or as a decimal, and `03/04/2024` as a day in April or in March: only the other values of the
column tell. Work is done on lists of distinct values, for a call per value would cost more than the
reading.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum

Value = int | Decimal | date | datetime

NULLS = frozenset(
    [
        "",
        "-",
        "--",
        "NA",
        "N/A",
        "n/a",
        "#N/A",
        "#NA",
        "<NA>",
        "NULL",
        "Null",
        "null",
        "None",
        "none",
        "NaN",
        "nan",
        "NAN",
        "-nan",
        "-NaN",
        "\\N",
        "nil",
    ]
)
"""What stands for a missing value; compared exactly, after the spaces around it are gone."""

BOOLEANS = frozenset(
    spelling
    for word in ("true", "false", "yes", "no", "t", "f", "y", "n", "on", "off")
    for spelling in (word, word.title(), word.upper())
)
_FIRST_CHARACTERS = frozenset("+-.0123456789")


class Form(StrEnum):
    """What a value is read as."""

    INTEGER = "integer"
    GROUPED_INTEGER = "integer with thousands separated by commas"
    DOTTED_INTEGER = "integer with thousands separated by points"
    DECIMAL = "decimal"
    GROUPED_DECIMAL = "decimal with thousands separated by commas"
    COMMA_DECIMAL = "decimal with a decimal comma"
    BOOLEAN = "boolean"
    DATE = "date, year first"
    DAY_FIRST_DATE = "date, day first"
    MONTH_FIRST_DATE = "date, month first"
    DATETIME = "date and time, year first"
    DAY_FIRST_DATETIME = "date and time, day first"
    MONTH_FIRST_DATETIME = "date and time, month first"
    CODE = "code of digits"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Reading:
    """Texts that were read as one form, and what they were read as, in the same order."""

    form: Form
    texts: Sequence[str]
    values: Sequence[Value]


@dataclass(frozen=True, slots=True)
class Shape:
    """A way of writing, and what can be read from it."""

    matches: Callable[[str], object]
    """Whether a text is written so."""
    form: Form
    convert: Callable[[str], Value]
    """Raises ValueError for what is written so and yet is none, like the 30th of February."""
    also: "Shape | None" = None
    """Another reading of the same texts, tried if every one of them matches it."""


def read(texts: Sequence[str], shapes: list[Shape]) -> Iterator[Reading]:
    """Read values in every way in which they can be read.

    Args:
        texts: distinct values, none of them empty or with spaces around it. shapes: what to try,
            `csv_shapes.SHAPES` at first. Reordered, so that what was found is tried first the next time.

    Yields:
        One reading per form; a text may be in none, and then is just text, or in two, and then is ambiguous.

    Example:
        >>> [reading.form.name for reading in read(["1,234"], [*SHAPES])]
        ['GROUPED_INTEGER', 'COMMA_DECIMAL']
    """
    if spelled := BOOLEANS.intersection(texts):
        yield Reading(Form.BOOLEAN, [*spelled], [])
    rest = [text for text in texts if text[0] in _FIRST_CHARACTERS]
    for shape in tuple(shapes):
        written = list(filter(shape.matches, rest))
        if not written:
            continue
        shapes.remove(shape)
        shapes.insert(0, shape)
        yield from _readings(written, shape)
        if len(written) == len(rest):
            return
        rest = list(set(rest).difference(written))


def _readings(texts: Sequence[str], shape: Shape) -> Iterator[Reading]:
    try:
        yield Reading(shape.form, texts, list(map(shape.convert, texts)))
    except ValueError:
        if pairs := list(_convertible(texts, shape.convert)):
            yield Reading(shape.form, [text for text, _value in pairs], [value for _text, value in pairs])
    if shape.also is not None and all(map(shape.also.matches, texts)):
        yield from _readings(texts, shape.also)


def _convertible(texts: Iterable[str], convert: Callable[[str], Value]) -> Iterator[tuple[str, Value]]:
    for text in texts:
        with suppress(ValueError):
            yield text, convert(text)
