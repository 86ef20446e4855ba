# SPDX-License-Identifier: Apache-2.0
"""The table of all operations, by action and by route."""

from collections.abc import Mapping

from zaqar.api.operation import Operation
from zaqar.api.operation_declarations import (
    claims,
    flavors,
    home_ping_and_health,
    messages,
    pools,
    queues,
    quotas,
    redrives,
    streams,
    subscriptions,
    topics,
)

OPERATIONS: tuple[Operation, ...] = (
    *home_ping_and_health.OPERATIONS,
    *queues.OPERATIONS,
    *messages.OPERATIONS,
    *streams.OPERATIONS,
    *claims.OPERATIONS,
    *redrives.OPERATIONS,
    *subscriptions.OPERATIONS,
    *topics.OPERATIONS,
    *pools.OPERATIONS,
    *flavors.OPERATIONS,
    *quotas.OPERATIONS,
)

BY_ACTION: Mapping[str, Operation] = {
    operation.name: operation for operation in OPERATIONS
}


def routes() -> dict[str, dict[str, Operation]]:
    """Return path template to method to operation."""
    paths: dict[str, dict[str, Operation]] = {}
    for operation in OPERATIONS:
        if operation.http:
            paths.setdefault(operation.path, {})[operation.method] = operation
    return paths
