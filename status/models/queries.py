"""Choosing and moving jobs. `advance` is the one place where a job changes its state."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django.db import connections, models, router, transaction
from django.db.models import Case, F, OuterRef, Q, Subquery, Value, When
from django.db.models.functions import Coalesce
from django.dispatch import Signal
from django.utils import timezone

from status.events import JobEvent
from status.models.statements import Select, Statement, can_return, slot, update
from status.states import LIVE, TERMINAL, State, below

if TYPE_CHECKING:
    from status.models.job import Job  # Named in quotes below.

TOLD = ("owner_id", "parent_id", "title")
CHOSEN = "owner__status_preferences__chosen"
job_ended = Signal()
"""Sent by `advance`, within the transaction that ends a job, with `job_id`, `attempt`, `state`, these columns, and as
`chosen` how its owner wants to be told.

They come with the UPDATE, so that nobody has to ask for them."""

NEXT_SEQ = F("seq") + 1
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

job_waits = Signal()
"""Sent as `job_ended`, and with `waits_for`, within the transaction that begins a wait for somebody."""

# An attempt begins with these.
FRESH: dict[str, Any] = {
    "failure": "",
    "steps": [],
    "progress": None,
    "rate": None,
    "time_left_seconds": None,
    "line_count": 0,
    "next_at": None,
    "poll_at": None,
    "poll_signature": None,
    "on_cancel": None,
    "sent_at": None,
    "started_at": None,
    "finished_at": None,
    "heartbeat_at": None,
    "cancel_requested_at": None,
    "result": None,
    "error": "",
    "traceback": "",
    "worker": "",
    "stoppable": False,
}

LIVE_FIELDS = (
    "id",
    "attempt",
    "seq",
    "state",
    "failure",
    "steps",
    "progress",
    "rate",
    "time_left_seconds",
    "worker",
    "stoppable",
    "started_at",
    "finished_at",
    "next_at",
    "cancel_requested_at",
    "line_count",
    "file_count",
    "polls",
    "poll_at",
    "tally",
)


@dataclass(frozen=True, slots=True)
class _Move:
    """What tells the statements of `advance` apart."""

    state: str
    leaves: frozenset[str]
    is_numbered: bool
    columns: tuple[tuple[str, Any], ...]
    """What is written: names, each with its expression or None, if it is a value."""
    returns: bool

    def made(self, rows: "models.QuerySet[Job]") -> Statement:
        """The guarded UPDATE of `rows`."""
        model = rows.model
        attempt, lower = slot(model, "attempt"), below(self.state)
        if self.leaves <= set(lower):
            # Beginnings and endings, the most frequent by far: the same in fewer words.
            newer = Q(attempt__lte=attempt)
        else:
            newer = Q(attempt__lt=attempt) | Q(attempt=attempt, state__in=lower)
            # Only reports follow each other in one state. Who says late that a job waits may have been declared lost.
            if self.is_numbered and self.state != State.WAITING:
                newer |= Q(attempt=attempt, state=self.state, seq__lt=slot(model, "seq"))
        due = rows.filter(newer, pk=slot(model, "pk"), state__in=sorted(self.leaves))
        values = {name: slot(model, name) if value is None else value for name, value in self.columns}
        if not self.returns:
            return update(due, values)
        preferences = model._meta.apps.get_model("status", "Preferences")
        chosen = preferences._base_manager.filter(user=OuterRef("owner")).values("chosen")
        return update(due, values, TOLD, [Subquery(chosen)])


@lru_cache(maxsize=256)
def _made_before(move: _Move, model: "type[Job]", alias: str) -> Statement:
    return move.made(model._base_manager.using(alias))


@lru_cache
def _by_key(model: "type[Job]", alias: str) -> "Select[Job]":
    return Select(model.objects.using(alias).filter(pk=slot(model, "pk")).order_by())


def last_lines(model: Any, job_id: UUID, most: int) -> list[Any]:
    """The last `most` log lines of a job, the newest first; `model` is that of lines, which knows that of jobs."""
    return _last_lines(model, router.db_for_read(model), most).run(job=job_id)


@lru_cache
def _last_lines(model: Any, alias: str, most: int) -> Select[Any]:
    lines = model.objects.using(alias).filter(job=slot(model, "job"))
    return Select(lines.order_by("-attempt", "-number")[:most])


def _told(found: Any) -> dict[str, Any]:
    return dict(zip((*TOLD, "chosen"), found[0], strict=True))


def _is_expression(value: Any) -> bool:
    return hasattr(value, "resolve_expression")


class JobQuerySet(models.QuerySet["Job"]):
    """Chooses and moves jobs."""

    def live(self) -> "JobQuerySet":
        """Those that have not ended."""
        return self.filter(state__in=sorted(LIVE))

    def find(self, job_id: UUID | str) -> "Job | None":
        """The job of that id among these, or None.

        `first` would order what is one row at most, for which Django compares all of its columns.

        Example:
            >>> Job.objects.select_related("owner").find(job_id)
            <Job: Orders of May>
        """
        return next(iter(self.filter(pk=job_id).order_by()[:1]), None)

    def read(self, job_id: UUID) -> "Job | None":
        """The job of that id among all, whole, or None: as `find` by a statement that is made once.

        Example:
            >>> Job.objects.read(job_id)
            <Job: Orders of May>
        """
        return next(iter(_by_key(self.model, self.db).run(pk=job_id)), None)

    def looked_up(self, *conditions: Q) -> "JobQuerySet":
        """Those of these that fit, found by looking at each: no index but that by which these are found is used.

        Example:
            >>> Job.objects.filter(parent=None, owner=alice).looked_up(Q(task="orders.tasks.import_orders"))
            <JobQuerySet [<Job: Orders of May>]>
        """
        found = self
        for condition in conditions:
            found = found.filter(Case(When(condition, then=Value(True)), default=Value(False)))
        return found

    def newest(self, most: int) -> "JobQuerySet":
        """Those among the newest `most` of these: what else is asked of them looks at no more rows.

        By the time of the last of them, which an index on what these were filtered by and `created_at` finds, and from
        which on it is read. With `pk__in` SQLite would look at all of these.

        Example:
            >>> Job.objects.filter(parent=None, owner=alice).newest(500).filter(task="orders.tasks.import_orders")
            <JobQuerySet [<Job: Orders of May>]>
        """
        last = self.order_by("-created_at", "-id").values("created_at")[most - 1 : most]
        return self.filter(created_at__gte=Coalesce(Subquery(last), Value(EPOCH)))

    def advance(
        self,
        job_id: UUID,
        state: str,
        *,
        attempt: int,
        seq: int | None = None,
        only_from: Iterable[str] | None = None,
        waits_for: str = "",
        tell: Callable[..., None] | None = None,
        **fields: Any,
    ) -> bool:
        """Move a job to `state` and write `fields`, unless the row knows better.

        The one guarded write. The UPDATE's WHERE refuses to leave a terminal state, refuses an older
        attempt, refuses to go back within an attempt, and refuses a sequence number that is not newer. So
        of two who end a job one wins, and whoever comes late changes nothing.

        Args:
            job_id: the job.
            state: the new state; for a progress report the same as before.
            attempt: the attempt that the caller speaks for.
            seq: its sequence number within the attempt; None for a caller who has none (not the worker that
                runs the attempt): the row's number is raised by one.
            only_from: narrows the states which may be left.
            waits_for: what somebody is to do before it goes on, if that shall be told now.
            tell: called after the end is committed, with what `job_ended` says, instead of sending that; the
                caller sees to it that the end is told soon. Not where the end is part of a transaction, nor where
                an UPDATE cannot give back what it has changed.
            fields: other columns to write in the same statement.

        Returns:
            Whether the row was changed.

        Example:
            >>> Job.objects.advance(job.id, State.CANCELLED, attempt=1, only_from=[State.QUEUED])
            True
        """
        self._for_write = True
        values = {**fields, "state": state, "attempt": attempt, "seq": NEXT_SEQ if seq is None else seq}
        if state in TERMINAL:
            values = {"finished_at": timezone.now(), "poll_at": None, **values}
            if state == State.FAILED or attempt > 1:
                # Jobs are found by the words of their error; see status/searching.py.
                values["is_indexed"] = False
        move = _Move(
            state=str(state),
            leaves=frozenset(only_from or LIVE),
            is_numbered=seq is not None,
            columns=tuple((name, value if _is_expression(value) else None) for name, value in values.items()),
            returns=(state in TERMINAL or bool(waits_for)) and can_return(self.db),
        )
        statement = move.made(self) if self.query.where else _made_before(move, self.model, self.db)
        values["pk"] = job_id
        if state not in TERMINAL and not waits_for:
            return bool(statement.run(values))
        if tell is not None and move.returns and not connections[self.db].in_atomic_block:
            found = statement.run(values)
            if found:
                tell(job_id=job_id, attempt=attempt, state=state, **_told(found))
            return bool(found)
        # Who is to be told of the end, or of the wait, is told by the same transaction, or there is none.
        with transaction.atomic(using=self.db):
            found = statement.run(values)
            if not found:
                return False
            if isinstance(found, int):
                row = self.model._base_manager.using(self.db).filter(pk=job_id)
                found = list(row.values_list(*TOLD, CHOSEN))
            if waits_for:
                job_waits.send(self.model, job_id=job_id, waits_for=waits_for, **_told(found))
            else:
                job_ended.send(self.model, job_id=job_id, attempt=attempt, state=state, **_told(found))
        return True

    def reopen(self, *, held: bool) -> int:
        """Queue those of these that failed or were cancelled again: the one way out of a terminal state.

        Only for a person who asks for it. Each goes on with its next attempt.

        Args:
            held: their turn has yet to come.

        Returns:
            How many that were.
        """
        ended = self.filter(state__in=[State.FAILED, State.CANCELLED])
        columns = FRESH | {"held": held, "output": None}
        if held:
            columns["given"] = None
        return ended.update(state=State.QUEUED, attempt=F("attempt") + 1, seq=0, **columns)

    def cancel(self) -> list[UUID]:
        """Cancel those of these that have not begun, and ask those that run; returns whose row that changed."""
        ends = Q(canvas="", state__in=[State.QUEUED, State.WAITING])
        due = self.live().filter(ends | Q(cancel_requested_at=None))
        changed = list(due.values_list("pk", flat=True))

        def choose(name: str, at_the_end: Any, when_asked: Any = None) -> Case:
            field: Any = self.model._meta.get_field(name)
            return Case(When(ends, then=at_the_end), default=when_asked or F(name), output_field=field)

        # In one statement: what begins to run or to wait meanwhile would be missed by two.
        now = timezone.now()
        due.update(
            state=choose("state", Value(State.CANCELLED)),
            seq=choose("seq", F("seq") + 1),
            finished_at=choose("finished_at", now),
            poll_at=choose("poll_at", None),
            cancel_requested_at=choose("cancel_requested_at", F("cancel_requested_at"), now),
        )
        return changed

    def skip(self, reason: str) -> int:
        """Cancel those of these whose turn has not come; returns how many that were."""
        waiting = self.filter(state=State.QUEUED, held=True)
        return waiting.update(
            state=State.CANCELLED, seq=F("seq") + 1, finished_at=timezone.now(), error=reason
        )

    def request_cancel(self, job_id: UUID) -> bool:
        """Note that the running job or live canvas `job_id` shall end; whether this call was the first to ask."""
        asked = self.filter(
            Q(state=State.RUNNING) | ~Q(canvas=""), pk=job_id, cancel_requested_at=None
        ).live()
        return bool(asked.update(cancel_requested_at=timezone.now()))

    def events(self, job_ids: Iterable[UUID]) -> list[JobEvent]:
        """The live fields of these jobs, in one query."""
        return [job.event() for job in self.filter(pk__in=list(job_ids)).only(*LIVE_FIELDS)]

    def standings(self, job_ids: Iterable[UUID]) -> "models.QuerySet[Any, tuple[Any, ...]]":
        """Of these jobs the id, and what `JobEvent.is_behind` takes, in one query that makes no instances."""
        standing = "attempt", "state", "seq", "cancel_requested_at"
        return self.filter(pk__in=list(job_ids)).values_list("pk", *standing)
