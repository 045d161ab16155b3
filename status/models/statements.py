"""Statements whose SQL the ORM makes once, for what is written most often: making it costs more than executing it.

The texts come from Django's own compiler, so names, quoting and casts are those of every backend, and values are
prepared by the model's fields as they always are.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connections, models, transaction
from django.db.models.constants import OnConflict
from django.db.models.expressions import Expression, Subquery
from django.db.models.sql import InsertQuery, UpdateQuery

RETURNING = {"sqlite", "postgresql"}
"""What can say with an UPDATE which rows it has changed; SQLite since 3.35, as it can for an INSERT."""


class Slot(Expression):
    """The place in a statement where a value of `field` goes, by name."""

    def __init__(self, name: str, field: Any) -> None:
        super().__init__(output_field=field)
        self.name = name

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, Any]:
        """The slot itself, instead of a parameter."""
        return "%s", (self,)


@dataclass(frozen=True, slots=True)
class Statement:
    """The SQL of one statement for one database, and what fills it."""

    alias: str
    sql: str
    params: tuple[Any, ...]
    """Slots, and what is the same each time."""
    returned: tuple[Any, ...] = ()
    """The fields of which an UPDATE gives the values in the rows that it has changed."""

    def run(self, values: Mapping[str, Any]) -> list[tuple[Any, ...]] | int:
        """Execute it with `values` in its slots.

        Returns:
            What it gives back, if it gives anything; else how many rows it has changed.
        """
        connection = connections[self.alias]
        params = [
            _prepared(p.output_field, values[p.name], connection) if isinstance(p, Slot) else p
            for p in self.params
        ]
        with transaction.mark_for_rollback_on_error(using=self.alias), connection.cursor() as cursor:
            cursor.execute(self.sql, params)
            if not self.returned:
                return int(cursor.rowcount)
            rows = cursor.fetchall()
        return [
            tuple(_read(f, v, connection) for f, v in zip(self.returned, row, strict=True)) for row in rows
        ]


def _prepared(field: Any, value: Any, connection: Any) -> Any:
    # Half of all columns are NULL.
    return None if value is None else field.get_db_prep_save(value, connection)


def _read(field: Any, value: Any, connection: Any) -> Any:
    """What the database gave, as the model has it."""
    if hasattr(field, "from_db_value"):
        return field.from_db_value(value, None, connection)
    return field.to_python(value)


def update(
    rows: models.QuerySet[Any],
    values: Mapping[str, Any],
    returning: Sequence[str] = (),
    also: Sequence[Subquery] = (),
) -> Statement:
    """The UPDATE of `rows`.

    Args:
        rows: which; slots may stand in its conditions.
        values: by column, slots and expressions.
        returning: what it gives back, as attributes (`owner_id`), where `can_return` says that it can.
        also: what it gives back after these, of other tables.

    Example:
        >>> done = update(Job.objects.filter(pk=Slot("pk", pk)), {"state": Slot("state", state)})
        >>> done.run({"pk": job.pk, "state": State.RUNNING})
        1
    """
    query: Any = rows.query.chain(UpdateQuery)
    query.add_update_values(values)
    compiler = query.get_compiler(rows.db)
    sql, params = compiler.as_sql()
    by_name = {field.attname: field for field in rows.model._meta.concrete_fields}
    fields = tuple(by_name[name] for name in returning)
    if fields:
        quote = connections[rows.db].ops.quote_name
        more = [expression.resolve_expression(query) for expression in also]
        texts = [quote(field.column) for field in fields] + [compiler.compile(other)[0] for other in more]
        sql += " RETURNING " + ", ".join(texts)
        fields += tuple(other.output_field for other in more)
    return Statement(rows.db, sql, tuple(params), fields)


def count(rows: models.QuerySet[Any], most: int) -> Statement:
    """The SELECT that counts `rows`, up to `most`; slots may stand in their conditions.

    In their order, by which SQLite chooses the index.

    Example:
        >>> unread = count(Notification.objects.filter(owner=Slot("owner", owner), read_at=None).order_by(), 10_000)
        >>> unread.run({"owner": alice.pk})
        [(3,)]
    """
    sql, params = rows.values("pk")[:most].query.sql_with_params()
    counted = f"SELECT COUNT(*) FROM ({sql}) counted"  # noqa: S608  # Django's own.
    return Statement(rows.db, counted, tuple(params), (models.IntegerField(),))


def can_return(alias: str) -> bool:
    """Whether an UPDATE can give back what it has changed."""
    connection = connections[alias]
    return connection.vendor in RETURNING and connection.features.can_return_columns_from_insert


ROWS_AT_ONCE = 50
_inserts: dict[tuple[str, type[models.Model], bool, int], str] = {}


def insert(rows: Iterable[Any], using: str, *, ignore_conflicts: bool = False) -> None:
    """INSERT unsaved `rows` of one model whose keys are known, or not wanted; no signals are sent.

    What `bulk_create` does, without what it does anew each time.

    Args:
        rows: of one model that inherits from no other with a table.
        using: the alias of the database.
        ignore_conflicts: rows which would break a constraint are left out.

    Example:
        >>> insert([Notification(owner=user, title="Report ready")], "default")
    """
    rows = list(rows)
    if not rows:
        return
    model, connection = type(rows[0]), connections[using]
    fields = [f for f in model._meta.concrete_fields if not isinstance(f, models.AutoField)]
    size = min(ROWS_AT_ONCE, max(connection.ops.bulk_batch_size(fields, rows), 1))
    params = [[_prepared(f, f.pre_save(row, True), connection) for f in fields] for row in rows]
    # One statement needs no transaction of its own; within one, its failure spoils that.
    whole: Any = (
        transaction.mark_for_rollback_on_error(using) if len(rows) <= size else transaction.atomic(using)
    )
    with whole, connection.cursor() as cursor:
        for at in range(0, len(rows), size):
            some = params[at : at + size]
            key = using, model, ignore_conflicts, len(some)
            if key not in _inserts:
                _inserts[key] = _insert_sql(rows[0], fields, using, ignore_conflicts, len(some))
            cursor.execute(_inserts[key], [value for row in some for value in row])
    for row in rows:
        row._state.adding, row._state.db = False, using


def _insert_sql(row: Any, fields: Sequence[Any], using: str, ignore_conflicts: bool, count: int) -> str:
    query = InsertQuery(type(row), on_conflict=OnConflict.IGNORE if ignore_conflicts else None)
    query.insert_values(fields, [row])
    sql: str
    [(sql, params)] = query.get_compiler(using).as_sql()
    assert len(params) == len(fields), "Each column is filled by one parameter."
    # For more rows the compiler of PostgreSQL wants their values by column.
    head, words, tail = sql.partition(" VALUES ")
    end = tail.rindex(")") + 1
    return head + words + ", ".join([tail[:end]] * count) + tail[end:]
