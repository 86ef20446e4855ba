# SPDX-License-Identifier: Apache-2.0
"""Claims, and pops, which are claims that end with a deletion.

Messages are queried first and claimed by an update of each that still is free.
A claim that lost some to a rival queries again: from the front where order is
strict, else from a random position in a window, so that rivals diverge.

One message of a claim has its *guard*, which is unique, and the ids of all
messages that the claim selected. A repeated call meets the guard, completes
what the first one may have left, and returns what the claim holds.
"""

import random
import secrets
from collections.abc import Sequence

from msgspec.structs import replace
from pymongo.errors import OperationFailure

from zaqar.errors import StoreUnavailable
from zaqar.objects import Claim, Message
from zaqar.storage.abstract_stores import MAX_EXHAUSTED
from zaqar.storage.message_ids import is_claim_id
from zaqar.storage.mongodb import (
    document_layout,
    update_documents_for_claims_and_settlement,
)
from zaqar.storage.mongodb.claim_and_pop_parameters import ClaimTerms
from zaqar.storage.mongodb.database_commands_and_transactions import (
    CHUNK,
    MongoDatabase,
)
from zaqar.storage.mongodb.document_layout import Document
from zaqar.storage.mongodb.error_classification import is_duplicate
from zaqar.storage.mongodb.message_reading import FREE, WOKEN, Reader
from zaqar.storage.mongodb.queue_state_cache import CachedQueue

#: Queries for what rivals have left, before a claim returns fewer messages.
MAX_REFILLS = 3

#: Queries for anything that rivals have left; each took some meanwhile.
MAX_TRIES = 50

#: Seconds after which popped messages that were not deleted are free again.
POP_TTL = 30

#: Messages freed at once when many claims have expired.
FREE_BATCH = 500


