"""PUBLISH over a plain connection: the bytes that channels_redis' pub/sub layer sends, without an event loop's turns.

In an event loop a send costs several turns, half a millisecond of the thread that reports, and as long of the task that
waits for the interpreter meanwhile. Here many messages are one write, and one answer.

The commands are Redis's: https://redis.io/docs/latest/commands/publish/
"""

from collections.abc import Iterable
from typing import Any

import redis
from channels_redis.pubsub import RedisPubSubChannelLayer, RedisPubSubLoopLayer

from status import threads
from status.layer import PubSubLayer

PLAIN = {"address", "host", "port", "db", "username", "password"}
"""What a host of the layer may say, so that a plain connection goes to the same place in the same way."""


class Publisher:
    """Publishes to the groups of one layer; for one thread.

    Args:
        layer: the channel layer, for which `speaks_for` is true.

    Example:
        >>> Publisher(get_channel_layer()).publish([("status.list.1", packed)])
    """

    def __init__(self, layer: RedisPubSubChannelLayer) -> None:
        # Its part for one loop, which is never run: it knows the names and the hosts.
        self._names = RedisPubSubLoopLayer(*layer._args, **layer._kwargs, channel_layer=layer)
        self._connections = {id(shard): _connection(shard.host) for shard in self._names._shards}

    def publish(self, messages: Iterable[tuple[str, bytes]]) -> None:
        """Send messages, each with the name of its group; it returns when Redis has them.

        Raises:
            redis.RedisError: it cannot be reached; some of them may have arrived.
        """
        shards: dict[int, list[tuple[str, str, bytes]]] = {}
        for group, packed in messages:
            name = self._names._get_group_channel_name(group)
            shards.setdefault(id(self._names._get_shard(name)), []).append(("PUBLISH", name, packed))
        for shard, commands in shards.items():
            connection = self._connections[shard]
            try:
                _execute(connection, commands)
            except redis.ConnectionError:
                # A server closes what was idle for long; whoever gets a message twice ignores one.
                connection.disconnect()
                _execute(connection, commands)


def _connection(host: dict[str, Any]) -> Any:
    others = dict(host)
    address = others.pop("address", None)
    # Of a pool only for its reading of addresses.
    pool = redis.ConnectionPool.from_url(address, **others) if address else redis.ConnectionPool(**others)
    return pool.make_connection()


def _execute(connection: Any, commands: list[tuple[str, str, bytes]]) -> None:
    try:
        connection.send_packed_command(connection.pack_commands(commands))
        for _command in commands:
            connection.read_response()
    except BaseException:
        # The rest of the answers would be taken for those of the next.
        connection.disconnect()
        raise


def speaks_for(layer: Any) -> bool:
    """Whether a `Publisher` can send for this layer: a pub/sub layer and no other, at hosts that are plain addresses.

    Where sockets are greenlets', as under gevent, it cannot: they have no place in a real thread.
    """
    if type(layer) not in {RedisPubSubChannelLayer, PubSubLayer} or threads.patched_by():
        return False
    hosts = RedisPubSubLoopLayer(*layer._args, **layer._kwargs, channel_layer=layer)._shards
    return all(set(shard.host) <= PLAIN for shard in hosts)
