"""How many database queries a process makes."""

import itertools
from typing import Any

from django.db import connection
from django.db.backends.signals import connection_created

_made = itertools.count()
_asked = itertools.count()


def _wrapper(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
    # Savepoints and pragmas are told to the server too, but touch no table.
    if sql.split(" ", 1)[0] in {"SELECT", "INSERT", "UPDATE", "DELETE"}:
        next(_made)
    return execute(sql, params, many, context)


def _install(connection: Any, **kwargs: Any) -> None:
    if _wrapper not in connection.execute_wrappers:
        connection.execute_wrappers.append(_wrapper)


def count_them() -> None:
    """Count from now on what every connection of this process asks."""
    connection_created.connect(_install, dispatch_uid="benchmarks.queries", weak=False)
    _install(connection)


def count() -> int:
    """How many there were so far."""
    # A count that threads share without a lock can only be read by counting; what that adds is taken off.
    return next(_made) - next(_asked)