class Claimer:
    """Claims and pops of the queues of a store.

    :param strictly: query again from the front after a rival was faster
    """

    def __init__(
        self,
        database: MongoDatabase,
        reader: Reader,
        *,
        strictly: bool,
    ) -> None:
        self._database = database
        self._reader = reader
        self._strictly = strictly

    def claim(self, terms: ClaimTerms, limit: int) -> Claim | None:
        for tries in range(MAX_TRIES):
            rows = self._candidates(terms, limit, self.window(limit, tries))
            if not rows:
                return self.held(terms.queue, terms.claim_id, terms.now)
            try:
                taken = self._take(terms, rows, guarded=True)
            except OperationFailure as error:
                if not is_duplicate(error):
                    raise
                claim = self.repeated(terms)
                if claim is not None:
                    return claim
                continue
            if taken == len(rows) and not terms.max_claims:
                return _new_claim(terms, rows)
            claim = (
                self._completed(terms, limit)
                if taken
                else self.repeated(terms)
            )
            if claim is not None:
                return claim
        raise StoreUnavailable

    def held(
        self, queue: CachedQueue, claim_id: str, now: int
    ) -> Claim | None:
        """Return a live claim that still holds messages, else None."""
        rows = self.held_rows(queue, claim_id, now)
        return _stored_claim(claim_id, rows, now)

    def is_live(self, queue: CachedQueue, claim_id: str, now: int) -> bool:
        if not is_claim_id(claim_id):
            return False
        where = update_documents_for_claims_and_settlement.live_messages(
            queue, claim_id, now
        )
        row = self._database.step(queue.messages.find_one, where, {'_id': 1})
        return row is not None

    def renew(self, terms: ClaimTerms) -> bool:
        queue = terms.queue
        where = update_documents_for_claims_and_settlement.live_messages(
            queue, terms.claim_id, terms.now
        )
        result = self._database.step(
            queue.messages.update_many,
            where,
            update_documents_for_claims_and_settlement.renew_update(terms),
        )
        queue.will_wake(terms.end)
        return result.matched_count > 0

    def release(self, queue: CachedQueue, claim_id: str) -> None:
        where = {'c': document_layout.claim_key(queue.key, claim_id)}
        self._database.step(
            queue.messages.update_many,
            where,
            update_documents_for_claims_and_settlement.free_update(queue),
        )

    def pop(self, queue: CachedQueue, now: int, limit: int) -> list[Message]:
        for tries in range(MAX_TRIES):
            terms = ClaimTerms(
                queue, secrets.token_hex(16), now, POP_TTL, 0, is_pop=True
            )
            rows = self._candidates(terms, limit, self.window(limit, tries))
            if not rows:
                return []
            if self._take(terms, rows, guarded=False) < len(rows):
                rows = self.held_rows(queue, terms.claim_id, now)
            if rows:
                self._database.step(
                    queue.messages.delete_many, {'c': terms.key}
                )
                return [
                    document_layout.message({**row, 'h': 0}, now)
                    for row in rows
                ]
        raise StoreUnavailable

    def window(self, limit: int, tries: int) -> int:
        """Return how many rows to choose from; 0 for the first ones."""
        return 0 if self._strictly else 4 * limit * min(tries, 4)

    def _candidates(
        self, terms: ClaimTerms, limit: int, window: int
    ) -> list[Document]:
        """Return messages to claim, in queue order.

        :param window: choose from so many of the first ones; 0 for the first
        """
        queue, now = terms.queue, terms.now
        if terms.only is not None:
            named = self._reader.by_ids(queue, terms.only, now)
            free = [row for row in named if row['a'] <= now]
            return [row for row in free if 'o' not in row][:limit]
        more: Document = (
            {'n': {'$lt': terms.max_claims}} if terms.max_claims else {}
        )
        rows = self._reader.rows(
            queue, (WOKEN, FREE), now=now, limit=window or limit, more=more
        )
        if len(rows) >= limit and rows[-1]['a']:
            self.free_expired(queue, now)
        if len(rows) > limit:
            start = random.randrange(len(rows) - limit + 1)
            rows = rows[start : start + limit]
        if not terms.max_claims:
            return rows
        last = document_layout.seq_of(rows[-1]) if len(rows) == limit else None
        exhausted = self._reader.rows(
            queue,
            (WOKEN, FREE),
            now=now,
            limit=MAX_EXHAUSTED,
            more={'n': {'$gte': terms.max_claims}},
            last=last,
        )
        return sorted([*rows, *exhausted], key=document_layout.seq_of)

    def free_expired(self, queue: CachedQueue, now: int) -> None:
        """Free many messages whose claims and delays have ended."""
        where: Document = {'w': document_layout.until(queue.key, now)}
        rows = self._database.find(
            queue.messages, where, {'_id': 1}, sort={'w': 1}, limit=FREE_BATCH
        )
        ids = [row['_id'] for row in rows]
        self._database.step(
            queue.messages.update_many,
            {'_id': {'$in': ids}, **where},
            update_documents_for_claims_and_settlement.free_update(queue),
        )

    def _take(
        self, terms: ClaimTerms, rows: Sequence[Document], *, guarded: bool
    ) -> int:
        """Claim messages that are still free; return how many.

        :param guarded: claim one with the guard first, or none at all
        """
        ids = [row['_id'] for row in rows]
        messages, count = terms.queue.messages, 0
        free: Document = {
            'a': {'$lte': terms.now},
            'e': {'$gt': document_layout.date(terms.now)},
        }
        terms.queue.will_wake(terms.end)
        if guarded:
            guard = {'g': terms.key, 'pl': {'$literal': ids[:]}}
            # Any will do; a random one keeps rivals apart.
            one = ids.pop(random.randrange(len(ids)))
            count = self._database.step(
                messages.update_one,
                {'_id': one, **free},
                update_documents_for_claims_and_settlement.claim_update(
                    terms, guard
                ),
            ).matched_count
            if not count:
                return 0
        for start in range(0, len(ids), CHUNK):
            where = {'_id': {'$in': ids[start : start + CHUNK]}, **free}
            count += self._database.step(
                messages.update_many,
                where,
                update_documents_for_claims_and_settlement.claim_update(
                    terms, {}
                ),
            ).matched_count
        return count

    def _completed(self, terms: ClaimTerms, limit: int) -> Claim | None:
        """Return a claim that lost messages to rivals, refilled if it can."""
        rows = self.held_rows(terms.queue, terms.claim_id, terms.now)
        for _ in range(MAX_REFILLS):
            missing = limit - sum(not row['x'] for row in rows)
            if not rows or missing <= 0:
                break
            more = self._candidates(terms, missing, 0)
            more = [
                row for row in more if row['n'] < (terms.max_claims or 2**63)
            ]
            if not more:
                break
            self._take(terms, more, guarded=False)
            rows = self.held_rows(terms.queue, terms.claim_id, terms.now)
        return _stored_claim(terms.claim_id, rows, terms.now)

    def repeated(self, terms: ClaimTerms) -> Claim | None:
        """Return the live claim of a guard; remove the guard of a dead one."""
        queue, now = terms.queue, terms.now
        rows = self.held_rows(queue, terms.claim_id, now)
        if not rows:
            self._database.step(
                queue.messages.update_one,
                {'g': terms.key, 'h': {'$lte': now}},
                {'$unset': {'g': '', 'pl': ''}},
            )
            return None
        selected = {bytes(id_) for row in rows for id_ in row.get('pl', ())}
        missing = selected - {bytes(row['_id']) for row in rows}
        if missing:
            self._take(terms, [{'_id': id_} for id_ in missing], guarded=False)
            rows = self.held_rows(queue, terms.claim_id, now)
        return _stored_claim(terms.claim_id, rows, now)

    def held_rows(
        self, queue: CachedQueue, claim_id: str, now: int
    ) -> list[Document]:
        where = update_documents_for_claims_and_settlement.live_messages(
            queue, claim_id, now
        )
        # The server refuses to sort more than 100 MB without an index.
        rows = self._database.find(queue.messages, where)
        return sorted(rows, key=document_layout.seq_of)


def _new_claim(terms: ClaimTerms, rows: Sequence[Document]) -> Claim:
    """Return the claim that got all of ``rows``."""
    return Claim(
        terms.claim_id,
        terms.ttl,
        terms.end,
        [_claimed_message(row, terms) for row in rows],
    )


def _claimed_message(row: Document, terms: ClaimTerms) -> Message:
    message = document_layout.message({**row, 'h': 0}, terms.now)
    expires = message.expires_at < terms.end
    return replace(
        message,
        claim_id=terms.claim_id,
        claim_count=message.claim_count + 1,
        claim_ends_at=terms.end,
        ttl=terms.ttl + terms.grace if expires else message.ttl,
        expires_at=terms.raised_end if expires else message.expires_at,
    )


def _stored_claim(
    claim_id: str, rows: Sequence[Document], now: int
) -> Claim | None:
    """Return the claim that holds ``rows``, None without any."""
    if not rows:
        return None
    return Claim(
        claim_id,
        rows[0]['ct'],
        max(row['h'] for row in rows),
        [document_layout.message(row, now) for row in rows if not row['x']],
        [document_layout.message(row, now) for row in rows if row['x']],
    )
