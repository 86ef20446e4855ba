# SPDX-License-Identifier: Apache-2.0
"""Settling messages of a claim: they are deleted, released or extended."""

from collections.abc import Mapping, Sequence

import pymongo
from bson.binary import Binary
from msgspec import structs

from zaqar.models import Act, Settlement
from zaqar.storage.mongodb import claim_fields, documents
from zaqar.storage.mongodb.commands_and_transactions import MongoDatabase
from zaqar.storage.mongodb.documents import Document
from zaqar.storage.mongodb.queue_state_cache import CachedQueue


def settle(
    database: MongoDatabase,
    queue: CachedQueue,
    claim_id: str,
    settlements: Sequence[Settlement],
    now: int,
) -> Sequence[bool] | None:
    """Settle messages of a live claim; see the contract.

    A query, and one command each for those that are deleted and the others.
    Should a rival get ahead, whose clock says that a hold is over, another
    query tells what it has got.
    """
    held_by_claim = claim_fields.live_messages(queue, claim_id, now)
    rows = database.find(queue.messages, held_by_claim, {'_id': 1})
    if not rows:
        return None
    held = {bytes(row['_id']) for row in rows}
    deleted: list[Binary] = []
    changed: dict[Settlement, list[Binary]] = {}
    results: list[bool] = []
    for item in settlements:
        name = documents.message_id(queue.key, item.message_id)
        results.append(name is not None and bytes(name) in held)
        if name is None or not results[-1]:
            continue
        if item.act is Act.DELETE:
            deleted.append(name)
        else:
            alike = structs.replace(item, message_id='')
            changed.setdefault(alike, []).append(name)
    done = 0
    if deleted:
        done += database.step(
            queue.messages.delete_many,
            {'_id': {'$in': deleted}, **held_by_claim},
        ).deleted_count
    if changed:
        done += _change(database, queue, changed, held_by_claim, now)
    if done == sum(results):
        return results
    lost = _lost(database, queue, claim_id, settlements)
    return [
        is_held and item.message_id not in lost
        for item, is_held in zip(settlements, results, strict=True)
    ]


def _change(
    database: MongoDatabase,
    queue: CachedQueue,
    changed: Mapping[Settlement, Sequence[Binary]],
    held_by_claim: Document,
    now: int,
) -> int:
    """Release or extend messages; return how many."""
    updates = []
    for item, names in changed.items():
        updates.append(
            pymongo.UpdateMany(
                {'_id': {'$in': names}, **held_by_claim},
                claim_fields.settled_update(queue, item, now),
            )
        )
        if item.seconds:
            queue.will_wake(item.end(now))
    write = queue.messages.bulk_write
    return database.step(write, updates, ordered=False).matched_count


def _lost(
    database: MongoDatabase,
    queue: CachedQueue,
    claim_id: str,
    settlements: Sequence[Settlement],
) -> set[str]:
    """Return the ids of messages that another claim has got meanwhile.

    Those that are missing were deleted, if by the first try of a command
    whose answer was lost.
    """
    acts = {
        bytes(name): item
        for item in settlements
        if (name := documents.message_id(queue.key, item.message_id))
    }
    rows = database.find(
        queue.messages,
        {'_id': {'$in': [Binary(name) for name in acts]}},
        {'c': 1},
    )
    own = documents.claim_key(queue.key, claim_id)
    lost = set()
    for row in rows:
        item = acts[bytes(row['_id'])]
        if item.act is Act.DELETE or bytes(row.get('c', own)) != own:
            lost.add(item.message_id)
    return lost
