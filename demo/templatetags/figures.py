"""Numbers as people read them: in groups, rounded, a dash for what there is not."""

from math import floor, log10

from django import template
from django.utils.formats import number_format

from demo.column_types import ColumnType

register = template.Library()

MISSING = "–"
_NO_BREAK = "\xa0"
_LARGEST_INTEGER_WRITTEN_OUT = 10**21
_LARGEST_WRITTEN_OUT = 1e15
_SMALLEST_WRITTEN_OUT = 1e-4


@register.filter
def figure(value: float | str | None, digits: int | None = None) -> str:
    """A number with its thousands in groups, in the language of the page; a text stays as it is.

    Args:
        value: a number, a date or text; a dash stands for None and for no text.
        digits: for a number that is no integer, round it to so many digits behind the point, or to so many
            significant ones if it is smaller than 1.

    Example:
        `{{ 1234567.891|figure:2 }}` is `1,234,567.89`
    """
    if value is None or value == "":
        return MISSING
    if isinstance(value, str):
        return value
    if isinstance(value, int) and abs(value) < _LARGEST_INTEGER_WRITTEN_OUT:
        return number_format(value, force_grouping=True)
    if value and not _SMALLEST_WRITTEN_OUT <= abs(value) < _LARGEST_WRITTEN_OUT:
        return f"{value:.6g}"
    if digits is None or not value:
        return number_format(value, force_grouping=True)
    places = digits if abs(value) >= 1 else digits - 1 - floor(log10(abs(value)))
    return number_format(round(value, places), force_grouping=True)


@register.filter
def share(part: int, whole: int) -> str:
    """How many percent of `whole` the `part` is; a dash if there is no whole.

    Example:
        `{{ 1|share:8 }}` is `12.5 %`
    """
    if not whole:
        return MISSING
    percent = 100 * part / whole
    if part and percent < 0.1:
        return f"< {number_format(0.1)}{_NO_BREAK}%"
    return f"{number_format(round(percent, 1))}{_NO_BREAK}%"


@register.filter
def type_label(value: str) -> str:
    """The name of a column type.

    Example:
        `{{ "datetime"|type_label }}` is `date and time`
    """
    return str(ColumnType(value).label)
