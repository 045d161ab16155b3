"""A process that tells of itself: a row that its own thread writes every few seconds, whatever else it is busy with."""

import logging
import os
import socket
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from django.db import connections
from django.utils import timezone

from status import channel, conf, forks, threads
from status.computed import HOUSE
from status.counters import counters
from status.models import Process

logger = logging.getLogger(__name__)

LATE = 3
"""A process that has not told of itself for so many times `WORKER_SECONDS` is lost."""
LONGEST_NAME = 200


class Presence:
    """Tells of one process from now on, until `stop`.

    Args:
        name: the process's, its own among all.
        kind: which of `Process.Kind`.
        look: what there is to say, for JSON; called in the thread, with a connection to the database.

    Example:
        >>> presence = Presence("w1@here", Process.Kind.WORKER, lambda: {"pool": "solo"})
        >>> presence.stop()
    """

    def __init__(self, name: str, kind: Process.Kind, look: Callable[[], dict[str, Any]]) -> None:
        self._name, self._kind, self._look = name[:LONGEST_NAME], kind, look
        self._started_at: datetime = timezone.now()
        self._begun = self._ended = False
        self._wake = threads.Event()
        self._thread = threads.Thread(self._run, name="status-presence")

    def hurry(self) -> None:
        """Look and tell at once."""
        self._wake.set()

    def stop(self) -> None:
        """Tell for the last time that the process stops, from the caller's thread."""
        self._ended = True
        self._wake.set()
        now = timezone.now()
        try:
            Process.objects.filter(pk=self._name).update(stopped_at=now, seen_at=now)
        except Exception as error:
            logger.warning("%s stops, which could not be written: %r", self._name, error)
        channel.publish_change(HOUSE)

    def _run(self) -> None:
        while not self._ended:
            self._wake.clear()
            with forks.hold_off():
                self._tell_safely()
            self._wake.wait(conf.current().worker_seconds)

    def _tell_safely(self) -> None:
        try:
            self._tell()
        except Exception as error:
            # It must never end: whoever does not hear of a process takes it for lost.
            logger.warning("%s could not tell of itself, next try in seconds: %r", self._name, error)
        finally:
            # Once in ten seconds a new connection costs less than one that is kept, and no fork meets it.
            connections.close_all()

    def _tell(self) -> None:
        said, row = self._look(), Process.objects.filter(pk=self._name)
        columns: dict[str, Any] = {"seen_at": timezone.now(), "said": said}
        if not self._begun:
            columns |= {"kind": self._kind, "started_at": self._started_at, "stopped_at": None}
        if self._ended:
            return
        if not row.update(**columns):
            columns |= {"kind": self._kind, "started_at": self._started_at}
            Process.objects.bulk_create([Process(name=self._name, **columns)], ignore_conflicts=True)
        if not self._begun:
            self._begun = True
            channel.publish_change(HOUSE)


def memory_bytes(pid: int | str = "self") -> int | None:
    """The memory that a process holds, what it shares with others included; None where `/proc` does not tell.

    >>> memory_bytes() > 1_000_000
    True
    """
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


_web: tuple[int, Presence] | None = None


def of_web() -> Presence:
    """This process as a web server's, which tells of itself since this was first called in it."""
    global _web
    if _web is None or _web[0] != os.getpid():
        name = f"web@{socket.gethostname()}:{os.getpid()}"
        _web = os.getpid(), Presence(name, Process.Kind.WEB, look_at_web)
    return _web[1]


def look_at_web() -> dict[str, Any]:
    """What a web server's process says of itself: its sockets, and what its hub has counted."""
    frames = sum(counters.frame_bytes.counts)
    return {
        "memory_bytes": memory_bytes(),
        "sockets": counters.sockets,
        "received": counters.received,
        "repaired": counters.repaired,
        "refused": counters.refused,
        "replaced": counters.frames_replaced,
        "frames": frames,
        "frame_bytes": round(counters.frame_bytes.sum),
        "delay_bounds": list(counters.delay_seconds.bounds),
        "delay_counts": list(counters.delay_seconds.counts),
    }
