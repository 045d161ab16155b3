"""The lists that are asked for most, all jobs and all of an owner, by statements that are made once."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.db import router

from status.counts import Count, count_states, in_a_state
from status.models import Job
from status.models.queries import JobQuerySet
from status.models.statements import Select, Slot, Statement, slot

# What the list shows does not need these.
UNSHOWN = ("traceback", "signature", "result", "params", "output", "given", "poll_signature", "on_cancel")


def newest(owner: str | None, columns: tuple[str, ...], most: int) -> list[tuple[Any, ...]]:
    """These columns of the newest jobs of an owner, or of all.

    Example:
        >>> newest(str(alice.pk), ("task", "queue"), 500)
        [('orders.tasks.import_orders', 'default')]
    """
    return _newest(router.db_for_read(Job), owner is not None, columns, most).run(owner=owner)


def states(owner: str | None, most: int) -> dict[str, Count]:
    """How many jobs of an owner, or of all, are in each state; no more than `most` are counted."""
    counting = _counting(router.db_for_read(Job), owner is not None, most)
    return count_states(counting, most, owner=owner)


def rows(owner: str | None, pks: Sequence[UUID]) -> list[Job]:
    """Those of an owner, or of all, that have these keys; in any order, without what no list shows."""
    if not pks:
        return []
    keys = {f"pk{place}": pk for place, pk in enumerate(pks)}
    return _rows(router.db_for_read(Job), owner is not None, len(pks)).run(owner=owner, **keys)


def _jobs(alias: str, of_owner: bool) -> JobQuerySet:
    found: Any = Job.objects.using(alias).order_by()
    return found.filter(owner=slot(Job, "owner")) if of_owner else found  # type: ignore[no-any-return]


def _list(alias: str, of_owner: bool) -> JobQuerySet:
    return _jobs(alias, of_owner).filter(parent=None).order_by("-created_at", "-pk")


@lru_cache
def _newest(alias: str, of_owner: bool, columns: tuple[str, ...], most: int) -> Select[tuple[Any, ...]]:
    return Select(_list(alias, of_owner).values_list(*columns)[:most])


@lru_cache
def _counting(alias: str, of_owner: bool, most: int) -> Statement | None:
    return in_a_state(_list(alias, of_owner), most)


@lru_cache
def _rows(alias: str, of_owner: bool, count: int) -> Select[Job]:
    keys: Any = [Slot(f"pk{place}", Job._meta.pk) for place in range(count)]
    return Select(_jobs(alias, of_owner).defer(*UNSHOWN).filter(pk__in=keys))
