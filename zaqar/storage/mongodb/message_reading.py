# SPDX-License-Identifier: Apache-2.0
"""Reading of messages: pages, single ones, and what holds one up.

Messages that are free because their claim or delay has ended since they were
last written are found by a query of their own, which is skipped while none can
have ended. It comes first: what is freed meanwhile is then seen twice rather
than not at all.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from zaqar.objects import Message, Page, Stats
from zaqar.storage.abstract_stores import SCAN_LIMIT
from zaqar.storage.message_ids import (
    MAX_SEQ,
    make_marker,
    parse_id,
    parse_marker,
)
from zaqar.storage.mongodb import (
    document_layout,
    message_groups,
    queue_statistics,
)
from zaqar.storage.mongodb.database_commands_and_transactions import (
    Documents,
    MongoDatabase,
)
from zaqar.storage.mongodb.document_layout import Document
from zaqar.storage.mongodb.queue_state_cache import CachedQueue, QueueCache
from zaqar.storage.store_inspection_interface import Inspected


@dataclass(frozen=True, slots=True)
class StateFilter:
    """A condition for messages in some state.

    :ivar where: returns the condition for those from a number on
    :ivar order: the field that sorts them in queue order
    """

    where: Callable[[CachedQueue, int, int], Document]
    order: str


def _free(queue: CachedQueue, now: int, first: int) -> Document:
    return {'f': document_layout.places(queue.key, first)}


def _in_group(queue: CachedQueue, now: int, first: int) -> Document:
    return {'q': document_layout.places(queue.key, first)}


def _woken(queue: CachedQueue, now: int, first: int) -> Document:
    return {
        'w': document_layout.until(queue.key, now),
        'k': document_layout.places(queue.key, first),
    }


def _delayed(queue: CachedQueue, now: int, first: int) -> Document:
    return {'d': document_layout.places(queue.key, first), 'z': {'$gt': now}}


def _any(queue: CachedQueue, now: int, first: int) -> Document:
    return {'k': document_layout.places(queue.key, first)}


def _not_delayed(queue: CachedQueue, now: int, first: int) -> Document:
    return {'k': document_layout.places(queue.key, first), 'z': {'$lte': now}}


FREE = StateFilter(_free, 'f')
WOKEN = StateFilter(_woken, 'k')
DELAYED = StateFilter(_delayed, 'd')
ANY = StateFilter(_any, 'k')
IN_GROUP = StateFilter(_in_group, 'q')
NOT_DELAYED = StateFilter(_not_delayed, 'k')


def _filters(
    grouped: bool, include_claimed: bool, include_delayed: bool
) -> Sequence[StateFilter]:
    """Return filters that select, together, the messages to be shown."""
    if include_claimed:
        return (ANY,) if include_delayed else (NOT_DELAYED,)
    free = (FREE, IN_GROUP) if grouped else (FREE,)
    if include_delayed:
        return WOKEN, DELAYED, *free
    return WOKEN, *free


class Reader:
    """Reads of the queues of a store."""

    def __init__(self, database: MongoDatabase, cache: QueueCache) -> None:
        self._database = database
        self._cache = cache

    def rows(
        self,
        queue: CachedQueue,
        filters: Iterable[StateFilter],
        *,
        now: int,
        limit: int,
        first: int = 0,
        more: Document | None = None,
        last: int | None = None,
        committed: bool = False,
    ) -> list[Document]:
        """Return the first messages of some filters, in queue order.

        :param first: the lowest number
        :param last: the highest number
        :param more: a further condition
        """
        by_id: dict[bytes, Document] = {}
        source = queue.committed if committed else queue.messages
        for state in filters:
            if state is WOKEN and not self._has_woken(queue, now):
                continue
            where = state.where(queue, now, first)
            if last is not None:
                where[state.order]['$lt'] = document_layout.place(
                    queue.key, last + 1
                )
            where['e'] = {'$gt': document_layout.date(now)}
            rows = self._find(source, where | (more or {}), state.order, limit)
            by_id |= {bytes(row['_id']): row for row in rows}
        return sorted(by_id.values(), key=document_layout.seq_of)[:limit]

    def page(
        self,
        qid: str,
        *,
        now: int,
        limit: int,
        marker: str | None = None,
        exclude_client: str | None = None,
        include_claimed: bool = False,
        include_delayed: bool = False,
    ) -> Page:
        queue = self._cache.get(qid)
        if queue is None:
            return Page([])
        first = self._first(queue, marker)
        if first is None or first > MAX_SEQ:
            return Page([])
        filters = _filters(
            bool(queue.grouped), include_claimed, include_delayed
        )
        rows = self.rows(
            queue, filters, now=now, limit=limit, first=first, committed=True
        )
        page = [document_layout.message(row, now) for row in rows]
        if any(item.client == exclude_client for item in page):
            return self._filtered(
                queue, str(exclude_client), now, limit, first, filters
            )
        return Page(page, page[-1].marker if len(page) == limit else None)

    def get(self, qid: str, ids: Sequence[str], now: int) -> list[Message]:
        queue = self._cache.get(qid)
        if queue is None:
            return []
        rows = self.by_ids(queue, ids, now)
        return [document_layout.message(row, now) for row in rows]

    def by_ids(
        self, queue: CachedQueue, ids: Sequence[str], now: int
    ) -> list[Document]:
        """Return the documents of the live messages among ``ids``."""
        names = {
            document_layout.message_id(queue.key, text) for text in ids
        } - {None}
        if not names:
            return []
        where: Document = {
            '_id': {'$in': list(names)},
            'e': {'$gt': document_layout.date(now)},
        }
        rows = self._database.find(queue.committed, where)
        return sorted(rows, key=document_layout.seq_of)

    def inspect(self, qid: str, message_id: str, now: int) -> Inspected | None:
        for message in self.get(qid, [message_id], now):
            queue = self._cache.get(qid)
            if queue is None or message.group is None or message.claim_id:
                return Inspected(message)
            return Inspected(
                message,
                message_groups.busy_until(
                    self._database, queue, message.group, now
                ),
            )
        return None

    def stats(self, qid: str, now: int) -> Stats:
        # Not from the cache: its number tells how many have been posted.
        queue = self._cache.refresh(qid)
        if queue is None:
            return Stats()
        return queue_statistics.count(
            self._database, queue, now, has_woken=self._has_woken(queue, now)
        )

    def stats_of(self, qids: Sequence[str], now: int) -> list[Stats]:
        counts: dict[str, Stats] = {}
        for queues in self._cache.refresh_all(qids):
            counts |= queue_statistics.count_many(self._database, queues, now)
        return [counts.get(qid, Stats()) for qid in qids]

    def _has_woken(self, queue: CachedQueue, now: int) -> bool:
        if not queue.wakes_by(now):
            return False
        wake = queue.next_wake
        if wake is None or not wake.is_fresh(now):
            self._cache.refresh_next_wake(queue, now)
        return queue.wakes_by(now)

    def _find(
        self, source: Documents, where: Document, order: str, limit: int
    ) -> list[Document]:
        # Those that are woken are sorted without an index, which servers
        # refuse above 100 MB unless they may use their disks.
        return self._database.find(
            source, where, sort={order: 1}, limit=limit, allow_disk_use=True
        )

    def _filtered(
        self,
        queue: CachedQueue,
        client: str,
        now: int,
        limit: int,
        first: int,
        filters: Sequence[StateFilter],
    ) -> Page:
        """Return a page without the messages of one client.

        Only for a queue whose plain page holds some: it scans far.
        """
        ends = [
            end
            for state in filters
            if (end := self._scan_end(queue, state, now, first)) is not None
        ]
        end = min(ends, default=None)
        rows = self.rows(
            queue,
            filters,
            now=now,
            limit=limit,
            first=first,
            last=end,
            more={'u': {'$ne': document_layout.encode(client)}},
            committed=True,
        )
        page = [document_layout.message(row, now) for row in rows]
        if len(page) == limit:
            return Page(page, page[-1].marker)
        return Page(page, None if end is None else make_marker(end))

    def _scan_end(
        self, queue: CachedQueue, state: StateFilter, now: int, first: int
    ) -> int | None:
        """Return the last number of a page's scan, None for the end."""
        where = state.where(queue, now, first)
        where['e'] = {'$gt': document_layout.date(now)}
        rows = self._database.find(
            queue.committed,
            where,
            {'k': 1},
            sort={state.order: 1},
            skip=SCAN_LIMIT - 1,
            limit=1,
            allow_disk_use=True,
        )
        return document_layout.seq_of(rows[0]) if rows else None

    def _first(self, queue: CachedQueue, marker: str | None) -> int | None:
        """Return the first number of a page, None for an invalid marker."""
        if marker is None:
            return 0
        seq = parse_marker(marker)
        if seq is not None:
            return seq + 1
        halves = parse_id(marker)
        if halves is None:
            return None
        # The number in a dead letter's id is that of another queue.
        name = document_layout.message_id(queue.key, marker)
        row = self._database.step(
            queue.committed.find_one, {'_id': name}, {'k': 1}
        )
        return (document_layout.seq_of(row) if row else halves[0]) + 1
