"""Which columns of a file of orders hold the date, the amount, and what the orders are grouped by."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, pgettext

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
_NO_DATE = gettext_lazy("No column holds what could be the date. There are: %(names)s.")
_DATES = gettext_lazy("Several columns could be the date: %(names)s. Say in the form which one it is.")
_NO_AMOUNT = gettext_lazy("No column holds what could be the amount. There are: %(names)s.")
_AMOUNTS = gettext_lazy("Several columns could be the amount: %(names)s. Say in the form which one it is.")


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
        date = _one(columns, _fitting(columns, _is_date, _DATE_WORDS), _NO_DATE, _DATES)
    if amount is None:
        amounts = _fitting(columns, _is_amount, _AMOUNT_WORDS, besides=date)
        amount = _one(columns, amounts, _NO_AMOUNT, _AMOUNTS)
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


def _fitting(
    columns: Sequence[ColumnProfile],
    fits: Callable[[ColumnProfile], bool],
    words: Sequence[str],
    besides: int | None = None,
) -> list[int]:
    """The columns that fit; of several those that are called so."""
    fitting = [place for place, column in enumerate(columns) if fits(column) and place != besides]
    return [place for place in fitting if _is_called(columns[place], words)] or fitting


def _one(columns: Sequence[ColumnProfile], fitting: Sequence[int], none: Promise, several: Promise) -> int:
    """The one that fits; `none` and `several` say what to do about another number of them."""
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        raise BadOrders(str(none) % {"names": _names(columns)})
    raise BadOrders(str(several) % {"names": _names([columns[place] for place in fitting])})


def _is_date(column: ColumnProfile) -> bool:
    return column.type.is_temporal


def _is_amount(column: ColumnProfile) -> bool:
    return column.type.is_number


def _is_called(column: ColumnProfile, words: Sequence[str]) -> bool:
    return any(word in _plain(column.name).replace("_", " ").split() for word in words)


def _plain(name: str) -> str:
    return " ".join(name.split()).casefold()


def _names(columns: Sequence[ColumnProfile]) -> str:
    named = [_("“%s”") % column.name for column in columns[:_MOST_NAMED]]
    return pgettext("between the names of a list", ", ").join(named + ["…"] * (len(columns) > _MOST_NAMED))
