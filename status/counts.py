"""How many jobs there are, as far as somebody counted."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connection

from status.models.queries import JobQuerySet
from status.models.statements import Slot, count, slot
from status.states import State

Part = tuple[str, Sequence[Any]]
"""A subquery, and what fills it."""


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
    return _count([_part(each, most) for each in found], most)


def count_states(found: JobQuerySet, most: int) -> dict[str, Count]:
    """How many of these are in each state, up to `most`; in one query.

    What Django makes of one state serves for the others.
    """
    part, given = _part(found.filter(state=slot(found.model, "state")), most)
    parts: list[Part] = [
        (part, [state if isinstance(p, Slot) else p for p in given]) for state in State.values
    ]
    return dict(zip(State.values, _count(parts, most), strict=True))


def _part(found: JobQuerySet, most: int) -> Part:
    try:
        statement = count(found, most + 1)
    except EmptyResultSet:
        return "0", ()
    return f"({statement.sql})", statement.params


def _count(parts: list[Part], most: int) -> list[Count]:
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {', '.join(part for part, _given in parts)}",
            [p for _part, given in parts for p in given],
        )
        numbers = cursor.fetchone()
    return [Count(number=min(number, most), more=number > most) for number in numbers]


def add_up(states: dict[str, Count], most: int) -> Count:
    """All of them together, up to `most`."""
    number = sum(count.number for count in states.values())
    return Count(number=min(number, most), more=number > most or any(count.more for count in states.values()))
