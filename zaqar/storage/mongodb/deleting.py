# SPDX-License-Identifier: Apache-2.0
"""Deleting messages, with and without the claim that holds them."""

from __future__ import annotations

from collections.abc import Sequence

from bson.binary import Binary
from pymongo.client_session import ClientSession

from zaqar.storage import deletion_errors
from zaqar.storage.message_ids import is_claim_id
from zaqar.storage.mongodb import layout
from zaqar.storage.mongodb.claiming import Claiming
from zaqar.storage.mongodb.database import Database, in_time
from zaqar.storage.mongodb.incarnations import Incarnations, Queue
from zaqar.storage.mongodb.layout import Document

#: Looks at a message that changes while it is looked at.
ATTEMPTS = 4


class _Refused(Exception):
    """Rolls a transaction back."""

    def __init__(self, reason: Exception) -> None:
        super().__init__()
        self.reason = reason


class Deleting:
    """Deletions in the queues of a store."""

    def __init__(
        self, database: Database, known: Incarnations, claiming: Claiming
    ) -> None:
        self._database = database
        self._known = known
        self._claiming = claiming

    def delete(
        self, qid: str, message_id: str, now: int, claim_id: str | None
    ) -> None:
        """Delete a message, or say why not; see the contract."""
        queue = self._known.find(qid)
        for _ in range(ATTEMPTS):
            if queue is None:
                return
            name = layout.message_id(queue.key, message_id)
            if name is None:
                return
            if self._delete_one(queue, name, now, claim_id):
                return
            found = self._database.step(
                lambda queue=queue, name=name: queue.messages.find_one(  # type: ignore[misc]
                    {'_id': name, 'e': {'$gt': layout.date(now)}},
                    {'h': 1, 'ci': 1},
                )
            )
            if found is not None:
                self._complain(queue, found, now, claim_id)
                continue
            # Absent, unless the queue has got another key.
            before, queue = queue, self._known.look(qid)
            if queue is not None and queue.key == before.key:
                return

    def delete_many(self, qid: str, ids: Sequence[str], now: int) -> None:
        """Delete messages, whoever holds them."""
        queue = self._known.find(qid)
        names = _names(queue, ids)
        if queue is not None and names:
            self._database.step(
                lambda: queue.messages.delete_many({'_id': {'$in': names}})
            )

    def delete_held(
        self, qid: str, ids: Sequence[str], now: int, claim_ids: Sequence[str]
    ) -> None:
        """Delete messages that claims hold, all or none.

        :raises MessageClaimed: one is not in any of the claims
        :raises InvalidDeletion: one of the claims is none
        """
        queue = self._known.find(qid)
        for claim_id in claim_ids:
            if queue is None or not self._claiming.is_live(
                queue, claim_id, now
            ):
                raise deletion_errors.unknown_claim()
        names = _names(queue, ids)
        if queue is None or not names:
            return

        def work(session: ClientSession | None) -> None:
            _delete_held(queue, names, now, claim_ids, session)

        try:
            self._database.atomically(work)
        except _Refused as refused:
            raise refused.reason from None

    def _delete_one(
        self, queue: Queue, name: Binary, now: int, claim_id: str | None
    ) -> bool:
        where: Document = {'_id': name, 'h': {'$lte': now}}
        if claim_id is not None:
            if not is_claim_id(claim_id):
                return False
            where = {
                '_id': name,
                'c': layout.claim_key(queue.key, claim_id),
                'h': {'$gt': now},
            }
        found = self._database.step(lambda: queue.messages.delete_one(where))
        return found.deleted_count > 0

    def _complain(
        self, queue: Queue, found: Document, now: int, claim_id: str | None
    ) -> None:
        """Say why a message was not deleted; silent if it could be now."""
        holder = found['ci'] if found['h'] > now else None
        if holder == claim_id:
            return
        if claim_id is not None and not self._claiming.is_live(
            queue, claim_id, now
        ):
            raise deletion_errors.unknown_claim()
        if holder is not None:
            raise deletion_errors.message_claimed()
        raise deletion_errors.message_free()


def _delete_held(
    queue: Queue,
    names: Sequence[Binary],
    now: int,
    claim_ids: Sequence[str],
    session: ClientSession | None,
) -> None:
    """Delete messages, within a transaction that a refusal rolls back."""
    where: Document = {
        '_id': {'$in': list(names)},
        'e': {'$gt': layout.date(now)},
    }
    with in_time():
        rows = list(
            queue.messages.find(where, {'h': 1, 'ci': 1}, session=session)
        )
    for row in rows:
        if row['h'] <= now or row['ci'] not in claim_ids:
            raise _Refused(deletion_errors.message_claimed())
    with in_time():
        queue.messages.delete_many(
            {'_id': {'$in': list(names)}}, session=session
        )


def _names(queue: Queue | None, ids: Sequence[str]) -> list[Binary]:
    if queue is None:
        return []
    found = (layout.message_id(queue.key, text) for text in ids)
    return list(dict.fromkeys(name for name in found if name is not None))
