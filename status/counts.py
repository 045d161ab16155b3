"""How many jobs there are, as far as somebody counted."""

from dataclasses import dataclass
from typing import Any

from django.core.exceptions import EmptyResultSet

from status.models.queries import JobQuerySet
from status.models.statements import Statement, count, count_together, slot
from status.states import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """How many jobs."""

    number: int
    more: bool = False
    """There may be more than that."""


def count_each(found: list[JobQuerySet], most: int) -> list[Count]:
    """How many each of these has, up to `most`; in one query."""
    counting = [_statement(each, most) for each in found]
    numbers = iter(count_together([(each, {}) for each in counting if each is not None]))
    return [_as_count(0 if each is None else next(numbers), most) for each in counting]


def in_a_state(found: JobQuerySet, most: int) -> Statement | None:
    """Counts for `count_states` those of these that are in a state, up to `most`; None if there can be none."""
    return _statement(found.filter(state=slot(found.model, "state")), most)


def count_states(counting: Statement | None, most: int, **values: Any) -> dict[str, Count]:
    """How many are in each state, up to `most`; in one query.

    Args:
        counting: what `in_a_state` made, for the same `most`.
        most: no more are counted.
        values: of its other slots.
    """
    if counting is None:
        return {state: Count(number=0) for state in State.values}
    numbers = count_together([(counting, {"state": state, **values}) for state in State.values])
    return {state: _as_count(number, most) for state, number in zip(State.values, numbers, strict=True)}


def _statement(found: JobQuerySet, most: int) -> Statement | None:
    try:
        return count(found, most + 1)
    except EmptyResultSet:
        return None


def _as_count(number: int, most: int) -> Count:
    return Count(number=min(number, most), more=number > most)


def add_up(states: dict[str, Count], most: int) -> Count:
    """All of them together, up to `most`."""
    number = sum(count.number for count in states.values())
    return Count(number=min(number, most), more=number > most or any(count.more for count in states.values()))
