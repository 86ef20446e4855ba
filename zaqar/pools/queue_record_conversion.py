# SPDX-License-Identifier: Apache-2.0
"""Conversion of queues to their records and back, in pools and without."""

import secrets
from collections.abc import Mapping
from typing import Any

from zaqar.objects import Former, Queue, Record, Scope


def queue(scope: Scope, record: Record) -> Queue:
    """Return the queue of a record."""
    data = record.data
    former: tuple[Former, ...] = ()
    if data.get('former'):
        former = tuple(Former(*place) for place in data['former'])
    return Queue(
        scope,
        data['qid'],
        data.get('metadata') or {},
        record.version,
        data.get('pool') or '',
        former,
        data.get('created_at') or 0,
        data.get('changed_at') or 0,
        data.get('origin') or '',
    )


def fresh(scope: Scope, metadata: Mapping[str, Any], now: int) -> Queue:
    """Return a queue that is to be created."""
    qid = secrets.token_hex(16)
    return Queue(scope, qid, metadata, 1, created_at=now, changed_at=now)


def data(queue: Queue) -> dict[str, Any]:
    """Return what is recorded of a queue; what is not set takes no space."""
    recorded: dict[str, Any] = {
        'qid': queue.qid,
        'metadata': queue.metadata,
    }
    for name in ('created_at', 'changed_at', 'pool', 'origin'):
        if value := getattr(queue, name):
            recorded[name] = value
    if queue.former:
        recorded['former'] = [
            [place.pool, place.qid, place.until] for place in queue.former
        ]
    return recorded
