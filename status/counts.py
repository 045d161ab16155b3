"""How many jobs there are, as far as somebody counted."""

from dataclasses import dataclass
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connection

from status.models.queries import JobQuerySet


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How many jobs."""

    number: int
    more: bool = False
    """There may be more than that."""


def count_each(found: list[JobQuerySet], most: int) -> list[Count]:
    """How many each of these has, up to `most`; in one query."""
    if not found:
        return []
    parts: list[str] = []
    params: list[Any] = []
    for each in found:
        try:
            sql, given = each.values("pk")[: most + 1].query.sql_with_params()
        except EmptyResultSet:
            sql, given = "SELECT 1 WHERE 1 = 0", ()
        parts.append(f"(SELECT COUNT(*) FROM ({sql}) counted)")  # noqa: S608  # Django's own.
        params += given
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(parts)}", params)
        numbers = cursor.fetchone()
    return [Count(number=min(number, most), more=number > most) for number in numbers]


def add_up(states: dict[str, Count]) -> Count:
    """All of them together."""
    return Count(
        number=sum(count.number for count in states.values()),
        more=any(count.more for count in states.values()),
    )
