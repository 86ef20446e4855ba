# SPDX-License-Identifier: Apache-2.0
"""Taking messages: claims, and pops, which are claims without a return.

Messages are looked up first and taken by one update of each, which takes it
only if it is still free. Who lost some to a rival looks again: from the front
where the order counts most, else from somewhere in a window, so that rivals
part.

One message of a claim bears its *guard*, which is unique, and the ids of all
that the claim set out for. Whoever repeats the call meets the guard, finishes
what the first one may not have come to, and returns what the claim holds.
"""

from __future__ import annotations

import random
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace

from pymongo.errors import OperationFailure

from zaqar.errors import StoreUnavailable
from zaqar.models import Claim, Message
from zaqar.storage.base import MAX_EXHAUSTED
from zaqar.storage.message_ids import is_claim_id
from zaqar.storage.mongodb import layout
from zaqar.storage.mongodb.database import (
    CHUNK,
    Database,
    is_duplicate,
)
from zaqar.storage.mongodb.incarnations import Incarnations, Queue
from zaqar.storage.mongodb.layout import Document
from zaqar.storage.mongodb.reading import FREE, WOKEN, Reading

#: Looks for what rivals have left, before a claim makes do with less.
REFILLS = 3

#: Looks for anything that rivals have left; each took some meanwhile.
TRIES = 50

#: Seconds after which popped messages come back that nobody deleted.
POP_HOLD = 30

#: Messages freed at once when many claims have lapsed.
ADVANCE = 500


@dataclass(frozen=True, slots=True)
class Terms:
    """What a claim is made with.

    :ivar most: how often a message is handed out; 0 for any number
    :ivar prolongs: whether messages outlive the claim
    """

    queue: Queue
    claim_id: str
    now: int
    ttl: int
    grace: int
    most: int = 0
    prolongs: bool = True

    @property
    def end(self) -> int:
        return self.now + self.ttl * 1000

    @property
    def raised_end(self) -> int:
        return self.end + self.grace * 1000

    @property
    def key(self) -> bytes:
        """What the messages of the claim are found by."""
        return layout.claim_key(self.queue.key, self.claim_id)


