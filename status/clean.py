"""What tasks say about themselves, made fit for the database and the wire: a wrong value is not worth a job."""

import math
from typing import Any

from django.utils.functional import Promise

LARGEST = 2**53

Text = str | Promise
"""A text, or one that is translated when it is read."""


def number(value: Any) -> float | None:
    """`value` as a finite number; None for what is none.

    >>> number("3"), number(Decimal("0.5")), number(float("nan")), number("many")
    (3.0, 0.5, None, None)
    """
    if isinstance(value, int) and abs(value) < LARGEST:
        return int(value)
    try:
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def text(value: Any) -> str:
    """`value` as text that PostgreSQL and UTF-8 can hold: no NUL, no half of a surrogate pair.

    >>> text("a\\x00b\\ud800")
    'a\ufffdb?'
    """
    return str(value).replace("\x00", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
