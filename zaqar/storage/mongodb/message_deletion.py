# SPDX-License-Identifier: Apache-2.0
"""Deletion of messages, with and without the claim that holds them."""

from collections.abc import Sequence

from bson.binary import Binary
from pymongo.client_session import ClientSession

from zaqar.storage import deletion_error_texts
from zaqar.storage.message_ids import is_claim_id
from zaqar.storage.mongodb import document_layout, message_groups
from zaqar.storage.mongodb.claims_and_pops import Claimer
from zaqar.storage.mongodb.database_commands_and_transactions import (
    MongoDatabase,
    in_time,
)
from zaqar.storage.mongodb.document_layout import Document
from zaqar.storage.mongodb.queue_byte_counts import QueueByteCounts
from zaqar.storage.mongodb.queue_state_cache import CachedQueue, QueueCache

#: Tries for a message that changes between two commands.
MAX_TRIES = 4


class Deleter:
    def __init__(
        self,
        database: MongoDatabase,
        cache: QueueCache,
        claimer: Claimer,
        held: QueueByteCounts,
    ) -> None:
        self._database = database
        self._cache = cache
        self._claimer = claimer
        self._held = held

    def delete(
        self, qid: str, message_id: str, now: int, claim_id: str | None
    ) -> None:
        """Delete a message, or say why not; see the contract."""
        queue = self._cache.get(qid)
        for _ in range(MAX_TRIES):
            if queue is None:
                return
            key = document_layout.message_id(queue.key, message_id)
            if key is None:
                return
            if self._delete_one(queue, key, now, claim_id):
                self._held.subtract(queue, 1)
                return
            row = self._database.step(
                queue.messages.find_one,
                {'_id': key, 'e': {'$gt': document_layout.date(now)}},
                {'h': 1, 'ci': 1},
            )
            if row is not None:
                self._check_claim(queue, row, now, claim_id)
                continue
            # Absent, unless the queue has another key by now.
            before, queue = queue, self._cache.refresh(qid)
            if queue is not None and queue.key == before.key:
                return

    def delete_many(self, qid: str, ids: Sequence[str], now: int) -> None:
        queue = self._cache.get(qid)
        keys = _keys(queue, ids)
        if queue is None or not keys:
            return
        if queue.grouped:
            count = self._database.atomically(
                lambda session: _delete_any(queue, keys, now, session)
            )
        else:
            count = self._database.step(
                queue.messages.delete_many, {'_id': {'$in': keys}}
            ).deleted_count
        self._held.subtract(queue, count)

    def delete_held(
        self, qid: str, ids: Sequence[str], now: int, claim_ids: Sequence[str]
    ) -> None:
        """Delete messages that claims hold, all or none.

        :raises MessageClaimed: one is not in any of the claims
        :raises InvalidDeletion: one of the claims does not exist
        """
        queue = self._cache.get(qid)
        for claim_id in claim_ids:
            if queue is None or not self._claimer.is_live(
                queue, claim_id, now
            ):
                raise deletion_error_texts.unknown_claim()
        keys = _keys(queue, ids)
        if queue is None or not keys:
            return

        count = self._database.atomically(
            lambda session: _delete_held(queue, keys, now, claim_ids, session)
        )
        self._held.subtract(queue, count)

    def _delete_one(
        self, queue: CachedQueue, key: Binary, now: int, claim_id: str | None
    ) -> bool:
        where: Document = {'_id': key, 'h': {'$lte': now}}
        if claim_id is not None:
            if not is_claim_id(claim_id):
                return False
            where = {
                '_id': key,
                'c': document_layout.claim_key(queue.key, claim_id),
                'h': {'$gt': now},
            }
        if queue.grouped:
            return self._database.atomically(
                lambda session: _delete_of_group(queue, where, now, session)
            )
        result = self._database.step(queue.messages.delete_one, where)
        return result.deleted_count > 0

    def _check_claim(
        self, queue: CachedQueue, row: Document, now: int, claim_id: str | None
    ) -> None:
        """Raise why a message was not deleted, if that still holds."""
        holder = row['ci'] if row['h'] > now else None
        if holder == claim_id:
            return
        if claim_id is not None and not self._claimer.is_live(
            queue, claim_id, now
        ):
            raise deletion_error_texts.unknown_claim()
        if holder is not None:
            raise deletion_error_texts.message_claimed()
        raise deletion_error_texts.message_free()


def _delete_held(
    queue: CachedQueue,
    keys: Sequence[Binary],
    now: int,
    claim_ids: Sequence[str],
    session: ClientSession | None,
) -> int:
    """Delete messages, within a transaction that a refusal rolls back.

    :returns: how many
    """
    where: Document = {
        '_id': {'$in': list(keys)},
        'e': {'$gt': document_layout.date(now)},
    }
    with in_time():
        rows = list(
            queue.messages.find(
                where, {'h': 1, 'ci': 1, 'og': 1}, session=session
            )
        )
    for row in rows:
        if row['h'] <= now or row['ci'] not in claim_ids:
            raise deletion_error_texts.message_claimed()
    with in_time():
        count = queue.messages.delete_many(
            {'_id': {'$in': list(keys)}}, session=session
        ).deleted_count
    message_groups.regroup_of(queue, rows, now, session)
    return count


def _delete_any(
    queue: CachedQueue,
    keys: Sequence[Binary],
    now: int,
    session: ClientSession | None,
) -> int:
    """Delete messages, some with a group, within a transaction."""
    where: Document = {'_id': {'$in': list(keys)}}
    with in_time():
        rows = list(queue.messages.find(where, {'og': 1}, session=session))
    with in_time():
        count = queue.messages.delete_many(
            where, session=session
        ).deleted_count
    message_groups.regroup_of(queue, rows, now, session)
    return count


def _delete_of_group(
    queue: CachedQueue,
    where: Document,
    now: int,
    session: ClientSession | None,
) -> bool:
    """Delete a message, maybe with a group, within a transaction."""
    with in_time():
        row = queue.messages.find_one_and_delete(
            where, {'og': 1}, session=session
        )
    if row is None:
        return False
    message_groups.regroup_of(queue, [row], now, session)
    return True


def _keys(queue: CachedQueue | None, ids: Sequence[str]) -> list[Binary]:
    if queue is None:
        return []
    keys = (document_layout.message_id(queue.key, text) for text in ids)
    return list(dict.fromkeys(key for key in keys if key is not None))
