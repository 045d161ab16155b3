import pytest
from django.db import transaction

from status.broadcast import broadcast
from status.models import Topic


@pytest.mark.django_db(transaction=True)
def test_a_value_is_retained_then_published(published):
    broadcast("site-status", {"status": "RUNNING"})
    broadcast("site-status", {"status": "IDLE"})
    topic = Topic.objects.get()
    assert (topic.payload, topic.version) == ({"status": "IDLE"}, 2)
    assert [(event.version, event.payload["status"]) for event in published] == [(1, "RUNNING"), (2, "IDLE")]


@pytest.mark.django_db(transaction=True)
def test_a_rollback_takes_both(published):
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        broadcast("site-status", {"status": "RUNNING"})
        1 / 0  # noqa: B018
    assert published == []
    assert not Topic.objects.exists()


@pytest.mark.parametrize(
    ("topic", "payload", "error"),
    [
        ("", {}, ValueError),
        ("x" * 101, {}, ValueError),
        ("t", ["list"], TypeError),
        ("t", {"x": object()}, TypeError),
    ],
)
def test_bad_input_is_refused(db, published, topic, payload, error):
    with pytest.raises(error):
        broadcast(topic, payload)
    assert published == []
