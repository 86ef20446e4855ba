# SPDX-License-Identifier: Apache-2.0
"""Storage of posts.

Sequence numbers are assigned and messages written in one transaction, which
makes the order of commits the order of numbers: a reader that pages by number
never skips a message that becomes visible later, and sees all of a post or
nothing. The document of the queue is locked from the first command on; posts
of one process to a queue share a transaction, those of several conflict and
are retried.

Notices get numbers from the clock instead of a counter: posts need not lock
the document of the outbox, which all queues of a store share.
"""

import secrets
import time
from collections.abc import Sequence
from typing import NamedTuple

from pymongo.client_session import ClientSession
from pymongo.errors import OperationFailure

from zaqar.bounded_cache import BoundedCache
from zaqar.errors import (
    QueueFull,
    StaleMetadata,
    StoreUnavailable,
    TokenReused,
)
from zaqar.storage import duplicate_messages_and_new_ids, ids_of_repeated_posts
from zaqar.storage.abstract_stores import OUTBOX
from zaqar.storage.group_commit import Sharing
from zaqar.storage.mongodb import (
    deduplication,
    document_layout,
    message_groups,
)
from zaqar.storage.mongodb.database_commands_and_transactions import (
    CHUNK,
    MongoDatabase,
    in_time,
)
from zaqar.storage.mongodb.document_layout import Document
from zaqar.storage.mongodb.error_classification import is_duplicate
from zaqar.storage.mongodb.queue_document_changes import QueueDocuments
from zaqar.storage.mongodb.queue_state_cache import (
    MAX_ENTRIES,
    CachedQueue,
    QueueCache,
)
from zaqar.storage.post_call_parameters import PostCall
from zaqar.storage.queues_without_subscribers_cache import UnsubscribedQueues

#: Tries of a post that meets its own token, or an expired one.
MAX_TRIES = 5

#: Seconds from which on a count is too slow for every post, and the share of
#: the time that such counts may take.
SLOW_COUNT = 0.25
SHARE = 0.1

#: Random bits of a notice's number, below the millisecond: they keep processes
#: apart.
RANDOM_BITS = 20


class _SlowCount(NamedTuple):
    """What a count has shown that took long.

    :ivar key: of the queue
    :ivar live: how many messages it had
    :ivar next: the number of its next message
    :ivar until: when it may be counted again, monotonic
    """

    key: bytes
    live: int
    next: int
    until: float

    def most(self, queue: CachedQueue, first: int) -> int | None:
        """Return how many messages a queue has at most.

        :param first: the number of its next message
        :returns: None if it was purged since, or its numbers went back
        """
        if self.key != queue.key or first < self.next:
            return None
        return self.live + first - self.next


