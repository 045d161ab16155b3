"""The members of a job as its page shows them: those that matter first, the rest as counts."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.db import router
from django.db.models import Case, Count, F, IntegerField, QuerySet, Value, When, Window
from django.db.models.functions import RowNumber

from status.models.job import Job
from status.models.statements import Select, slot
from status.states import LIVE, Canvas, State

# What moves and what went wrong is looked for; what went well is not.
ORDER = (State.RUNNING, State.FAILED, State.WAITING, State.QUEUED, State.CANCELLED, State.SUCCEEDED)
MOST = (25, 8, 5)
"""Members shown of the job itself, of each of these, and of each of those."""

_RANK = Case(
    *(When(state=state, then=Value(place)) for place, state in enumerate(ORDER)), output_field=IntegerField()
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How many members are in one state."""

    state: State
    count: int

    @property
    def cell_id(self) -> str:
        """The id of its number on the page."""
        return f"tally-{self.state}"


@dataclass(slots=True, kw_only=True)
class Twig:
    """A member with its own members."""

    job: Job
    branch: "Branch"


@dataclass(slots=True, kw_only=True)
class Branch:
    """The members of one job: some of them, and the counts of all."""

    tallies: list[Tally] = field(default_factory=list)
    """By state, in the order of `ORDER`, without those that are 0."""
    twigs: list[Twig] = field(default_factory=list)

    @property
    def every_tally(self) -> list[Tally]:
        """One for each state, those that are 0 as well: so the page keeps a place for each."""
        counts = {tally.state: tally.count for tally in self.tallies}
        return [Tally(state=state, count=counts.get(state, 0)) for state in ORDER]

    @property
    def total(self) -> int:
        """How many members there are."""
        return sum(tally.count for tally in self.tallies)

    @property
    def more(self) -> int:
        """How many of them are not shown."""
        return self.total - len(self.twigs)

    @property
    def is_live(self) -> bool:
        """Whether any member has not ended."""
        return any(tally.state in LIVE for tally in self.tallies)


def members_of(job: Job) -> Branch:
    """The members of `job`, read once until `forget_members`, for all that `Job.at` makes of it."""
    row = job.row
    if "branch" not in row.__dict__:
        row.__dict__["branch"] = load(row)
    branch: Branch = row.__dict__["branch"]
    return branch


def load(job: Job) -> Branch:
    """The members of `job`, three levels deep; nine queries at most, however many there are.

    Example:
        >>> [(tally.state.value, tally.count) for tally in load(job).tallies]
        [('running', 4), ('succeeded', 9996)]
    """
    whole = Branch()
    level = {job.pk: whole}
    chains = {job.pk} if job.canvas == Canvas.CHAIN else set()
    for most in MOST:
        _count(level)
        level = {pk: branch for pk, branch in level.items() if branch.tallies}
        if not level:
            break
        rows = _chosen(level, most)
        below: dict[UUID, Branch] = {}
        for row in rows:
            assert row.parent_id is not None
            below[row.pk] = Branch()
            level[row.parent_id].twigs.append(Twig(job=row, branch=below[row.pk]))
        for pk, branch in level.items():
            # What is there as a whole keeps its order, so that nothing moves under a pointer.
            if pk in chains or not branch.more:
                branch.twigs.sort(key=_position)
        level, chains = below, {row.pk for row in rows if row.canvas == Canvas.CHAIN}
    return whole


def _position(twig: Twig) -> tuple[bool, int]:
    position = twig.job.position
    return position is None, position or 0


def _count(level: dict[UUID, Branch]) -> None:
    if len(level) == 1:
        [parent] = level
        found = _counts_of_one(router.db_for_read(Job)).run(parent=parent)
    else:
        found = list(_counts(Job.objects.filter(parent__in=level)))
    counts: dict[tuple[UUID, str], int] = {(parent, state): number for parent, state, number in found}
    for pk, branch in level.items():
        tallies = [Tally(state=state, count=counts.get((pk, state), 0)) for state in ORDER]
        branch.tallies = [tally for tally in tallies if tally.count]


def _counts(members: QuerySet[Job]) -> QuerySet[Job, tuple[Any, ...]]:
    return members.order_by().values_list("parent", "state").annotate(number=Count("pk"))


@lru_cache
def _counts_of_one(alias: str) -> Select[tuple[Any, ...]]:
    """Every page of a job asks it, and most have no members."""
    return Select(_counts(Job.objects.using(alias).filter(parent=slot(Job, "parent"))))


def _chosen(parents: Iterable[UUID], most: int) -> list[Job]:
    """The first `most` members of each of `parents`, in the order in which they are shown."""
    place = Window(
        RowNumber(),
        partition_by=F("parent"),
        order_by=[_RANK.asc(), F("position").asc(nulls_last=True), F("created_at").asc()],
    )
    # Keys first: sorting ten thousand whole rows would cost four times as much.
    inside = Job.objects.filter(parent__in=parents).order_by().annotate(place=place)
    keys = list(inside.filter(place__lte=most).values_list("pk", flat=True))
    rows = Job.objects.filter(pk__in=keys).defer("signature", "traceback", "given", "output", "result")
    return list(rows.order_by(_RANK.asc(), F("position").asc(nulls_last=True), "created_at"))