class Claiming:
    """Claims and pops of the queues of a store.

    :param strictly: look again from the front after a rival was faster
    """

    def __init__(
        self,
        database: Database,
        known: Incarnations,
        reading: Reading,
        *,
        strictly: bool,
    ) -> None:
        self._database = database
        self._known = known
        self._reading = reading
        self._strictly = strictly

    def claim(self, terms: Terms, limit: int) -> Claim | None:
        """Take messages; see the contract."""
        for tries in range(TRIES):
            rows = self._candidates(terms, limit, self._window(limit, tries))
            if not rows:
                return self.held(terms.queue, terms.claim_id, terms.now)
            try:
                taken = self._take(terms, rows, guarded=True)
            except OperationFailure as error:
                if not is_duplicate(error):
                    raise
                found = self._repeated(terms)
                if found is not None:
                    return found
                continue
            if taken == len(rows) and not terms.most:
                return _made(terms, rows)
            found = (
                self._completed(terms, limit)
                if taken
                else self._repeated(terms)
            )
            if found is not None:
                return found
        raise StoreUnavailable

    def held(self, queue: Queue, claim_id: str, now: int) -> Claim | None:
        """Return a live claim that still holds messages, else None."""
        rows = self._held(queue, claim_id, now)
        return _found(claim_id, rows, now) if rows else None

    def is_live(self, queue: Queue, claim_id: str, now: int) -> bool:
        """Tell whether there is such a live claim."""
        if not is_claim_id(claim_id):
            return False
        where = _live(queue, claim_id, now)
        found = self._database.step(
            lambda: queue.messages.find_one(where, {'_id': 1})
        )
        return found is not None

    def renew(self, terms: Terms) -> bool:
        """Let a live claim and its messages live on."""
        queue = terms.queue
        change = {
            'a': terms.end,
            'h': terms.end,
            'ct': terms.ttl,
            'w': layout.place(queue.key, terms.end),
            **_lives(terms),
        }
        where = _live(queue, terms.claim_id, terms.now)
        found = self._database.step(
            lambda: queue.messages.update_many(where, [{'$set': change}])
        )
        queue.will_wake(terms.end)
        return found.matched_count > 0

    def release(self, queue: Queue, claim_id: str) -> None:
        """Free the messages of a claim."""
        where = {'c': layout.claim_key(queue.key, claim_id)}
        self._database.step(
            lambda: queue.messages.update_many(where, _freed())
        )

    def pop(self, qid: str, now: int, limit: int) -> list[Message]:
        """Take and delete messages."""
        queue = self._known.find(qid)
        if queue is None:
            return []
        for tries in range(TRIES):
            terms = Terms(
                queue, secrets.token_hex(16), now, POP_HOLD, 0, prolongs=False
            )
            rows = self._candidates(terms, limit, self._window(limit, tries))
            if not rows:
                return []
            if self._take(terms, rows, guarded=False) < len(rows):
                rows = self._held(queue, terms.claim_id, now)
            if rows:
                self._remove(terms)
                return [_popped(row, now) for row in rows]
        raise StoreUnavailable

    def _window(self, limit: int, tries: int) -> int:
        """Return how far a look may go; 0 for the first ones alone."""
        return 0 if self._strictly else 4 * limit * min(tries, 4)

    def _candidates(
        self, terms: Terms, limit: int, window: int
    ) -> list[Document]:
        """Return messages to be taken, in queue order.

        :param window: how many of the first ones to choose from; 0 for none
            but the first
        """
        queue, now = terms.queue, terms.now
        more: Document = {'n': {'$lt': terms.most}} if terms.most else {}
        rows = self._reading.rows(
            queue, (WOKEN, FREE), now=now, limit=window or limit, more=more
        )
        if len(rows) >= limit and rows[-1]['a']:
            self._advance(queue, now)
        if len(rows) > limit:
            start = random.randrange(len(rows) - limit + 1)
            rows = rows[start : start + limit]
        if not terms.most:
            return rows
        last = layout.seq_of(rows[-1]) if len(rows) == limit else None
        spent = self._reading.rows(
            queue,
            (WOKEN, FREE),
            now=now,
            limit=MAX_EXHAUSTED,
            more={'n': {'$gte': terms.most}},
            last=last,
        )
        return sorted([*rows, *spent], key=layout.seq_of)

    def _advance(self, queue: Queue, now: int) -> None:
        """Free many messages whose claims and delays have ended."""
        where: Document = {'w': layout.until(queue.key, now)}
        rows = self._database.step(
            lambda: list(
                queue.messages.find(where, {'_id': 1})
                .sort('w', 1)
                .limit(ADVANCE)
            )
        )
        names = [row['_id'] for row in rows]
        self._database.step(
            lambda: queue.messages.update_many(
                {'_id': {'$in': names}, **where}, _freed()
            )
        )

    def _take(
        self, terms: Terms, rows: Sequence[Document], *, guarded: bool
    ) -> int:
        """Take messages that are still free; return how many.

        :param guarded: take one with the guard first, or none at all
        """
        names = [row['_id'] for row in rows]
        messages, done = terms.queue.messages, 0
        free: Document = {
            'a': {'$lte': terms.now},
            'e': {'$gt': layout.date(terms.now)},
        }
        terms.queue.will_wake(terms.end)
        if guarded:
            guard = {'g': terms.key, 'pl': {'$literal': names[:]}}
            # Any will do, and rivals are not to want the same.
            one = names.pop(random.randrange(len(names)))
            done = self._database.step(
                lambda: messages.update_one(
                    {'_id': one, **free}, _taken(terms, guard)
                )
            ).matched_count
            if not done:
                return 0
        for start in range(0, len(names), CHUNK):
            where = {'_id': {'$in': names[start : start + CHUNK]}, **free}
            done += self._database.step(
                lambda where=where: messages.update_many(  # type: ignore[misc]
                    where, _taken(terms, {})
                )
            ).matched_count
        return done

    def _completed(self, terms: Terms, limit: int) -> Claim | None:
        """Return what a claim holds that met rivals, filled up if it can."""
        rows = self._held(terms.queue, terms.claim_id, terms.now)
        for _ in range(REFILLS):
            missing = limit - sum(not row['x'] for row in rows)
            if not rows or missing <= 0:
                break
            more = self._candidates(terms, missing, 0)
            more = [row for row in more if row['n'] < (terms.most or 2**63)]
            if not more:
                break
            self._take(terms, more, guarded=False)
            rows = self._held(terms.queue, terms.claim_id, terms.now)
        return _found(terms.claim_id, rows, terms.now) if rows else None

    def _repeated(self, terms: Terms) -> Claim | None:
        """Return the claim whose guard was met; None if it is a dead one's."""
        queue, now = terms.queue, terms.now
        rows = self._held(queue, terms.claim_id, now)
        if not rows:
            self._database.step(
                lambda: queue.messages.update_one(
                    {'g': terms.key, 'h': {'$lte': now}},
                    {'$unset': {'g': '', 'pl': ''}},
                )
            )
            return None
        planned = {bytes(name) for row in rows for name in row.get('pl', ())}
        left = planned - {bytes(row['_id']) for row in rows}
        if left:
            self._take(terms, [{'_id': name} for name in left], guarded=False)
            rows = self._held(queue, terms.claim_id, now)
        return _found(terms.claim_id, rows, now) if rows else None

    def _held(self, queue: Queue, claim_id: str, now: int) -> list[Document]:
        where = _live(queue, claim_id, now)
        return self._database.step(
            lambda: list(queue.messages.find(where).sort('k', 1))
        )

    def _remove(self, terms: Terms) -> None:
        self._database.step(
            lambda: terms.queue.messages.delete_many({'c': terms.key})
        )


