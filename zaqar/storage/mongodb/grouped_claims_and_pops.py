# SPDX-License-Identifier: Apache-2.0
"""Claims and pops from queues with groups, and the ends of claims.

What a claim takes is read first: the oldest of the free messages without a
group and of the first messages of free groups. All of it is taken, with its
groups, in one transaction, or nothing.
"""

import random
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import pymongo
from pymongo.client_session import ClientSession
from pymongo.errors import OperationFailure

from zaqar.errors import StoreUnavailable
from zaqar.objects import Claim, Message
from zaqar.storage.abstract_stores import MAX_EXHAUSTED
from zaqar.storage.mongodb import (
    document_layout,
    message_groups,
    update_documents_for_claims_and_settlement,
)
from zaqar.storage.mongodb.claim_and_pop_parameters import ClaimTerms
from zaqar.storage.mongodb.claims_and_pops import (
    FREE_BATCH,
    MAX_TRIES,
    POP_TTL,
    Claimer,
)
from zaqar.storage.mongodb.database_commands_and_transactions import (
    CHUNK,
    MongoDatabase,
    in_time,
)
from zaqar.storage.mongodb.document_layout import Document
from zaqar.storage.mongodb.error_classification import is_duplicate
from zaqar.storage.mongodb.message_reading import FREE, WOKEN, Reader
from zaqar.storage.mongodb.queue_state_cache import CachedQueue

#: Groups that are updated at once after their messages have expired.
TIDY_BATCH = 50


class _OutrunError(Exception):
    """Something was not free any more."""


@dataclass(frozen=True, slots=True)
class _Choice:
    """What a claim is going to take.

    :ivar some: the groups of these messages, as they were read
    """

    rows: Sequence[Document]
    some: Sequence[Document]


class GroupedClaimer:
    """Claims and pops of queues with groups.

    :param claimer: that of queues without
    """

    def __init__(
        self, database: MongoDatabase, reader: Reader, claimer: Claimer
    ) -> None:
        self._database = database
        self._reader = reader
        self._claimer = claimer

    def claim(self, terms: ClaimTerms, limit: int) -> Claim | None:
        for tries in range(MAX_TRIES):
            choice = self._choose(terms, limit, tries)
            if choice is None:
                continue
            if not choice.rows:
                return self._claimer.held(
                    terms.queue, terms.claim_id, terms.now
                )
            try:
                self._take(terms, choice, guarded=True)
            except OperationFailure as error:
                if not is_duplicate(error):
                    raise
            # Also if it was not taken: its answer may have been lost.
            claim = self._claimer.repeated(terms)
            if claim is not None:
                return claim
        raise StoreUnavailable

    def pop(self, queue: CachedQueue, now: int, limit: int) -> list[Message]:
        for tries in range(MAX_TRIES):
            terms = ClaimTerms(
                queue, secrets.token_hex(16), now, POP_TTL, 0, is_pop=True
            )
            choice = self._choose(terms, limit, tries)
            if choice is None:
                continue
            if not choice.rows:
                return []
            self._take(terms, choice, guarded=False)
            rows = self._claimer.held_rows(queue, terms.claim_id, now)
            if rows:
                self._database.atomically(partial(_delete, terms, rows))
                return [
                    document_layout.message({**row, 'h': 0}, now)
                    for row in rows
                ]
        raise StoreUnavailable

    def renew(self, terms: ClaimTerms) -> bool:
        def work(session: ClientSession | None) -> bool:
            queue = terms.queue
            where = update_documents_for_claims_and_settlement.live_messages(
                queue, terms.claim_id, terms.now
            )
            with in_time():
                rows = [*queue.messages.find(where, _GROUP, session=session)]
            with in_time():
                queue.messages.update_many(
                    where,
                    update_documents_for_claims_and_settlement.renew_update(
                        terms
                    ),
                    session=session,
                )
            message_groups.regroup_of(
                queue, rows, terms.now, session, keep_until=terms.raised_end
            )
            return bool(rows)

        is_live = self._database.atomically(work)
        terms.queue.will_wake(terms.end)
        return is_live

    def release(self, queue: CachedQueue, claim_id: str, now: int) -> None:
        def work(session: ClientSession | None) -> None:
            where = {'c': document_layout.claim_key(queue.key, claim_id)}
            with in_time():
                rows = [*queue.messages.find(where, _GROUP, session=session)]
            with in_time():
                queue.messages.update_many(
                    where,
                    update_documents_for_claims_and_settlement.free_update(
                        queue
                    ),
                    session=session,
                )
            message_groups.regroup_of(queue, rows, now, session)

        self._database.atomically(work)

    def _choose(
        self, terms: ClaimTerms, limit: int, tries: int
    ) -> _Choice | None:
        """Choose what to take, None if it must be tried again."""
        queue, now = terms.queue, terms.now
        window = self._claimer.window(limit, tries) or limit
        most = limit + (MAX_EXHAUSTED if terms.max_claims else 0)
        rows = self._reader.rows(
            queue,
            (WOKEN, FREE),
            now=now,
            limit=max(window, most),
            more=message_groups.UNGROUPED,
        )
        some = message_groups.find_free(self._database, queue, now, window)
        has_woken = any(row['a'] for row in some[-1:])
        if has_woken and len(some) >= limit:
            message_groups.free_woken(self._database, queue, now, FREE_BATCH)
            self._claimer.free_expired(queue, now)
        rows, some = _some_of(rows, most), _some_of(some, limit)
        runs = message_groups.runs(self._database, queue, some, now, most)
        if not all(runs.values()):
            self._tidy(queue, now)
            return None
        rows += [row for run in runs.values() for row in run]
        chosen = _oldest(rows, limit, terms.max_claims)
        names = {*message_groups.ids_of(chosen)}
        return _Choice(
            chosen, [row for row in some if bytes(row['_id']) in names]
        )

    def _tidy(self, queue: CachedQueue, now: int) -> None:
        """Update the first groups whose messages have expired."""
        some = message_groups.find_free(
            self._database, queue, now, message_groups.RUNS
        )
        runs = message_groups.runs(self._database, queue, some, now, 1)
        empty = [name for name, run in runs.items() if not run]
        for start in range(0, len(empty), TIDY_BATCH):
            part = empty[start : start + TIDY_BATCH]
            self._database.atomically(
                partial(
                    message_groups.regroup,
                    queue.messages,
                    queue.groups,
                    part,
                    now,
                )
            )

    def _take(
        self, terms: ClaimTerms, choice: _Choice, *, guarded: bool
    ) -> bool:
        """Take what was chosen, or nothing; tell which."""
        terms.queue.will_wake(terms.end)
        try:
            self._database.atomically(
                lambda session: _hold(terms, choice, guarded, session)
            )
        except _OutrunError:
            return False
        return True


