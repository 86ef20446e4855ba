# SPDX-License-Identifier: Apache-2.0
"""Scans of all queues of a deployment, for sweeps and the health report.

No other request makes them.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from redis import exceptions

from zaqar.errors import StoreUnavailable
from zaqar.storage.redis import key_names
from zaqar.storage.redis.node_connection_pool import (
    Command,
    ConnectionLost,
    RedisNode,
)
from zaqar.storage.redis.retrying_client import RedisClient

#: Keys that the server scans in one step.
SCAN_COUNT = 5000


def queues(client: RedisClient) -> Iterator[tuple[RedisNode, Sequence[str]]]:
    """Yield queues that hold messages, some at a time, with their node.

    A queue may be yielded twice.
    """
    prefix = client.prefix
    pattern = key_names.expiries(prefix)
    try:
        nodes = client.topology.nodes()
    except ConnectionLost as error:
        raise StoreUnavailable from error
    for node in nodes:
        cursor = b'0'
        while True:
            command = 'SCAN', cursor, 'MATCH', pattern, 'COUNT', SCAN_COUNT
            (answer,) = exchange(node, [command])
            if isinstance(answer, exceptions.RedisError):
                raise StoreUnavailable from answer
            cursor, names = answer
            if names:
                yield (
                    node,
                    [key_names.queue_of(prefix, name) for name in names],
                )
            if int(cursor) == 0:
                break


def exchange(node: RedisNode, commands: Sequence[Command]) -> list[Any]:
    """Send commands to one server; errors are among the answers."""
    try:
        return node.exchange(commands)
    except ConnectionLost as error:
        raise StoreUnavailable from error
