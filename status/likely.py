"""Conditions that say for how many rows they hold, to databases that would not know."""

from typing import Any

from django.db.models import BooleanField, Func, Q


class Likelihood(Func):
    """A condition that holds for about this part of the rows.

    PostgreSQL keeps statistics of its own. SQLite has none until someone says ANALYZE, and then only averages: it
    reads the whole table for what is rare, or takes an index that leads to nearly every row.

    Args:
        condition: what must hold.
        part: 0 to 1.

    Example:
        >>> Job.objects.filter(Likelihood(Q(state="running"), 0.001))
    """

    output_field = BooleanField()

    def __init__(self, condition: Q, part: float) -> None:
        super().__init__(condition)
        self.part = part

    def as_sql(self, compiler: Any, connection: Any, **context: Any) -> Any:  # type: ignore[override]
        """The condition alone."""
        return compiler.compile(self.get_source_expressions()[0])

    def as_sqlite(self, compiler: Any, connection: Any, **context: Any) -> Any:
        """SQLite's `likelihood(X, Y)`; Y must be a literal."""
        sql, params = compiler.compile(self.get_source_expressions()[0])
        return f"likelihood({sql}, {self.part!r})", params
