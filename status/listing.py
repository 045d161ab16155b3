"""Lists of jobs, newest first: pages by cursor, and counts, at a cost that does not grow with the table.

Each filter has an index in the order of the list. Of several filters one leads: the one with the fewest jobs. The
others are looked up for each job of it, for so many jobs at most; a page says how far it has looked. So no mix of
filters reads more than `WINDOW` rows.
"""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import UUID

from django.contrib.auth import get_user_model
from django.db.models import Q, prefetch_related_objects

from status import access, searching, unfiltered
from status.counts import Count, add_up, count_each, count_states, in_a_state
from status.cursors import Cursor
from status.filters import ALL, Filters
from status.models import Job, SearchText
from status.models.queries import JobQuerySet
from status.models.search import ids_of, mark
from status.regions import RULED
from status.searching import Search
from status.states import LIVE, State

WINDOW = 1_000
"""So many jobs are looked through for one page."""
MOST_COUNTED = 10_000
MOST_IDS = 20
"""So many jobs are found by the beginning of an id."""
MOST_SAMPLED = 1_000
"""So many jobs are counted when they have to be looked at."""

_LEADS = (("owner_id", "state"), ("schedule",), ("worker",), ("queue",), ("task",), ("owner_id",), ("state",))


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPage:
    """One page of a list."""

    jobs: list[Job]
    newer: Cursor | None = None
    """The page before this one ends here."""
    older: Cursor | None = None
    """The next page begins behind this."""
    looked_until: datetime | None = None
    """The page is not full because the window ended here; `older` goes on."""


