"""The channel layer that reads all that has come, over a real Valkey."""

import asyncio
import os

import pytest
import redis.asyncio
from channels.layers import InMemoryChannelLayer
from redis.asyncio.client import PubSub

from status.layer import PubSubLayer, receive_all


@pytest.fixture
async def layer():
    layer = PubSubLayer(hosts=[os.environ["REDIS_URL"]])
    yield layer
    await layer.flush()


async def publish(layer, group, numbers):
    """All of it in one piece, so that one read brings many."""
    async with redis.asyncio.Redis.from_url(os.environ["REDIS_URL"]) as client:
        pipe = client.pipeline(transaction=False)
        for number in numbers:
            pipe.publish(f"asgi__group__{group}", layer.serialize({"type": "t", "number": number}))
        await pipe.execute()


async def read(layer, name, count):
    found = []
    async with asyncio.timeout(20):
        while len(found) < count:
            found += [message["number"] for message in await receive_all(layer, name)]
    return found


async def test_many_messages_come_in_order_and_none_is_lost(layer):
    name = await layer.new_channel()
    await layer.group_add("many", name)
    await publish(layer, "many", range(3000))
    assert await read(layer, name, 3000) == list(range(3000))


@pytest.mark.parametrize("protocol", [2, 3])
async def test_of_one_read_only_the_first_message_goes_through_the_client(protocol, monkeypatch):
    pytest.importorskip("hiredis")
    calls, parse = [], PubSub.parse_response

    async def counted(self, *args, **kwargs):
        response = await parse(self, *args, **kwargs)
        calls.extend([response] if response and response[0] == b"message" else [])
        return response

    monkeypatch.setattr(PubSub, "parse_response", counted)
    layer = PubSubLayer(hosts=[f"{os.environ['REDIS_URL']}?protocol={protocol}"])
    name = await layer.new_channel()
    await layer.group_add("once", name)
    await publish(layer, "once", range(1000))
    assert await read(layer, name, 1000) == list(range(1000))
    assert 0 < len(calls) < 200
    await layer.flush()


async def test_joining_and_leaving_amid_messages_takes_nothing_along(layer):
    name = await layer.new_channel()
    await layer.group_add("stays", name)
    for number in range(30):
        await layer.group_add(f"goes-{number}", name)
        await publish(layer, "stays", range(number * 20, number * 20 + 20))
        await layer.group_discard(f"goes-{number}", name)
    assert await read(layer, name, 600) == list(range(600))
    # Joined anew, a group is heard again.
    await layer.group_add("goes-3", name)
    await publish(layer, "goes-3", [7])
    assert await read(layer, name, 1) == [7]


async def test_it_hears_again_after_its_connection_broke(layer):
    name = await layer.new_channel()
    await layer.group_add("broken", name)
    await publish(layer, "broken", [1])
    assert await read(layer, name, 1) == [1]
    async with redis.asyncio.Redis.from_url(os.environ["REDIS_URL"]) as client:
        await client.client_kill_filter(_type="pubsub")
        async with asyncio.timeout(20):
            while not dict(await client.pubsub_numsub("asgi__group__broken"))[b"asgi__group__broken"]:
                await asyncio.sleep(0.02)
    await publish(layer, "broken", [2])
    assert await read(layer, name, 1) == [2]


async def test_messages_are_those_of_the_layer_of_channels_redis(layer):
    from channels_redis.pubsub import RedisPubSubChannelLayer

    theirs = RedisPubSubChannelLayer(hosts=[os.environ["REDIS_URL"]])
    message = {
        "type": "t",
        "number": 1.5,
        "text": "ü",
        "none": None,
        "list": [1, [True]],
        "bytes": b"\x00",
        "map": {"a": 1},
    }
    for one, other in ((layer, theirs), (theirs, layer)):
        assert other.deserialize(one.serialize(message)) == message


async def test_encrypted_messages_are_read():
    pytest.importorskip("cryptography")
    layer = PubSubLayer(hosts=[os.environ["REDIS_URL"]], symmetric_encryption_keys=["key"])
    name = await layer.new_channel()
    await layer.group_add("secret", name)
    await publish(layer, "secret", range(10))
    assert await read(layer, name, 10) == list(range(10))
    await layer.flush()


async def test_of_other_layers_one_message_is_read_at_a_time():
    layer = InMemoryChannelLayer()
    name = await layer.new_channel()
    for number in (1, 2):
        await layer.send(name, {"type": "t", "number": number})
    assert await receive_all(layer, name) == [{"type": "t", "number": 1}]
