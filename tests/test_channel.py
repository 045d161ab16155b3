import os
import threading
import time
from dataclasses import replace
from uuid import uuid4

import pytest
from channels.layers import get_channel_layer

from status import channel, conf
from status.events import InboxEvent, JobEvent, ListEvent, TopicEvent, from_wire
from status.states import State
from tests.processes import wait_until


def event(seq=1, **changes):
    return replace(JobEvent(job=uuid4(), attempt=1, seq=seq, state=State.RUNNING), **changes)


@pytest.fixture
def sender(monkeypatch):
    """A sender of our own over a layer that the test can break."""

    class Layer:
        sent: list = []
        broken = False
        gate = threading.Event()

        async def group_send(self, group, message):
            if self.broken:
                raise ConnectionError("Redis is down")
            self.sent.append(from_wire(message))

    layer = Layer()
    layer.sent = []
    monkeypatch.setattr(channel, "get_layer", lambda: layer)
    monkeypatch.setattr(channel, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(channel, "_sender", None)
    yield layer
    channel.flush(5)


async def test_an_event_reaches_the_group_over_redis():
    layer = get_channel_layer()
    name = await layer.new_channel()
    one = event()
    await layer.group_add(channel.job_group(one.job), name)
    channel.publish(one)
    assert from_wire(await layer.receive(name)) == one
    await layer.flush()


def test_what_waits_together_is_merged_to_the_newest(sender):
    one = event()
    sender.broken = True
    for seq in range(1, 50):
        channel.publish(replace(one, seq=seq))
    channel.publish(replace(one, seq=20), ListEvent(scope="all"))
    sender.broken = False
    assert channel.flush(5)
    jobs = [e for e in sender.sent if isinstance(e, JobEvent)]
    assert jobs[-1].seq == 49
    assert len(jobs) <= 2
    assert ListEvent(scope="all") in sender.sent


def test_what_comes_in_a_flood_is_sent_in_few_writes(monkeypatch):
    writes = []

    class Way:
        def __init__(self, layer):
            pass

        def send(self, events):
            writes.append(len(events))

    monkeypatch.setattr(channel, "_Direct", Way)
    own = channel.Sender()
    began = time.monotonic()
    for _ in range(500):
        own.put([event()])
    assert own.flush(10)
    assert sum(writes) == 500
    pause = channel.GATHER_PART * conf.current().publish_seconds
    assert pause == pytest.approx(0.02)
    assert len(writes) <= 2 + (time.monotonic() - began) / pause


def test_while_redis_is_down_the_newest_is_kept_and_sent_later(sender, caplog):
    sender.broken = True
    one = event()
    channel.publish(one)
    wait_until(lambda: "not sent" in caplog.text)
    assert not channel.flush(0.05)
    channel.publish(replace(one, seq=2, state=State.SUCCEEDED))
    sender.broken = False
    assert channel.flush(10)
    assert sender.sent[-1].state == State.SUCCEEDED


def test_publish_never_raises(monkeypatch, caplog):
    def broken():
        raise RuntimeError("no thread")

    monkeypatch.setattr(channel, "_get_sender", broken)
    channel.publish(event())
    assert "not handed over" in caplog.text


def test_a_forked_child_makes_a_sender_of_its_own(sender):
    channel.publish(event())
    assert channel.flush(5)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        channel.publish(event())
        os.write(write, b"sent" if channel.flush(5) and channel._sender._thread.is_alive() else b"lost")
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(write)
    assert os.read(read, 10) == b"sent"
    os.close(read)


@pytest.mark.parametrize("name", ["site-status", "ä topic with spaces / and more", "x" * 100])
def test_every_topic_has_a_valid_group(name):
    group = channel.group_of(TopicEvent(topic=name, version=1, payload={}, at=event().started_at))
    assert len(group) < 100
    assert group.replace(".", "").replace("-", "").isalnum()


def test_groups_of_different_things_differ():
    assert len({channel.topic_group("all"), channel.list_group("all"), channel.user_group("all")}) == 3


def test_a_flood_that_says_only_read_again_is_sent_at_its_pace_and_its_last_one_arrives(sender, settings):
    settings.STATUS = {"PUBLISH_SECONDS": 0.2}
    inbox, other = InboxEvent(user="1"), InboxEvent(user="2")
    began = time.monotonic()
    channel.publish(inbox)
    wait_until(lambda: sender.sent == [inbox])
    for _ in range(300):
        channel.publish(inbox, event())
    channel.publish(other)
    assert channel.flush(10)
    took = time.monotonic() - began
    assert 2 <= sender.sent.count(inbox) <= 2 + took / 0.2
    assert sender.sent.count(other) == 1
    assert sum(isinstance(e, JobEvent) for e in sender.sent) == 300
    assert sender.sent[0] == inbox


def test_after_a_pause_each_is_sent_at_once(sender, settings):
    settings.STATUS = {"PUBLISH_SECONDS": 0.0}
    for _ in range(5):
        channel.publish(ListEvent(scope="all"))
        assert channel.flush(5)
    assert len(sender.sent) == 5


def test_what_could_not_be_sent_and_says_only_read_again_comes_in_its_turn(sender, caplog):
    sender.broken = True
    channel.publish(ListEvent(scope="all"))
    wait_until(lambda: "not sent" in caplog.text)
    sender.broken = False
    assert channel.flush(10)
    assert sender.sent == [ListEvent(scope="all")]