@dataclass(frozen=True)
class Listing:
    """The jobs of one scope (an owner's primary key as text, `all`, or a rule's) that filters let through.

    Whose a job is for a rule of the project's, only its query tells: that is put on top of the others.
    """

    scope: str
    filters: Filters = field(default_factory=Filters)

    def page(self, size: int, *, after: Cursor | None = None, before: Cursor | None = None) -> JobPage:
        """The newest jobs behind `after`, or the oldest before `before`.

        Args:
            size: so many at most.
            after: `older` of another page.
            before: `newer` of another page.

        Example:
            >>> listing.page(25, after=listing.page(25).older).jobs
        """
        take = self._by_words if self.filters.words else self._by_columns
        pks, end = take(size + 1, after, before)
        found = self._fetch(pks[:size])
        edge = end
        if len(pks) > size and found:
            edge = Cursor(found[-1].created_at, found[-1].pk)
        looked = end.created_at if end is not None else None
        if before is not None:
            found.reverse()
            behind = Cursor(found[-1].created_at, found[-1].pk) if found else before
            return JobPage(jobs=found, newer=edge, older=behind, looked_until=looked)
        ahead = Cursor(found[0].created_at, found[0].pk) if found else after
        return JobPage(jobs=found, newer=ahead if after else None, older=edge, looked_until=looked)

    def counts(self) -> dict[str, Count]:
        """How many jobs there are in each state and in `ALL`, whatever state the filters name."""
        every = Listing(self.scope, self.filters.without_state)
        if every._equal.keys() <= {"owner_id"} and not every._needs_a_look:
            exact = every._count_states()
            return {ALL: add_up(exact, MOST_COUNTED), **exact}
        states = every._sampled() | every._few()
        if self.filters.state:
            states[self.filters.state] = self.total()
        return {ALL: add_up(states, MOST_COUNTED) if every._needs_a_look else every.total(), **states}

    def total(self, most: int = MOST_COUNTED) -> Count:
        """How many jobs there are; at most `most` are counted, or fewer when they have to be looked at."""
        if self._needs_a_look:
            states = self._sampled()
            return states[self.filters.state] if self.filters.state else add_up(states, MOST_COUNTED)
        return count_each([self.exact], most)[0]

    def newer_than(self, moment: datetime, most: int) -> int:
        """How many were made after `moment`; at most `most`."""
        newer = Listing(
            self.scope, self.filters.but(since=max(filter(None, (moment, self.filters.begins_at))))
        )
        if newer.filters.words:
            searching.catch_up()
            # A job made at that very moment was there.
            came = Job.objects.filter(parent=None, created_at__gt=moment, search_text__isnull=False)
            first = came.order_by("created_at", "pk")
            edge = first.values_list("search_text__pk", flat=True).first()
            return 0 if edge is None else len(newer._hits(newer._search(above=edge - 1), most))
        found = newer.exact.filter(created_at__gt=moment)
        return (found.filter(newer._kind) if self.filters.kind else found)[:most].count()

    def newest(self, columns: tuple[str, ...], most: int) -> list[tuple[Any, ...]]:
        """These columns of the newest jobs, where indexes alone can tell which these are.

        Example:
            >>> Listing("all").newest(("task", "queue"), 500)
            [('orders.tasks.import_orders', 'default')]
        """
        if self._is_plain:
            return unfiltered.newest(self._named, columns, most)
        return list(self.exact.values_list(*columns)[:most])

    def _count_states(self) -> dict[str, Count]:
        if self._is_plain:
            return unfiltered.states(self._named, MOST_COUNTED)
        return count_states(in_a_state(self.exact, MOST_COUNTED), MOST_COUNTED)

    @property
    def _is_plain(self) -> bool:
        """Whether it is all jobs, or all of an owner."""
        return not self._is_ruled and self.filters == Filters()

    # -- by columns ----------------------------------------------------------------------------------------

    @cached_property
    def _equal(self) -> dict[str, Any]:
        """The columns that must have a value."""
        filters = self.filters
        wanted = {"state": filters.state, "task": filters.task, "queue": filters.queue}
        wanted |= {"worker": filters.worker, "schedule": filters.schedule}
        equal: dict[str, Any] = {name: value for name, value in wanted.items() if value}
        if self._names_owner:
            equal["owner_id"] = self.scope
        elif self._owner is not None:
            equal["owner_id"] = self._owner
        return equal

    @property
    def _is_ruled(self) -> bool:
        return self.scope.startswith(RULED)

    @property
    def _names_owner(self) -> bool:
        return self.scope != "all" and not self._is_ruled

    @property
    def _named(self) -> str | None:
        return self.scope if self._names_owner else None

    @cached_property
    def _visible(self) -> JobQuerySet:
        """The jobs that the rule shows to the user of its scope."""
        key = self.scope.removeprefix(RULED)
        user = get_user_model()._default_manager.filter(pk=key, is_active=True).first()
        found: Any = Job.objects.none() if user is None else access.visible_jobs(user)
        return found  # type: ignore[no-any-return]

    def _ruled(self, found: JobQuerySet) -> JobQuerySet:
        return found.filter(pk__in=self._visible.order_by().values("pk")) if self._is_ruled else found

    @cached_property
    def _owner(self) -> Any:
        """The primary key of whom the filters name; None if they name nobody, or nobody has that name."""
        if not self.filters.owner or self._names_owner:
            return None
        model = get_user_model()
        named = model._default_manager.filter(**{model.USERNAME_FIELD: self.filters.owner})
        return named.values_list("pk", flat=True).first()

    @property
    def _is_nobodys(self) -> bool:
        return not self._names_owner and self.filters.owner != "" and self._owner is None

    @property
    def _kind(self) -> Q:
        return Q(canvas="") if self.filters.kind == "single" else ~Q(canvas="")

    @property
    def _jobs(self) -> JobQuerySet:
        """Those of the time asked for."""
        found = self._ruled(Job.objects.filter(parent=None))
        if self._is_nobodys:
            return found.none()
        if self.filters.begins_at is not None:
            found = found.filter(created_at__gte=self.filters.begins_at)
        if self.filters.until is not None:
            found = found.filter(created_at__lt=self.filters.until)
        return found

    @property
    def _needs_a_look(self) -> bool:
        """Whether no index alone can tell which jobs these are."""
        narrowed = set(self._equal)
        return bool(self.filters.words or self.filters.kind) or not (
            len(narrowed) <= 1 or narrowed == {"owner_id", "state"}
        )

    def _lead(self, ranged: JobQuerySet) -> tuple[JobQuerySet, list[Q]]:
        """`ranged` by the filter that leads, and the others as conditions."""
        leads = [lead for lead in _LEADS if self._equal.keys() >= set(lead)]
        leads = [lead for lead in leads if not any(set(lead) < set(other) for other in leads)]
        choices = [{name: self._equal[name] for name in lead} for lead in leads]
        if len(choices) > 1:
            ordered = ranged.order_by("-created_at", "-pk")
            sizes = count_each([ordered.filter(**choice) for choice in choices], WINDOW)
            choices = [min(zip(choices, sizes, strict=True), key=lambda pair: pair[1].number)[0]]
        chosen = choices[0] if choices else {}
        others = [Q(**{name: value}) for name, value in self._equal.items() if name not in chosen]
        return ranged.filter(**chosen), [*others, *([self._kind] if self.filters.kind else [])]

    def _by_columns(
        self, limit: int, after: Cursor | None, before: Cursor | None
    ) -> tuple[list[UUID], Cursor | None]:
        """The first keys, and where the window ended before there were so many."""
        if self._is_plain and after is None and before is None:
            return [pk for (pk,) in self.newest(("pk",), limit)], None
        ranged = self._jobs
        ranged = ranged.filter(after.older) if after else ranged
        ranged = ranged.filter(before.newer) if before else ranged
        found, others = self._lead(ranged)
        order = ("created_at", "pk") if before else ("-created_at", "-pk")
        found, end = _within(found.order_by(*order), others, before is not None)
        pks = list(found.values_list("pk", flat=True)[:limit])
        return pks, end if len(pks) < limit else None

    # -- by words ------------------------------------------------------------------------------------------

    def _search(self, *, above: int | None = None, below: int | None = None) -> Search:
        filters = self.filters
        equal = dict(self._equal)
        marked = {"owner": equal.pop("owner_id", ""), "task": equal.pop("task", "")}
        marked |= {"schedule": equal.pop("schedule", ""), "kind": filters.kind}
        marks = [mark(name, value) for name, value in marked.items() if value]
        limits = {"above": above, "below": below}
        if filters.begins_at is not None:
            edge = _place_before(Q(created_at__lt=filters.begins_at))
            limits["above"] = max(edge or 0, above or 0)
        if filters.until is not None:
            edge = _place_before(Q(created_at__lt=filters.until))
            limits["below"] = min((edge or 0) + 1, below) if below is not None else (edge or 0) + 1
        return Search(words=filters.words, marks=marks, equal=equal, **limits)

    @cached_property
    def _by_id(self) -> list[tuple[UUID, str]]:
        """The keys and states of the few jobs whose id begins with what is searched for."""
        ids = ids_of(self.filters.q)
        if ids is None or self._is_nobodys:
            return []
        found = self._jobs.filter(pk__gte=ids[0], pk__lte=ids[1]).order_by("pk")
        others = [Q(**{name: value}) for name, value in self._equal.items()]
        others += [self._kind] if self.filters.kind else []
        return list(found.looked_up(*others).values_list("pk", "state")[:MOST_IDS])

    def _by_words(
        self, limit: int, after: Cursor | None, before: Cursor | None
    ) -> tuple[list[UUID], Cursor | None]:
        if self._is_nobodys:
            return [], None
        if self._by_id:
            return [pk for pk, _state in self._by_id[: limit - 1]], None
        searching.catch_up()
        search = self._search(
            below=None if after is None else _place_of(after),
            above=None if before is None else _place_of(before),
        )
        pks = self._hits(search, limit, newest_first=before is None)
        end = None
        if len(pks) < limit and (search.equal or self._is_ruled):
            place = search.end(WINDOW, newest_first=before is None)
            job = None if place is None else Job.objects.filter(search_text=place).only("created_at").first()
            end = None if job is None else Cursor(job.created_at, job.pk)
        return pks, end

    def _hits(self, search: Search, limit: int, *, newest_first: bool = True) -> list[UUID]:
        """The first keys that a search finds."""
        most = WINDOW if self._is_ruled else limit
        pks = [pk for _place, pk in search.find(most, window=WINDOW, newest_first=newest_first)]
        if self._is_ruled:
            seen = set(self._ruled(Job.objects.filter(pk__in=pks)).order_by().values_list("pk", flat=True))
            pks = [pk for pk in pks if pk in seen]
        return pks[:limit]

    # -- both ----------------------------------------------------------------------------------------------

    def _fetch(self, pks: list[UUID]) -> list[Job]:
        rows = {job.pk: job for job in unfiltered.rows(self._named, pks)}
        if not self._names_owner:
            prefetch_related_objects(list(rows.values()), "owner")
        return [rows[pk] for pk in pks if pk in rows]

    @property
    def exact(self) -> JobQuerySet:
        """The jobs, where indexes alone can tell which these are."""
        return self._jobs.filter(**self._equal).order_by("-created_at", "-pk")

    def _few(self) -> dict[str, Count]:
        """Of the states in which hardly any job stays, all that fit; unless there are many after all."""
        if self.filters.words or self._is_nobodys:
            return {}
        ordered = self._jobs.order_by("-created_at", "-pk")
        live = {state: ordered.filter(state=state) for state in sorted(LIVE)}
        sizes = count_each(list(live.values()), WINDOW)
        few = {
            state: found for (state, found), size in zip(live.items(), sizes, strict=True) if not size.more
        }
        others = [Q(**{name: value}) for name, value in self._equal.items() if name != "state"]
        others += [self._kind] if self.filters.kind else []
        counted = count_each([found.looked_up(*others) for found in few.values()], WINDOW)
        return dict(zip(few, counted, strict=True))

    def _sampled(self) -> dict[str, Count]:
        """Of the newest `MOST_SAMPLED` that fit."""
        found: dict[str, int]
        if self._is_nobodys:
            found, more = {}, False
        elif self._by_id:
            found, more = Counter(state for _pk, state in self._by_id), False
        elif self.filters.words:
            searching.catch_up()
            search = self._search()
            found = self._states_of(search)
            more = search.end(MOST_SAMPLED) is not None
        else:
            ranged, others = self._lead(self._jobs)
            ranged, end = _within(ranged.order_by("-created_at", "-pk"), others, oldest_first=False)
            states = list(ranged.values_list("state", flat=True)[: MOST_SAMPLED + 1])
            more = end is not None or len(states) > MOST_SAMPLED
            found = Counter(states[:MOST_SAMPLED])
        return {state: Count(number=found.get(state, 0), more=more) for state in State.values}

    def _states_of(self, search: Search) -> dict[str, int]:
        """How many of the newest `MOST_SAMPLED` that a search finds are in which state."""
        if not self._is_ruled:
            return dict(search.states(MOST_SAMPLED))
        hits = Job.objects.filter(pk__in=self._hits(search, MOST_SAMPLED)).order_by()
        return Counter(hits.values_list("state", flat=True))


def _within(found: JobQuerySet, others: list[Q], oldest_first: bool) -> tuple[JobQuerySet, Cursor | None]:
    """`found`, as far as its first `WINDOW` jobs, by `others`; and where these end if there are more."""
    if not others:
        return found, None
    last = list(found.values_list("created_at", "pk")[WINDOW - 1 : WINDOW])
    end = Cursor(*last[0]) if last else None
    if end is not None:
        found = found.exclude(end.newer if oldest_first else end.older)
        edge = {"created_at__lte" if oldest_first else "created_at__gte": end.created_at}
        found = found.filter(**edge)
    return found.looked_up(*others), end


def _place_of(cursor: Cursor) -> int:
    """The place of a cursor's job among what is searched; that of the next older one when it is gone."""
    held = SearchText.objects.filter(job=cursor.id).values_list("pk", flat=True).first()
    return held if held is not None else (_place_before(cursor.older) or 0)


def _place_before(condition: Q) -> int | None:
    """The place of the newest job of that condition."""
    found = Job.objects.filter(condition, parent=None, search_text__isnull=False).order_by(
        "-created_at", "-pk"
    )
    return found.values_list("search_text__pk", flat=True).first()
