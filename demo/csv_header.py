"""The header row: where it is, and a unique name for every column."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.utils.translation import gettext as _

from demo.bad_csv import BadCSV, blank_file
from demo.csv_dialect import is_number_or_time

MAX_COLUMNS = 2_000
MAX_NAME_CHARS = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The names of the columns, each of them once."""

    names: tuple[str, ...]
    records: int
    """Records up to and with the header; the data begin after them."""
    unnamed: int = 0
    """Columns without a name of their own; they are called `column 3` by their place."""
    renamed: int = 0
    """Columns whose name another one had before; a number was added."""
    looks_like_data: bool = False
    """All names are numbers or times, so this may be the first row of a file without a header."""


def find_header(rows: Iterable[Sequence[str]]) -> Header:
    """The header: the first row with anything in it.

    Args:
        rows: the file's records from its beginning; those without a field count as records, too.

    Returns:
        The header, its names unique.

    Raises:
        BadCSV: there is no such row, or it has more than `MAX_COLUMNS` fields.

    Example:
        >>> find_header([["id", "name", "name", ""]]).names
        ('id', 'name', 'name 2', 'column 4')
    """
    delimited = False
    for records, row in enumerate(rows, start=1):
        if any(map(str.strip, row)):
            return _named(row, records)
        delimited = delimited or len(row) > 1
    if delimited:
        raise BadCSV(_("The file has no columns: all its fields are empty; add a header row and data."))
    raise blank_file()


def _named(row: Sequence[str], records: int) -> Header:
    if len(row) > MAX_COLUMNS:
        raise BadCSV(
            _("The file has %(count)d columns, the limit is %(limit)d; remove those that are not needed.")
            % {"count": len(row), "limit": MAX_COLUMNS}
        )
    given = [" ".join(name.split())[:MAX_NAME_CHARS] for name in row]
    names = [name or _("column %d") % place for place, name in enumerate(given, start=1)]
    unique = _unique(names)
    return Header(
        names=tuple(unique),
        records=records,
        unnamed=given.count(""),
        renamed=sum(new != old for new, old in zip(unique, names, strict=True)),
        looks_like_data=all(is_number_or_time(name) for name in given if name),
    )


def _unique(names: Sequence[str]) -> list[str]:
    """The names, with a number added where one stood before, or where the number makes it one that stands."""
    taken = set(names)
    seen: set[str] = set()
    count: dict[str, int] = {}
    unique = []
    for name in names:
        fresh = name
        while fresh in seen or (fresh != name and fresh in taken):
            count[name] = count.get(name, 1) + 1
            fresh = f"{name} {count[name]}"
        seen.add(fresh)
        unique.append(fresh)
    return unique
