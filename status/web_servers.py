"""The web servers' processes that serve live pages: what each tells of its sockets and its hub."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from status.models import Process


@dataclass(frozen=True, slots=True, kw_only=True)
class WebServer:
    """One process, with what it has counted since it began."""

    name: str
    since: datetime
    memory_bytes: int | None
    sockets: int
    """Of pages, open now."""
    received: int
    """Events that its hub got."""
    frames: int
    """Frames that were written to sockets."""
    repaired: int
    """Changes that a row told first, and no event."""
    delay_seconds: float | None
    """95 % of the events were here within so long; None: there were none, or it took longer than is measured."""

    @classmethod
    def of(cls, process: Process) -> Self:
        """The process of a row."""
        said: dict[str, Any] = process.said
        return cls(
            name=process.name,
            since=process.started_at,
            memory_bytes=said.get("memory_bytes"),
            sockets=said.get("sockets", 0),
            received=said.get("received", 0),
            frames=said.get("frames", 0),
            repaired=said.get("repaired", 0),
            delay_seconds=bound_of(0.95, said.get("delay_bounds", []), said.get("delay_counts", [])),
        )


def bound_of(part: float, bounds: list[float], counts: list[int]) -> float | None:
    """The bound below which `part` of what a histogram counted lies; None if it has none.

    >>> bound_of(0.5, [0.1, 1], [3, 1, 0])
    0.1
    """
    left = part * sum(counts)
    for bound, count in zip(bounds, counts, strict=False):
        left -= count
        if left <= 0 and any(counts):
            return bound
    return None


def web_servers_of(processes: list[Process]) -> list[WebServer]:
    """Those among `processes`."""
    return [WebServer.of(process) for process in processes if process.kind == Process.Kind.WEB]
