"""A channel layer for many live jobs: that of channels_redis, reading at once all messages that have come.

redis-py wants a timer and some ten coroutines for each message of a subscription, more than all else that an event
takes. When one socket read has brought many messages, only the first goes that way here.
"""

from collections import deque
from typing import Any

import msgspec
from channels_redis.pubsub import RedisPubSubChannelLayer, RedisPubSubLoopLayer, RedisSingleShardConnection
from channels_redis.serializers import MsgPackSerializer
from redis.asyncio.client import PubSub

Message = dict[str, Any]


class PubSubLayer(RedisPubSubChannelLayer):  # type: ignore[misc]  # channels_redis has no types.
    """`RedisPubSubChannelLayer`, with the same options, the same messages, and less time for each.

    With `hiredis` installed; else messages are read one by one.

    Example:
        >>> CHANNEL_LAYERS = {
        ...     "default": {"BACKEND": "status.layer.PubSubLayer", "CONFIG": {"hosts": ["redis://127.0.0.1:6379/0"]}}
        ... }
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if type(self._serializer) is MsgPackSerializer:
            # The same format in half the time.
            self._serializer.from_bytes = msgspec.msgpack.decode

    def _get_layer(self) -> RedisPubSubLoopLayer:
        layer = super()._get_layer()
        if not isinstance(layer._shards[0], Shard):
            layer._shards = [Shard(shard.host, layer) for shard in layer._shards]
        return layer

    async def receive_all(self, channel: str) -> list[Message]:
        """All messages that wait on `channel`, in order; it waits for the first."""
        messages = [await self.receive(channel)]
        waiting = self._get_layer().channels[channel]
        while not waiting.empty():
            messages.append(self.deserialize(waiting.get_nowait()))
        return messages


class Shard(RedisSingleShardConnection):  # type: ignore[misc]
    """The connection to one Redis."""

    def _ensure_redis(self) -> None:
        if self._redis is None:
            super()._ensure_redis()
            client: Any = self._redis
            self._pubsub = Subscriptions(client.connection_pool)


class Subscriptions(PubSub):
    """Gives one message after the other, and takes from the connection's parser all that it holds.

    What comes so is not in redis-py's own OpenTelemetry counts.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._waiting: deque[Message] = deque()

    async def get_message(
        self,
        ignore_subscribe_messages: bool = False,
        timeout: float | None = 0.0,  # noqa: ASYNC109  # As redis-py has it.
    ) -> Message | None:
        """The next message, or None if none comes within `timeout` seconds."""
        if self._waiting:
            return self._waiting.popleft()
        message: Message | None = await super().get_message(ignore_subscribe_messages, timeout)
        await self._take_read(ignore_subscribe_messages)
        return message

    async def _take_read(self, ignore_subscribe_messages: bool) -> None:
        """Keep what the socket read that brought a message has brought besides."""
        connection: Any = self.connection
        parser = getattr(getattr(connection, "_parser", None), "_reader", None)
        # redis-py has no public way to it, and other parsers than hiredis have no such thing.
        gets = getattr(parser, "gets", None)
        while gets is not None and isinstance(reply := gets(), list):
            if reply[0] == b"message":
                self._waiting.append({"channel": reply[1], "data": reply[2]})
            elif not (connection.health_check_interval and reply in self.health_check_response):
                message: Message | None = await self.handle_message(reply, ignore_subscribe_messages)  # type: ignore[no-untyped-call]
                if message is not None:
                    self._waiting.append(message)


async def receive_all(layer: Any, channel: str) -> list[Message]:
    """All messages that wait on `channel` of any layer, at least one; of others than ours just that one."""
    receive: Any = getattr(layer, "receive_all", None)
    return [await layer.receive(channel)] if receive is None else await receive(channel)
