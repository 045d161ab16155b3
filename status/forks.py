"""Forks and the threads that use the database: a fork waits until none of them is in the middle of it.

A process that forks while another of its threads is inside SQLite gives the child the locks that the thread
held, and nobody to release them: the child waits for ever at its first look into the database, or is told
"database is locked" for as long as it lives. A worker forks each time that it replaces a process of its pool,
and two threads of ours write rows in it; so they hold forks off while they do.
"""

import contextlib
import logging
import os
from collections.abc import Iterator

from status import threads

logger = logging.getLogger(__name__)

PATIENCE_SECONDS = 5.0
"""So long a fork waits; a thread that takes longer mostly waits for somebody else's lock, and holds none."""


class _Gate:
    """Lets one through at a time: a thread that is about to use the database, or a fork."""

    def __init__(self) -> None:
        self._lock = threads.original("_thread", "allocate_lock")()
        self._forker = 0
        """The thread that forks, by its identifier; 0: none."""

    @contextlib.contextmanager
    def hold_off(self) -> Iterator[None]:
        with self._lock:
            yield

    def before_fork(self) -> None:
        if self._lock.acquire(True, PATIENCE_SECONDS):
            self._forker = _me()
        else:
            logger.warning("A process is forked while a thread uses the database; the new one may hang")

    def after_fork(self) -> None:
        if self._forker == _me():
            self._forker = 0
            self._lock.release()


def _me() -> int:
    return int(threads.original("_thread", "get_ident")())


_gate = _Gate()


def hold_off() -> contextlib.AbstractContextManager[None]:
    """Have forks of this process wait until the block is left, for `PATIENCE_SECONDS` at most.

    For threads that use the database beside the one that forks; one at a time, so nothing long belongs inside.

    Example:
        >>> with hold_off():
        ...     row.save()
    """
    return _gate.hold_off()


def _renew_in_child() -> None:
    global _gate
    _gate = _Gate()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=lambda: _gate.before_fork(),
        after_in_parent=lambda: _gate.after_fork(),
        after_in_child=_renew_in_child,
    )
