"""The states of a list of jobs, as tabs with their counts."""

from dataclasses import dataclass

from status.filters import ALL
from status.listing import Listing
from status.states import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Tab:
    """One of them."""

    state: str
    """A state, or `ALL`."""
    address: str
    """The query string of the list that it leads to."""
    is_current: bool
    number: int
    more: bool
    """There may be more than `number`."""

    @property
    def cell_id(self) -> str:
        """The id of its count, which is swapped alone."""
        return f"count-{self.state}"


def tabs_of(listing: Listing) -> tuple[Tab, ...]:
    """All jobs first, then each state."""
    counts = listing.counts()
    filters = listing.filters
    return tuple(
        Tab(
            state=state,
            address=filters.but(state="" if state == ALL else state).address,
            is_current=(filters.state or ALL) == state,
            number=counts[state].number,
            more=counts[state].more,
        )
        for state in (ALL, *State.values)
    )