def _live(queue: Queue, claim_id: str, now: int) -> Document:
    """Return the condition that a live claim holds a live message."""
    return {
        'c': layout.claim_key(queue.key, claim_id),
        'h': {'$gt': now},
        'e': {'$gt': layout.date(now)},
    }


def _lives(terms: Terms) -> Document:
    """Return how a claim changes lifetimes, as parts of a ``$set``."""
    dies = {'$lt': ['$e', layout.date(terms.end)]}
    raised = layout.date(terms.raised_end)
    return {
        't': {'$cond': [dies, terms.ttl + terms.grace, '$t']},
        'e': {'$cond': [dies, raised, '$e']},
    }


def _taken(terms: Terms, guard: Document) -> list[Document]:
    """Return the update that takes a message."""
    change: Document = {
        'a': terms.end,
        'h': terms.end,
        'w': layout.place(terms.queue.key, terms.end),
        'c': terms.key,
        'ci': {'$literal': terms.claim_id},
        'ct': terms.ttl,
        'x': False,
        **dict.fromkeys(('f', 'd', 'g', 'pl'), '$$REMOVE'),
        **guard,
    }
    if terms.prolongs:
        change |= _lives(terms)
    if terms.most:
        spent = {'$gte': ['$n', terms.most]}
        change |= {
            'x': spent,
            'n': {'$cond': [spent, '$n', {'$add': ['$n', 1]}]},
        }
    return [{'$set': change}]


def _freed() -> list[Document]:
    """Return the update that frees a message."""
    gone = dict.fromkeys(layout.CLAIM_FIELDS, '$$REMOVE')
    return [{'$set': {'a': 0, 'h': 0, 'f': '$k', **gone}}]


def _made(terms: Terms, rows: Sequence[Document]) -> Claim:
    """Return the claim that took all of ``rows``."""
    return Claim(
        terms.claim_id,
        terms.ttl,
        terms.end,
        [_as_taken(row, terms) for row in rows],
    )


def _as_taken(row: Document, terms: Terms) -> Message:
    found = layout.message({**row, 'h': 0}, terms.now)
    dies = found.expires_at < terms.end
    return replace(
        found,
        claim_id=terms.claim_id,
        ttl=terms.ttl + terms.grace if dies else found.ttl,
        expires_at=terms.raised_end if dies else found.expires_at,
    )


def _popped(row: Document, now: int) -> Message:
    return layout.message({**row, 'h': 0}, now)


def _found(claim_id: str, rows: Sequence[Document], now: int) -> Claim:
    return Claim(
        claim_id,
        rows[0]['ct'],
        rows[0]['h'],
        [layout.message(row, now) for row in rows if not row['x']],
        [layout.message(row, now) for row in rows if row['x']],
    )
