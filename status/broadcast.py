"""Broadcast a named value to every page that shows it."""

from typing import Any

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from status import channel
from status.events import TopicEvent
from status.models import Topic


def broadcast(topic: str, payload: dict[str, Any]) -> None:
    """Give `topic` a new value; pages that show it change now, pages opened later show it at once.

    May be called from a task, from beat, from a view. The value is written before it is published.

    Args:
        topic: its name, at most 100 characters.
        payload: a dict that JSON can hold; the partial gets its keys as variables.

    Raises:
        TypeError: the payload is no dict, or JSON cannot hold it.
        ValueError: the name is empty or too long.

    Example:
        >>> broadcast("site-status", {"status": "RUNNING"})
    """
    if not isinstance(payload, dict):
        raise TypeError(f"broadcast() takes a dict, not {payload!r}")
    if not topic or len(topic) > 100:
        raise ValueError(f"A topic's name has 1 to 100 characters: {topic!r}")
    event = retain(topic, payload)
    transaction.on_commit(lambda: channel.publish(event))


def retain(topic: str, payload: dict[str, Any]) -> TopicEvent:
    """Write the new value of `topic` without telling anybody; returns the event that would."""
    now = timezone.now()
    with transaction.atomic():
        Topic.objects.bulk_create([Topic(name=topic, updated_at=now)], ignore_conflicts=True)
        Topic.objects.filter(pk=topic).update(version=F("version") + 1, payload=payload, updated_at=now)
        version = Topic.objects.values_list("version", flat=True).get(pk=topic)
    return TopicEvent(topic=topic, version=version, payload=payload, at=now)
