"""Finding jobs by their words: the rows that are searched are written here, and read.

The index finds the rows of a word in the order in which they came. Who owns a job, its task, schedule and kind are
words too, which nobody types, so that a search among one person's jobs looks at theirs alone. State, worker and queue
change; they are looked up for each job that is found, the newest first, and for so many at most.

Jobs start and end without a word about it: those whose words are not written are marked so in their own row, and
the next search, or the sweep, catches up.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from status.models import Job, SearchText

BATCH = 500
MOST_BATCHES = 10

_UNREAD = ("traceback", "result", "output", "steps", "given", "poll_signature", "on_cancel")


def catch_up(batches: int = MOST_BATCHES) -> None:
    """Write the words of those jobs that came, or whose error changed, since they were written; the oldest first.

    Any number may do so at once.

    Args:
        batches: of 500 jobs, so many at most.
    """
    for _batch in range(batches):
        unindexed = Job.objects.filter(is_indexed=False, parent=None).order_by("created_at", "pk")
        jobs = list(unindexed.defer(*_UNREAD)[:BATCH])
        if jobs:
            _write(jobs)
        if len(jobs) < BATCH:
            return


def _write(jobs: list[Job]) -> None:
    texts = {job.pk: SearchText.of(job) for job in jobs}
    with transaction.atomic():
        unmoved = Job.objects.filter(pk__in=list(texts), is_indexed=False).order_by("pk")
        unmoved = unmoved.select_for_update(skip_locked=connection.features.has_select_for_update_skip_locked)
        # One that went on meanwhile may have another error by now, and is left to the next batch.
        same = set(unmoved.values_list("pk", "attempt", "seq"))
        rows = [texts[job.pk] for job in jobs if (job.pk, job.attempt, job.seq) in same]
        unique = ["job"] if connection.features.supports_update_conflicts_with_target else None
        SearchText.objects.bulk_create(
            rows, update_conflicts=True, unique_fields=unique, update_fields=["words"]
        )
        Job.objects.filter(pk__in=[row.job_id for row in rows]).update(is_indexed=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What is searched for, and where."""

    words: Sequence[str]
    """Each begins a word of the job; from `status.models.search.split`."""
    marks: Sequence[str] = ()
    """Each is a word of the job, from `status.models.search.mark`."""
    equal: dict[str, Any] = field(default_factory=dict)
    """Columns of the job with their values."""
    above: int | None = None
    """The places found are above this one."""
    below: int | None = None
    """The places found are below this one."""

    def find(self, limit: int, *, window: int, newest_first: bool = True) -> list[tuple[int, UUID]]:
        """The first places that fit, with their jobs.

        Args:
            limit: so many at most.
            window: among so many that have the words.
            newest_first: else the oldest first.
        """
        order = "DESC" if newest_first else "ASC"
        columns = "t.id, t.job_id"
        if not self.equal:
            window = min(window, limit)
        sql, params = self._joined(columns, window, order)
        rows = _rows(f"{sql} ORDER BY found.place {order} LIMIT %s", [*params, limit])
        return [(place, _uuid(pk)) for place, pk in rows]

    def end(self, window: int, *, newest_first: bool = True) -> int | None:
        """The last place of the window; None if all that has the words is in it."""
        inner, params = self._found(window, "DESC" if newest_first else "ASC")
        rows = _rows(f"{inner} OFFSET %s", [*params[:-1], 1, window - 1])
        return rows[0][0] if rows else None

    def states(self, window: int) -> list[tuple[str, int]]:
        """How many of the newest `window` that fit are in which state."""
        sql, params = self._joined("j.state, COUNT(*)", window, "DESC")
        return [(state, count) for state, count in _rows(f"{sql} GROUP BY j.state", params)]

    def _joined(self, columns: str, window: int, order: str) -> tuple[str, list[Any]]:
        inner, params = self._found(window, order)
        conditions = "".join(f" AND j.{connection.ops.quote_name(name)} = %s" for name in self.equal)
        # A cross join of SQLite keeps its order: what was found comes first.
        sql = (  # What is put in are names of columns.
            f"SELECT {columns} FROM ({inner}) found CROSS JOIN status_searchtext t CROSS JOIN status_job j "  # noqa: S608
            f"WHERE t.id = found.place AND j.id = t.job_id{conditions}"
        )
        return sql, [*params, *self.equal.values()]

    def _found(self, window: int, order: str) -> tuple[str, list[Any]]:
        table, place, condition, params = _matches(self.words, self.marks)
        if self.above is not None:
            condition, params = f"{condition} AND {place} > %s", [*params, self.above]
        if self.below is not None:
            condition, params = f"{condition} AND {place} < %s", [*params, self.below]
        sql = f"SELECT {place} AS place FROM {table} WHERE {condition} ORDER BY {place} {order} LIMIT %s"  # noqa: S608
        return sql, [*params, window]


def _matches(words: Sequence[str], marks: Sequence[str]) -> tuple[str, str, str, list[Any]]:
    """A table, its column of places, the condition that a row has these words, and its parameters."""
    if connection.vendor == "sqlite":
        terms = [f'"{mark}"' for mark in marks] + [f'"{word}"*' for word in words]
        return "status_searchtext_words", "rowid", "status_searchtext_words MATCH %s", [" AND ".join(terms)]
    if connection.vendor == "postgresql":
        terms = [f"'{mark}'" for mark in marks] + [f"'{word}':*" for word in words]
        condition = "array_to_tsvector(string_to_array(words, ' ')) @@ %s::tsquery"
        return "status_searchtext", "id", condition, [" & ".join(terms)]
    terms = [f"% {mark} %" for mark in marks] + [f"% {word}%" for word in words]
    condition = " AND ".join(["CONCAT(' ', words, ' ') LIKE %s"] * len(terms))
    return "status_searchtext", "id", condition, terms


def _rows(sql: str, params: list[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, [_plain(value) for value in params])
        return list(cursor.fetchall())


def _plain(value: Any) -> Any:
    """An owner's key may be a UUID, which not every database knows."""
    if isinstance(value, UUID) and not connection.features.has_native_uuid_field:
        return value.hex
    return value


def _uuid(value: Any) -> UUID:
    return value if isinstance(value, UUID) else UUID(value)