#: The field of messages that names the document of their group.
_GROUP = {'og': 1}


def _hold(
    terms: ClaimTerms,
    choice: _Choice,
    guarded: bool,
    session: ClientSession | None,
) -> None:
    """Take messages with their groups, within a transaction."""
    queue = terms.queue
    if not message_groups.occupy(
        queue, choice.some, terms.end, terms.raised_end, session
    ):
        raise _OutrunError
    ids = [row['_id'] for row in choice.rows]
    free: Document = {
        'a': {'$lte': terms.now},
        'e': {'$gt': document_layout.date(terms.now)},
    }
    writes: list[pymongo.UpdateMany | pymongo.UpdateOne] = [
        pymongo.UpdateMany(
            {'_id': {'$in': ids[start : start + CHUNK]}, **free},
            update_documents_for_claims_and_settlement.claim_update(terms, {}),
        )
        for start in range(0, len(ids), CHUNK)
    ]
    if guarded:
        guard = {'g': terms.key}
        writes.append(pymongo.UpdateOne({'_id': ids[0]}, {'$set': guard}))
    matched = 0
    for write in writes:
        with in_time():
            matched += queue.messages.bulk_write(
                [write], session=session
            ).matched_count
    if matched < len(ids) + guarded:
        raise _OutrunError


def _delete(
    terms: ClaimTerms,
    rows: Sequence[Document],
    session: ClientSession | None,
) -> None:
    """Delete what was popped, within a transaction."""
    with in_time():
        terms.queue.messages.delete_many({'c': terms.key}, session=session)
    message_groups.regroup_of(terms.queue, rows, terms.now, session)


def _some_of(rows: list[Document], limit: int) -> list[Document]:
    """Return so many in a row, from anywhere."""
    start = random.randrange(max(0, len(rows) - limit) + 1)
    return rows[start : start + limit]


def _oldest(
    rows: Sequence[Document], limit: int, max_claims: int
) -> list[Document]:
    """Return the first messages, and the exhausted ones before them."""
    ordered = sorted(rows, key=document_layout.seq_of)
    if not max_claims:
        return ordered[:limit]
    chosen: list[Document] = []
    fresh = exhausted = 0
    for row in ordered:
        if fresh == limit:
            break
        if row['n'] < max_claims:
            fresh += 1
        elif exhausted == MAX_EXHAUSTED:
            continue
        else:
            exhausted += 1
        chosen.append(row)
    return chosen
