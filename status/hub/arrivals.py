"""Those who come: pages that have joined their groups and wait for their first frame."""

from dataclasses import dataclass
from typing import Any

from status import access
from status.hub.entries import Live
from status.hub.slots import Connection
from status.regions import Kind, View


@dataclass(frozen=True, slots=True)
class Arrival:
    """One page that waits for its first frame."""

    live: Live
    connection: Connection
    view: View
    user: Any


def check(arrivals: list[Arrival]) -> list[access.Denied | None]:
    """For each whether its user may see all of it; runs in the hub's thread, for permissions may be read."""
    return [_refusal(arrival) for arrival in arrivals]


def _refusal(arrival: Arrival) -> access.Denied | None:
    jobs = {s: entry.job for s, entry in arrival.live.entries.items() if s.kind is Kind.JOB}
    try:
        access.check(arrival.user, arrival.view.subjects, jobs)
    except access.Denied as refusal:
        return refusal
    return None
