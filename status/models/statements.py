"""Statements whose SQL the ORM makes once, for what is written most often: making it costs more than executing it.

The texts come from Django's own compiler, so names, quoting and casts are those of every backend, and values are
prepared by the model's fields as they always are.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.db import connections, models, transaction
from django.db.models.constants import OnConflict
from django.db.models.expressions import Expression, Subquery
from django.db.models.sql import InsertQuery, UpdateQuery

Row = TypeVar("Row")

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


def slot(model: type[models.Model], name: str) -> Slot:
    """The place of a value for the column `name` of `model`; of another row's key for a foreign key.

    Example:
        >>> slot(Job, "owner").name
        'owner'
    """
    field: Any = model._meta.pk if name == "pk" else model._meta.get_field(name)
    return Slot(name, getattr(field, "target_field", field))


@dataclass(frozen=True, slots=True)
class Statement:
    """The SQL of one statement for one database, and what fills it."""

    alias: str
    sql: str
    params: tuple[Any, ...]
    """Slots, and what is the same each time."""
    returned: tuple[Any, ...] = ()
    """The expressions whose values it gives back, in rows."""

    def run(self, values: Mapping[str, Any]) -> list[tuple[Any, ...]] | int:
        """Execute it with `values` in its slots.

        Returns:
            What it gives back, if it gives anything; else how many rows it has changed.
        """
        connection = connections[self.alias]
        # What cannot be prepared is no error of the database's.
        params = self.filled(values, connection)
        with transaction.mark_for_rollback_on_error(using=self.alias), connection.cursor() as cursor:
            cursor.execute(self.sql, params)
            if not self.returned:
                return int(cursor.rowcount)
            rows = cursor.fetchall()
        return _read(rows, self.returned, connection)

    def filled(self, values: Mapping[str, Any], connection: Any) -> list[Any]:
        """Its parameters."""
        return [
            _prepared(p.output_field, values[p.name], connection) if isinstance(p, Slot) else p
            for p in self.params
        ]


def _prepared(field: Any, value: Any, connection: Any) -> Any:
    # Half of all columns are NULL.
    return None if value is None else field.get_db_prep_save(value, connection)


def _read(rows: list[Any], expressions: Sequence[Any], connection: Any) -> list[tuple[Any, ...]]:
    """What the database gave, as the models have it."""
    converters = []
    for place, expression in enumerate(expressions):
        found = [*connection.ops.get_db_converters(expression), *expression.get_db_converters(connection)]
        converters += [(place, expression, convert) for convert in found]
    if not converters:
        return rows
    read = []
    for row in rows:
        values = list(row)
        for place, expression, convert in converters:
            values[place] = convert(values[place], expression, connection)
        read.append(tuple(values))
    return read


class Select(Generic[Row]):
    """A SELECT whose SQL is made once, with the rows that the queryset would give.

    Args:
        rows: instances, also with `defer` but not with `select_related`, or a `values_list`; slots may stand in its
            conditions.

    Example:
        >>> by_key = Select(Job.objects.filter(pk=slot(Job, "pk")).order_by())
        >>> by_key.run(pk=job.pk)
        [<Job: Orders of May>]
    """

    def __init__(self, rows: models.QuerySet[Any, Row]) -> None:
        assert not rows.query.select_related, "Their columns would be taken for those of the rows themselves."
        compiler: Any = rows.query.get_compiler(rows.db)
        sql, params = compiler.as_sql()
        self._statement = Statement(rows.db, sql, tuple(params), tuple(part for part, *_ in compiler.select))
        self._model: Any = rows.model if rows.query.default_cols else None
        # Django looks each column up in it.
        self._names = frozenset(part.target.attname for part, *_ in compiler.select) if self._model else ()

    def run(self, **values: Any) -> list[Row]:
        """The rows for these values of the slots."""
        rows: Any = self._statement.run(values)
        if self._model is None:
            return rows  # type: ignore[no-any-return]
        return [self._model.from_db(self._statement.alias, self._names, row) for row in rows]


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
        >>> done = update(Job.objects.filter(pk=slot(Job, "pk")), {"state": slot(Job, "state")})
        >>> done.run({"pk": job.pk, "state": State.RUNNING})
        1
    """
    query: Any = rows.query.chain(UpdateQuery)
    query.add_update_values(values)
    compiler = query.get_compiler(rows.db)
    sql, params = compiler.as_sql()
    by_name = {field.attname: field for field in rows.model._meta.concrete_fields}
    fields = [by_name[name] for name in returning]
    if not fields:
        return Statement(rows.db, sql, tuple(params))
    quote = connections[rows.db].ops.quote_name
    more = [expression.resolve_expression(query) for expression in also]
    texts = [quote(field.column) for field in fields] + [compiler.compile(other)[0] for other in more]
    sql += " RETURNING " + ", ".join(texts)
    columns = [field.get_col(rows.model._meta.db_table) for field in fields]
    return Statement(rows.db, sql, tuple(params), (*columns, *more))


def count(rows: models.QuerySet[Any], most: int) -> Statement:
    """The SELECT that counts `rows`, up to `most`, for `count_together`; slots may stand in their conditions.

    In their order, by which SQLite chooses the index.

    Example:
        >>> mine = Notification.objects.filter(owner=slot(Notification, "owner"))
        >>> unread = count(mine.unread().order_by(), 10_000)
        >>> count_together([(unread, {"owner": alice.pk})])
        [3]
    """
    sql, params = rows.values("pk")[:most].query.sql_with_params()
    counted = f"SELECT COUNT(*) FROM ({sql}) counted"  # noqa: S608  # Django's own.
    return Statement(rows.db, counted, tuple(params))


def count_together(statements: Sequence[tuple[Statement, Mapping[str, Any]]]) -> list[int]:
    """What several statements of `count`, of one database, give for their values; in one query.

    Example:
        >>> count_together([(unread, {"owner": alice.pk}), (unread, {"owner": bob.pk})])
        [3, 0]
    """
    if not statements:
        return []
    connection = connections[statements[0][0].alias]
    parts = ", ".join([f"({statement.sql})" for statement, _values in statements])
    params = [param for statement, values in statements for param in statement.filled(values, connection)]
    with transaction.mark_for_rollback_on_error(using=connection.alias), connection.cursor() as cursor:
        cursor.execute(f"SELECT {parts}", params)
        return list(cursor.fetchone())


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
