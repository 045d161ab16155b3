"""What the lists can be narrowed by: the values that jobs have."""

from collections.abc import Iterable
from typing import Any

from django.contrib.auth import get_user_model
from django.db import connection

from status.listing import Listing
from status.regions import RULED

COLUMNS = ("task", "queue", "worker", "schedule")
MOST = 100
RECENT = 500


def choices(scope: str) -> dict[str, list[str]]:
    """For each column the values that jobs of `scope` have, in order; and the owners, unless it is one.

    Of everybody's jobs each value is one step in the column's index, however many jobs have it. Of others the
    newest are looked at.

    Example:
        >>> choices("all")["queue"]
        ['default', 'mail']
    """
    if scope == "all":
        found = {column: [value for value in _distinct(column) if value] for column in COLUMNS}
        return {**found, "owner": _names(_distinct("owner_id"))}
    rows = Listing(scope).newest((*COLUMNS, "owner_id"), RECENT)
    # Hardly any differs from all the others.
    values: list[Any] = list(zip(*set(rows), strict=True)) or [()] * (len(COLUMNS) + 1)
    found = {column: _sorted(held) for column, held in zip((*COLUMNS, "owner"), values, strict=True)}
    owners = found.pop("owner")
    return {**found, "owner": _names(owners)} if scope.startswith(RULED) else found


def _sorted(values: Iterable[Any]) -> list[Any]:
    return sorted({value for value in values if value})[:MOST]


def _names(keys: list[Any]) -> list[str]:
    model = get_user_model()
    users = model._default_manager.filter(pk__in=keys)
    return sorted(users.values_list(model.USERNAME_FIELD, flat=True))


def _distinct(column: str) -> list[Any]:
    """The values of an indexed column, each by a step in the index from the one before."""
    # The names of columns are those above.
    step = f"SELECT {column} FROM status_job WHERE parent_id IS NULL AND {column} IS NOT NULL"  # noqa: S608
    first = f"{step} ORDER BY {column} LIMIT 1"
    following = f"{step} AND {column} > held.value ORDER BY {column} LIMIT 1"
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH RECURSIVE held(value) AS (SELECT ({first}) UNION ALL SELECT ({following}) FROM held "  # noqa: S608
            "WHERE held.value IS NOT NULL) SELECT value FROM held WHERE value IS NOT NULL LIMIT %s",
            [MOST],
        )
        return [value for (value,) in cursor.fetchall()]
