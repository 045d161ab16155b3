"""How a value in a CSV file may be written, and what it may be read as.

A shape is a way of writing; a form is a way of reading. Most shapes have one form, but `1,234` is read as a whole
number or as a decimal, and `03/04/2024` as a day in April or in March: only the other values of the column tell.
Work is done on lists of distinct values, for a call per value would cost more than the reading.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum

Value = int | Decimal | date | datetime

NULLS = frozenset(
    ["", "-", "--", "NA", "N/A", "n/a", "#N/A", "#NA", "<NA>", "NULL", "Null", "null", "None", "none"]
    + ["NaN", "nan", "NAN", "-nan", "-NaN", "\\N", "nil"]
)
"""What stands for a missing value; compared exactly, after the spaces around it are gone."""

BOOLEANS = frozenset(
    spelling
    for word in ("true", "false", "yes", "no", "t", "f", "y", "n", "on", "off")
    for spelling in (word, word.title(), word.upper())
)


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
    """Values that were read as one form."""

    form: Form
    texts: Sequence[str]
    values: Sequence[Value]
    """As many, in the same order; empty for a code."""
    first: bool = True
    """False if the same texts were read as another form already."""
