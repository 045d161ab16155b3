"""Topics that are computed when somebody looks, and not broadcast: whoever shows one reads it every few seconds.

The hub reads what pages show anyway, every `REPAIR_SECONDS`, for all who look at once; so nothing that happens in
a worker costs an event for such a topic.
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from status.events import TopicEvent

logger = logging.getLogger(__name__)

HOUSE = "status.house"
"""The topic of workers, queues, web servers and what is wrong with them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Computed:
    """A family of such topics."""

    compute: Callable[[str], TopicEvent]
    """Gets the topic's whole name; the version must grow when the value changes."""
    forget: Callable[[], None]
    """Has what was kept of it computed anew."""
    may_watch: Callable[[Any], bool]
    """Whether a user may see it."""


_families: dict[str, Computed] = {}


def register(family: str, computed: Computed) -> None:
    """Compute the topic of that name, and those whose name goes on after it with a slash.

    >>> register("status.house", Computed(compute=read, forget=kept.clear, may_watch=access.sees_all))
    """
    _families[family] = computed


def _family_of(topic: str) -> Computed | None:
    return _families.get(topic.partition("/")[0])


def is_computed(topic: str) -> bool:
    """Whether a topic is one of those."""
    return _family_of(topic) is not None


def may_watch(user: Any, topic: str) -> bool:
    """Whether `user` may see a topic; those that are broadcast are for whoever is shown them."""
    family = _family_of(topic)
    return family is None or family.may_watch(user)


def forget(topic: str) -> None:
    """Compute a topic anew when it is read next: something has happened that people wait to see."""
    family = _family_of(topic)
    if family is not None:
        family.forget()


def read(topics: Iterable[str]) -> list[TopicEvent]:
    """The values of these; one that cannot be computed is left out, and the log says why."""
    events = []
    for topic in topics:
        family = _family_of(topic)
        if family is None:
            continue
        try:
            events.append(family.compute(topic))
        except Exception:
            # What else a page shows must not stand still for it.
            logger.exception("The topic %s cannot be computed", topic)
    return events
