# SPDX-License-Identifier: Apache-2.0
"""Settlement of messages of a claim: deleted, released or extended."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain

import pymongo
from bson.binary import Binary
from msgspec import structs
from pymongo.client_session import ClientSession

from zaqar.objects import Act, Settlement
from zaqar.storage.mongodb import (
    document_layout,
    message_groups,
    update_documents_for_claims_and_settlement,
)
from zaqar.storage.mongodb.database_commands_and_transactions import (
    MongoDatabase,
    in_time,
)
from zaqar.storage.mongodb.document_layout import Document
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
    held_by_claim = update_documents_for_claims_and_settlement.live_messages(
        queue, claim_id, now
    )
    rows = database.find(queue.messages, held_by_claim, {'og': 1})
    if not rows:
        return None
    held = {bytes(row['_id']) for row in rows}
    deleted: list[Binary] = []
    changed: dict[Settlement, list[Binary]] = {}
    results: list[bool] = []
    for item in settlements:
        name = document_layout.message_id(queue.key, item.message_id)
        results.append(name is not None and bytes(name) in held)
        if name is None or not results[-1]:
            continue
        if item.act is Act.DELETE:
            deleted.append(name)
        else:
            alike = structs.replace(item, message_id='')
            changed.setdefault(alike, []).append(name)
    work = partial(_Work, queue, held_by_claim, deleted, changed, now)
    if queue.grouped:
        done = database.atomically(
            lambda session: _apply_to_groups(work(session), rows)
        )
    else:
        done = 0
        if deleted:
            done += database.step(work(None).delete)
        if changed:
            done += database.step(work(None).change)
    if done == sum(results):
        return results
    lost = _lost(database, queue, claim_id, settlements)
    return [
        is_held and item.message_id not in lost
        for item, is_held in zip(settlements, results, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class _Work:
    """The writes that settle messages; both return how many."""

    queue: CachedQueue
    held_by_claim: Document
    deleted: Sequence[Binary]
    changed: Mapping[Settlement, Sequence[Binary]]
    now: int
    session: ClientSession | None

    def delete(self) -> int:
        return self.queue.messages.delete_many(
            {'_id': {'$in': list(self.deleted)}, **self.held_by_claim},
            session=self.session,
        ).deleted_count

    def change(self) -> int:
        """Release or extend messages."""
        updates = []
        for item, names in self.changed.items():
            updates.append(
                pymongo.UpdateMany(
                    {'_id': {'$in': names}, **self.held_by_claim},
                    update_documents_for_claims_and_settlement.settled_update(
                        self.queue, item, self.now
                    ),
                )
            )
            if item.seconds:
                self.queue.will_wake(item.end(self.now))
        return self.queue.messages.bulk_write(
            updates, ordered=False, session=self.session
        ).matched_count


def _apply_to_groups(work: _Work, rows: Sequence[Document]) -> int:
    """Settle messages of groups, within a transaction; return how many.

    :param rows: what the claim holds
    """
    done = 0
    if work.deleted:
        with in_time():
            done += work.delete()
    if work.changed:
        with in_time():
            done += work.change()
    names = {*map(bytes, chain(work.deleted, *work.changed.values()))}
    ends = [item.end(work.now) for item in work.changed]
    message_groups.regroup_of(
        work.queue,
        [row for row in rows if bytes(row['_id']) in names],
        work.now,
        work.session,
        keep_until=max(ends, default=0),
    )
    return done


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
        if (name := document_layout.message_id(queue.key, item.message_id))
    }
    rows = database.find(
        queue.messages,
        {'_id': {'$in': [Binary(name) for name in acts]}},
        {'c': 1},
    )
    own = document_layout.claim_key(queue.key, claim_id)
    lost = set()
    for row in rows:
        item = acts[bytes(row['_id'])]
        if item.act is Act.DELETE or bytes(row.get('c', own)) != own:
            lost.add(item.message_id)
    return lost
