# SPDX-License-Identifier: Apache-2.0
"""Looking at messages without changing them.

Messages that are free because their claim or delay has ended since they were
last touched are found by a look of their own, which is left out while none can
have ended. It comes first: what somebody frees meanwhile is then seen twice
rather than not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from zaqar.models import Message, MessageSpan, Page, Stats
from zaqar.storage.base import SCAN_LIMIT
from zaqar.storage.message_ids import (
    MAX_SEQ,
    make_marker,
    parse_id,
    parse_marker,
)
from zaqar.storage.mongodb import layout
from zaqar.storage.mongodb.database import Database, Documents
from zaqar.storage.mongodb.incarnations import Incarnations, Queue
from zaqar.storage.mongodb.layout import Document


@dataclass(frozen=True, slots=True)
class Kind:
    """Messages in a state.

    :ivar where: makes the condition of those behind a number
    :ivar order: the field that puts them in the order of the queue
    """

    where: Callable[[Queue, int, int], Document]
    order: str


def _free(queue: Queue, now: int, first: int) -> Document:
    return {'f': layout.places(queue.key, first)}


def _woken(queue: Queue, now: int, first: int) -> Document:
    return {
        'w': layout.until(queue.key, now),
        'k': layout.places(queue.key, first),
    }


def _delayed(queue: Queue, now: int, first: int) -> Document:
    return {'d': layout.places(queue.key, first), 'z': {'$gt': now}}


def _any(queue: Queue, now: int, first: int) -> Document:
    return {'k': layout.places(queue.key, first)}


def _not_delayed(queue: Queue, now: int, first: int) -> Document:
    return {'k': layout.places(queue.key, first), 'z': {'$lte': now}}


FREE = Kind(_free, 'f')
WOKEN = Kind(_woken, 'k')
DELAYED = Kind(_delayed, 'd')
ANY = Kind(_any, 'k')
NOT_DELAYED = Kind(_not_delayed, 'k')


class Reading:
    """Reads of the queues of a store."""

    def __init__(self, database: Database, known: Incarnations) -> None:
        self._database = database
        self._known = known

    def rows(
        self,
        queue: Queue,
        kinds: Iterable[Kind],
        *,
        now: int,
        limit: int,
        first: int = 0,
        more: Document | None = None,
        last: int | None = None,
        committed: bool = False,
    ) -> list[Document]:
        """Return the first messages of some kinds, in queue order.

        :param first: number of the first one that counts
        :param last: number of the last one that counts
        :param more: a further condition
        """
        found: dict[bytes, Document] = {}
        source = queue.committed if committed else queue.messages
        for kind in kinds:
            if kind is WOKEN and not self._has_woken(queue, now):
                continue
            where = kind.where(queue, now, first)
            if last is not None:
                where[kind.order]['$lt'] = layout.place(queue.key, last + 1)
            where['e'] = {'$gt': layout.date(now)}
            rows = self._find(source, where | (more or {}), kind.order, limit)
            found |= {bytes(row['_id']): row for row in rows}
        return sorted(found.values(), key=layout.seq_of)[:limit]

    def page(
        self,
        qid: str,
        *,
        now: int,
        limit: int,
        marker: str | None,
        exclude_client: str | None,
        kinds: Sequence[Kind],
    ) -> Page:
        """Return a page; see the contract."""
        queue = self._known.find(qid)
        if queue is None:
            return Page([])
        first = self._first(queue, marker)
        if first is None or first > MAX_SEQ:
            return Page([])
        rows = self.rows(
            queue, kinds, now=now, limit=limit, first=first, committed=True
        )
        page = [layout.message(row, now) for row in rows]
        if any(item.client == exclude_client for item in page):
            return self._filtered(
                queue, str(exclude_client), now, limit, first, kinds
            )
        return Page(page, page[-1].marker if len(page) == limit else None)

    def get(self, qid: str, ids: Sequence[str], now: int) -> list[Message]:
        """Return the live messages among ``ids``, in queue order."""
        queue = self._known.find(qid)
        if queue is None:
            return []
        rows = self.by_ids(queue, ids, now)
        return [layout.message(row, now) for row in rows]

    def by_ids(
        self, queue: Queue, ids: Sequence[str], now: int
    ) -> list[Document]:
        """Return the documents of the live messages among ``ids``."""
        names = {layout.message_id(queue.key, text) for text in ids} - {None}
        if not names:
            return []
        where: Document = {
            '_id': {'$in': list(names)},
            'e': {'$gt': layout.date(now)},
        }
        rows = self._database.step(lambda: list(queue.committed.find(where)))
        return sorted(rows, key=layout.seq_of)

    def stats(self, qid: str, now: int) -> Stats:
        """Count live messages and name both ends."""
        queue = self._known.find(qid)
        if queue is None:
            return Stats()
        oldest, newest = (
            self._end(queue, now, direction) for direction in (1, -1)
        )
        if oldest is None or newest is None:
            return Stats()
        everyone = {'k': layout.places(queue.key)}
        dead = {'e': {'$lte': layout.date(now)}, **everyone}
        total = self._count(queue, everyone) - self._count(queue, dead)
        claimed = self._count(queue, {'c': layout.claims(queue.key)})
        claimed -= self._count(queue, {**dead, 'h': {'$gt': now}})
        if claimed and self._has_woken(queue, now):
            lapsed = {'w': layout.until(queue.key, now), 'h': {'$gt': 0}}
            claimed -= self._count(queue, lapsed)
        claimed = min(max(claimed, 0), total)
        return Stats(total - claimed, claimed, oldest, newest)

    def _has_woken(self, queue: Queue, now: int) -> bool:
        if not queue.wakes_by(now):
            return False
        seen = queue.wakes
        if seen is None or not seen.is_fresh(now):
            self._known.look_for_wakes(queue, now)
        return queue.wakes_by(now)

    def _find(
        self, source: Documents, where: Document, order: str, limit: int
    ) -> list[Document]:
        return self._database.step(
            lambda: list(source.find(where).sort(order, 1).limit(limit))
        )

    def _filtered(
        self,
        queue: Queue,
        client: str,
        now: int,
        limit: int,
        first: int,
        kinds: Sequence[Kind],
    ) -> Page:
        """Return a page without the messages of one client.

        Tried only where the plain page holds some, since it scans far.
        """
        ends = [
            end
            for kind in kinds
            if (end := self._scanned(queue, kind, now, first)) is not None
        ]
        end = min(ends, default=None)
        rows = self.rows(
            queue,
            kinds,
            now=now,
            limit=limit,
            first=first,
            last=end,
            more={'u': {'$ne': layout.encode(client)}},
            committed=True,
        )
        found = [layout.message(row, now) for row in rows]
        if len(found) == limit:
            return Page(found, found[-1].marker)
        return Page(found, None if end is None else make_marker(end))

    def _scanned(
        self, queue: Queue, kind: Kind, now: int, first: int
    ) -> int | None:
        """Return up to where a page may look, None for the end."""
        where = kind.where(queue, now, first)
        where['e'] = {'$gt': layout.date(now)}
        rows = self._database.step(
            lambda: list(
                queue.committed.find(where, {'k': 1})
                .sort(kind.order, 1)
                .skip(SCAN_LIMIT - 1)
                .limit(1)
            )
        )
        return layout.seq_of(rows[0]) if rows else None

    def _first(self, queue: Queue, marker: str | None) -> int | None:
        """Return the number with which a page begins, None for nowhere."""
        if marker is None:
            return 0
        seq = parse_marker(marker)
        if seq is not None:
            return seq + 1
        halves = parse_id(marker)
        if halves is None:
            return None
        # A dead letter's id says where it was in another queue.
        name = layout.message_id(queue.key, marker)
        found = self._database.step(
            lambda: queue.committed.find_one({'_id': name}, {'k': 1})
        )
        return (layout.seq_of(found) if found else halves[0]) + 1

    def _end(
        self, queue: Queue, now: int, direction: int
    ) -> MessageSpan | None:
        where = ANY.where(queue, now, 0) | {'e': {'$gt': layout.date(now)}}
        row = self._database.step(
            lambda: queue.committed.find_one(
                where, {'m': 1}, sort=[('k', direction)]
            )
        )
        if row is None:
            return None
        return MessageSpan(bytes(row['_id'])[16:].hex(), int(row['m']))

    def _count(self, queue: Queue, where: Document) -> int:
        return self._database.step(
            lambda: queue.committed.count_documents(where)
        )
