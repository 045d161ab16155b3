"""Which columns of a file of orders hold the date, the amount, and what the orders are grouped by."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _

from demo.csv_profile import ColumnProfile

_DATE_WORDS = ("date", "day", "datum", "tag", "fecha", "data", "ordered", "created")
_AMOUNT_WORDS = (
    "amount",
    "total",
    "sum",
    "price",
    "revenue",
    "value",
    "betrag",
    "summe",
    "umsatz",
    "importe",
)
_GROUP_WORDS = ("shop", "store", "branch", "filiale", "tienda", "location", "region", "site")
_MOST_NAMED = 20


class BadOrders(ValueError):
    """A file that no report can be made of; its message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Choice:
    """The names of columns that were asked for; empty for what is to be found."""

    date: str = ""
    amount: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True)
class OrderColumns:
    """The columns by their places, from 0."""

    date: int
    amount: int
    group: int | None
    """None: all orders of the file are one group."""


def find_columns(columns: Sequence[ColumnProfile], choice: Choice) -> OrderColumns:
    """Find the columns, by their names if they are given, else by what they hold and are called.

    Args:
        columns: of the file, profiled.
        choice: the names.

    Raises:
        BadOrders: there is no such column, or more than one that it may be.

    Example:
        >>> find_columns(columns, Choice(amount="net"))
        OrderColumns(date=0, amount=3, group=None)
    """
    date = _chosen(columns, choice.date)
    amount = _chosen(columns, choice.amount)
    group = _chosen(columns, choice.group)
    if date is None:
        date = _found(columns, _is_date, _DATE_WORDS, _("date"))
    if amount is None:
        amount = _found(columns, _is_amount, _AMOUNT_WORDS, _("amount"), besides=date)
    if group is None:
        named = [place for place, column in enumerate(columns) if _is_called(column, _GROUP_WORDS)]
        group = next((place for place in named if place not in {date, amount}), None)
    return OrderColumns(date, amount, group)


def _chosen(columns: Sequence[ColumnProfile], name: str) -> int | None:
    wanted = _plain(name)
    if not wanted:
        return None
    for place, column in enumerate(columns):
        if _plain(column.name) == wanted:
            return place
    raise BadOrders(
        _("There is no column “%(name)s”. There are: %(names)s.") % {"name": name, "names": _names(columns)}
    )


def _found(
    columns: Sequence[ColumnProfile],
    fits: Callable[[ColumnProfile], bool],
    words: Sequence[str],
    what: str,
    besides: int | None = None,
) -> int:
    """The one column that fits; of several the one that is called so."""
    fitting = [place for place, column in enumerate(columns) if fits(column) and place != besides]
    if len(fitting) > 1:
        fitting = [place for place in fitting if _is_called(columns[place], words)] or fitting
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise BadOrders(
            _("No column holds what could be the %(what)s. There are: %(names)s.")
            % {"what": what, "names": _names(columns)}
        )
    raise BadOrders(
        _("Several columns could be the %(what)s: %(names)s. Say in the form which one it is.")
        % {"what": what, "names": _names([columns[place] for place in fitting])}
    )


def _is_date(column: ColumnProfile) -> bool:
    return column.type.is_temporal


def _is_amount(column: ColumnProfile) -> bool:
    return column.type.is_number


def _is_called(column: ColumnProfile, words: Sequence[str]) -> bool:
    return any(word in _plain(column.name).replace("_", " ").split() for word in words)


def _plain(name: str) -> str:
    return " ".join(name.split()).casefold()


def _names(columns: Sequence[ColumnProfile]) -> str:
    named = ", ".join(f"“{column.name}”" for column in columns[:_MOST_NAMED])
    return f"{named}, …" if len(columns) > _MOST_NAMED else named
