# SPDX-License-Identifier: Apache-2.0
"""Guarantees of a deployment: what replication and write concern promise."""

from collections.abc import Mapping
from typing import Any

from zaqar.storage.mongodb.database_commands_and_transactions import (
    MongoDatabase,
)
from zaqar.storage.store_guarantees import (
    LAST_SECOND,
    Guarantees,
    Order,
    Survival,
)


def read(database: MongoDatabase, *, strictly: bool) -> Guarantees:
    """Read what kind of deployment it is at present.

    :param strictly: whether messages are handed out in queue order
    """
    concern = database.write_concern.document
    w, is_journaled = concern.get('w', 1), bool(concern.get('j'))
    failover, reason = _failover(database.hello(), w)
    kill = (
        (True, 'journal = true: writes are on disk before they return')
        if is_journaled
        else (LAST_SECOND, 'journal = false: a crash loses the last 100 ms')
    )
    return Guarantees(
        'mongodb',
        Order.FIFO if strictly else Order.ALMOST,
        kill[0],
        failover,
        [kill[1], reason],
    )


def _failover(hello: Mapping[str, Any], w: Any) -> tuple[Survival, str]:
    if hello.get('msg') == 'isdbgrid':
        text = f'w = {w}, through mongos'
        if w == 'majority':
            return True, f'{text}: a majority of a shard has each write'
        return None, f'{text}: the members of its shard are unknown'
    members = len(hello.get('hosts', ())) + len(hello.get('passives', ()))
    if 'setName' not in hello:
        return False, 'the server is not replicated'
    text = f'w = {w}, {members} members with data'
    if members < 2:
        return False, f'{text}: no other member has the writes'
    majority = members // 2 + 1
    if w == 'majority' or (isinstance(w, int) and w >= majority):
        return True, f'{text}: a majority has each write'
    return False, f'{text}: a member that takes over may lack the last writes'
