"""PUBLISH over a plain connection, against a real server and the layer that receives."""

import os

import pytest
import redis
from channels.layers import get_channel_layer
from channels_redis.core import RedisChannelLayer
from channels_redis.pubsub import RedisPubSubChannelLayer

from status import pubsub, threads
from status.layer import PubSubLayer
from status.pubsub import Publisher

URL = os.environ["REDIS_URL"]


@pytest.fixture
async def inbox():
    """A layer with a channel in the group `some.group`; call it for the next message."""
    layer = get_channel_layer()
    name = await layer.new_channel()
    await layer.group_add("some.group", name)
    yield lambda: layer.receive(name)
    await layer.flush()


def packed(number):
    return get_channel_layer().serialize({"type": "test", "number": number})


async def test_all_that_is_published_together_arrives_in_its_order(inbox):
    Publisher(get_channel_layer()).publish([("some.group", packed(number)) for number in range(50)])
    assert [(await inbox())["number"] for _ in range(50)] == list(range(50))


async def test_a_connection_that_was_closed_meanwhile_is_made_anew(inbox):
    publisher = Publisher(get_channel_layer())
    publisher.publish([("some.group", packed(1))])
    with redis.Redis.from_url(URL) as other:
        other.client_kill_filter(_type="normal", skipme=True)
    publisher.publish([("some.group", packed(2))])
    assert [(await inbox())["number"] for _ in range(2)] == [1, 2]


def test_who_cannot_be_reached_is_told():
    publisher = Publisher(RedisPubSubChannelLayer(hosts=["redis://127.0.0.1:1"]))
    with pytest.raises(redis.ConnectionError):
        publisher.publish([("some.group", packed(1))])


@pytest.mark.parametrize(
    ("kind", "hosts", "speaks"),
    [
        (RedisPubSubChannelLayer, None, True),
        (RedisPubSubChannelLayer, [URL, ("127.0.0.1", 6379), {"host": "cache", "password": "x"}], True),
        (RedisPubSubChannelLayer, [{"master_name": "main", "sentinels": [("cache", 26379)]}], False),
        (RedisPubSubChannelLayer, [{"address": URL, "ssl_ca_certs": "ca.pem"}], False),
        (PubSubLayer, None, True),
        (RedisChannelLayer, None, False),
    ],
)
def test_it_speaks_only_for_the_layer_and_the_hosts_that_it_knows(kind, hosts, speaks):
    assert pubsub.speaks_for(kind(hosts=hosts)) is speaks


@pytest.mark.parametrize("library", ["gevent", "eventlet"])
def test_among_greenlets_it_speaks_for_nobody(library, monkeypatch):
    monkeypatch.setattr(threads, "patched_by", lambda: library)
    assert not pubsub.speaks_for(RedisPubSubChannelLayer())