class Poster:
    """Stores the posts to the queues of a store."""

    def __init__(
        self,
        database: MongoDatabase,
        cache: QueueCache,
        queues: QueueDocuments,
    ) -> None:
        self._database = database
        self._cache = cache
        self._queues = queues
        self._unsubscribed = UnsubscribedQueues()
        self._slow_counts: BoundedCache[str, _SlowCount] = BoundedCache(
            MAX_ENTRIES
        )

    def note_subscriber_epoch(self, qid: str, epoch: int) -> None:
        """Remember the flag that a queue has subscribers."""
        self._unsubscribed.update(qid, epoch)

    def prepare(self, post: PostCall) -> None:
        """Do what must not be done within the transaction.

        It creates a notice that is likely to be needed, and the outbox.
        """
        if any(item.group for item in post.messages):
            self._queues.note_groups(post.qid, post.now)
        if post.notice and post.qid not in self._unsubscribed:
            post.notice()
            if self._cache.get(OUTBOX) is None:
                self._database.atomically(
                    lambda session: self._queues.take_numbers(
                        OUTBOX, 0, post.now, session
                    )
                )

    def post_together(
        self, posts: Sequence[PostCall]
    ) -> Sequence[Sequence[str] | Sharing]:
        """Store posts to one queue; return the ids of each."""
        if len({post.token for post in posts}) == len(posts) > 1:
            return self._store(posts[0].qid, posts, 0)
        return [Sharing.DO_ALONE] * len(posts)

    def post(self, post: PostCall, limit: int = 0) -> Sequence[str]:
        """Store a post; return its ids.

        :param limit: see the contract
        """
        qid = post.qid
        for _ in range(MAX_TRIES):
            try:
                return self._store(qid, [post], limit)[0]
            except QueueFull:
                ids = self._stored(qid, post)
                if ids is None:
                    raise
                return ids
            except OperationFailure as error:
                if not is_duplicate(error):
                    raise
            ids = self._stored(qid, post)
            if ids is not None:
                return ids
        raise StoreUnavailable

    def _store(
        self, qid: str, posts: Sequence[PostCall], limit: int
    ) -> list[Sequence[str]]:
        outbox: CachedQueue | None = None
        if any(post.notice for post in posts):
            outbox = self._cache.get(OUTBOX)

        return self._database.atomically(
            lambda session: self._write(qid, posts, limit, outbox, session)
        )

    def _write(
        self,
        qid: str,
        posts: Sequence[PostCall],
        limit: int,
        outbox: CachedQueue | None,
        session: ClientSession | None,
    ) -> list[Sequence[str]]:
        count = sum(len(post.messages) for post in posts)
        size = sum(len(item.body) for post in posts for item in post.messages)
        now = max(post.now for post in posts)
        start = time.monotonic()
        record = self._queues.take_numbers(qid, count, now, session, size)
        queue = self._cache.update(qid, record, start)
        least = int(record.get('least', 0))
        if any(
            post.version is not None and post.version < least for post in posts
        ):
            raise StaleMetadata
        self._unsubscribed.update(qid, record['sub'])
        rows, ids, places = _documents(
            queue, posts, record['next'] - count, session
        )
        more = sum(map(len, places))
        if more < count and queue.is_counted:
            size -= sum(len(row['b']) for row in rows if 'b' in row)
            self._queues.subtract(qid, count - more, size, session)
        if limit and more:
            self._check_room(queue, record, count, more, limit, now, session)
        notices: list[Document] = []
        if record['sub'] > 0 and outbox is not None:
            notices = [
                document_layout.new_message(
                    outbox.key, _notice_number(now), post.notice(own), now
                )
                for post, own in zip(posts, places, strict=True)
                if post.notice and own
            ]
        if outbox is not None and outbox.partition != queue.partition:
            _insert(outbox, notices, session)
            notices = []
        message_groups.append(queue, rows, session)
        _insert(queue, notices + rows, session)
        for row in rows:
            if row.get('a'):
                queue.will_wake(row['a'])
        return ids

    def _stored(self, qid: str, post: PostCall) -> Sequence[str] | None:
        """Return the ids of a post if it was stored before.

        An expired token is removed.
        """
        queue = self._cache.refresh(qid)
        if queue is None:
            return None
        keys: list[object] = [deduplication.token_id(queue, post)]
        keys += [
            document_layout.message_id(queue.key, item.id)
            for item in post.messages
            if item.id
        ]
        rows = self._database.find(
            queue.messages, {'_id': {'$in': keys}}, {'e': 1, 'ids': 1, 'fp': 1}
        )
        live = [row for row in rows if int(row['e']) > post.now]
        if not live:
            self._database.step(
                queue.messages.delete_many,
                {
                    '_id': {'$in': keys},
                    'e': {'$lte': document_layout.date(post.now)},
                },
            )
            return None
        for row in live:
            if post.fingerprint and row.get('fp') != post.fingerprint:
                raise TokenReused
            if 'ids' in row:
                ids = deduplication.split_ids(bytes(row['ids']))
                return ids_of_repeated_posts.repeated(post.messages, ids)
        return [str(item.id) for item in post.messages]

    def _check_room(
        self,
        queue: CachedQueue,
        record: Document,
        count: int,
        more: int,
        limit: int,
        now: int,
        session: ClientSession | None,
    ) -> None:
        """Check that more messages fit in.

        :param count: those of the post
        :param more: those of them that are no duplicates

        The number in the document is an upper bound, since deletions do not
        change it; when it reaches the limit, the messages are counted. What a
        slow count has shown is used again: this transaction may be undone.
        """
        first = record['next'] - count
        live = record['live'] - count if 'live' in record else None
        if live is not None and live + more <= limit:
            return
        slow = self._slow_counts.get(queue.qid)
        known = slow.most(queue, first) if slow else None
        if slow and known is not None and known + more > limit:
            if time.monotonic() < slow.until:
                raise QueueFull(known, limit)
            known = None
        if known is None:
            known = self._count(queue, first, now, session)
        if known + more > limit:
            raise QueueFull(known, limit)
        self._queues.set_live(queue.qid, known + more, session)

    def _count(
        self,
        queue: CachedQueue,
        first: int,
        now: int,
        session: ClientSession | None,
    ) -> int:
        start = time.monotonic()
        places = document_layout.places(queue.key)
        dead = {'e': {'$lte': document_layout.date(now)}, 'k': places}
        with in_time():
            live = queue.messages.count_documents(
                {'k': places}, session=session
            )
            live -= queue.messages.count_documents(dead, session=session)
        duration = time.monotonic() - start
        if duration > SLOW_COUNT:
            until = start + duration / SHARE
            self._slow_counts[queue.qid] = _SlowCount(
                queue.key, live, first, until
            )
        else:
            self._slow_counts.pop(queue.qid, None)
        return live


def _notice_number(now: int) -> int:
    return (now << RANDOM_BITS) + secrets.randbits(RANDOM_BITS)


def _documents(
    queue: CachedQueue,
    posts: Sequence[PostCall],
    first: int,
    session: ClientSession | None,
) -> tuple[list[Document], list[Sequence[str]], list[Sequence[int]]]:
    """Return documents, and of each post its ids and what it stores.

    Those of duplicates are written at once, for the posts behind.
    """
    rows: list[Document] = []
    ids_of_posts: list[Sequence[str]] = []
    places_of_posts: list[Sequence[int]] = []
    for post in posts:
        known = deduplication.known_ids(queue, post, session)
        ids, places, new = duplicate_messages_and_new_ids.assign_ids(
            post, first, known
        )
        for place in places:
            item = post.messages[place]
            rows.append(
                document_layout.new_message(queue.key, first, item, post.now)
            )
            first += 1
        deduplication.remember(queue, post, new, session)
        remembered = ids_of_repeated_posts.to_remember(post, ids, places)
        rows.append(deduplication.token(queue, post, remembered))
        ids_of_posts.append(ids)
        places_of_posts.append(places)
    return rows, ids_of_posts, places_of_posts


def _insert(
    queue: CachedQueue, rows: Sequence[Document], session: ClientSession | None
) -> None:
    for start in range(0, len(rows), CHUNK):
        with in_time():
            queue.messages.insert_many(
                rows[start : start + CHUNK], session=session
            )
