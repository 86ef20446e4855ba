# SPDX-License-Identifier: Apache-2.0
"""Storing messages.

Numbers are taken and messages written in one transaction, which makes the
order of commits the order of sequence numbers: a reader that pages by number
never passes a message that becomes visible later, and sees all of a post or
nothing. The document of the queue is locked from the first command on; posts
of one process to one queue go together, those of several meet and try again.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from pymongo.client_session import ClientSession
from pymongo.errors import OperationFailure

from zaqar.errors import QueueFull, StaleMetadata, StoreUnavailable
from zaqar.storage.base import OUTBOX
from zaqar.storage.message_ids import id_of
from zaqar.storage.mongodb import layout, notices
from zaqar.storage.mongodb.database import (
    CHUNK,
    Database,
    in_time,
    is_duplicate,
)
from zaqar.storage.mongodb.incarnations import Incarnations, Queue
from zaqar.storage.mongodb.layout import Document
from zaqar.storage.mongodb.queues import Queues
from zaqar.storage.posts import Post
from zaqar.storage.subscriber_flags import UnsubscribedQueues

#: Tries of a post that meets its own token, or what is left of an old one.
ATTEMPTS = 5

#: Seconds from which on a count is too slow to be made at every post, and
#: the share of the time that such counts may take.
SLOW_COUNT = 0.25
SHARE = 0.1

_ID_LENGTH = 16


class _FullError(Exception):
    """There is no room; rolls the transaction back."""

    def __init__(self, live: int) -> None:
        super().__init__()
        self.live = live


class Posting:
    """Posts to the queues of a store."""

    def __init__(
        self, database: Database, known: Incarnations, queues: Queues
    ) -> None:
        self._database = database
        self._known = known
        self._queues = queues
        self._unsubscribed = UnsubscribedQueues()
        self._no_count_before: dict[str, float] = {}

    def note_epoch(self, qid: str, epoch: int) -> None:
        """Remember the flag that a queue has subscribers."""
        self._unsubscribed.update(qid, epoch)

    def prepare(self, qid: str, post: Post) -> None:
        """Make a notice that is likely to be needed, and the outbox."""
        if post.notice and qid not in self._unsubscribed:
            post.notice.message()
            if self._known.find(OUTBOX) is None:
                self._make_outbox(post.now)

    def post(
        self, qid: str, posts: Sequence[Post], limit: int = 0
    ) -> Sequence[Sequence[str]]:
        """Store posts; return the ids of each.

        :param limit: see the contract; there is only one post then
        """
        if len({post.token for post in posts}) == len(posts) > 1:
            try:
                return self._store(qid, posts, 0)
            except OperationFailure as error:
                if not is_duplicate(error):
                    raise
        return [self._post_one(qid, post, limit) for post in posts]

    def _post_one(self, qid: str, post: Post, limit: int) -> Sequence[str]:
        for _ in range(ATTEMPTS):
            try:
                return self._store(qid, [post], limit)[0]
            except _FullError as full:
                found = self._stored(qid, post)
                if found is None:
                    raise QueueFull(
                        f'The queue holds {full.live} messages and may hold '
                        f'{limit}.'
                    ) from None
                return found
            except OperationFailure as error:
                if not is_duplicate(error):
                    raise
            found = self._stored(qid, post)
            if found is not None:
                return found
        raise StoreUnavailable

    def _store(
        self, qid: str, posts: Sequence[Post], limit: int
    ) -> list[Sequence[str]]:
        outbox: Queue | None = None
        if any(post.notice for post in posts):
            outbox = self._known.find(OUTBOX)

        def work(session: ClientSession | None) -> list[Sequence[str]]:
            return self._write(qid, posts, limit, outbox, session)

        return self._database.atomically(work)

    def _write(
        self,
        qid: str,
        posts: Sequence[Post],
        limit: int,
        outbox: Queue | None,
        session: ClientSession | None,
    ) -> list[Sequence[str]]:
        count = sum(len(post.messages) for post in posts)
        now = max(post.now for post in posts)
        asked = time.monotonic()
        found = self._queues.take_numbers(qid, count, now, session)
        queue = self._known.learn(qid, found, asked)
        least = int(found.get('least', 0))
        if any(
            post.version is not None and post.version < least for post in posts
        ):
            raise StaleMetadata
        self._unsubscribed.update(qid, found['sub'])
        if limit:
            self._make_room(queue, found, count, limit, now, session)
        documents, answers = _documents(queue, posts, found['next'] - count)
        told: list[Document] = []
        if found['sub'] > 0 and outbox is not None:
            told = [
                layout.new_message(
                    outbox.key,
                    notices.number(now),
                    post.notice.message(),
                    now,
                )
                for post in posts
                if post.notice
            ]
        if outbox is not None and outbox.partition != queue.partition:
            _insert(outbox, told, session)
            told = []
        _insert(queue, told + documents, session)
        for document in documents:
            if document.get('a'):
                queue.will_wake(document['a'])
        return answers

    def _stored(self, qid: str, post: Post) -> Sequence[str] | None:
        """Return the ids of a post if it was stored before.

        What is left of a token that is no longer good is removed.
        """
        queue = self._known.look(qid)
        if queue is None:
            return None
        kept = layout.token_id(queue.key, post.token)
        names: list[object] = [kept]
        names += [
            layout.message_id(queue.key, item.id)
            for item in post.messages
            if item.id
        ]
        rows = self._database.step(
            lambda: list(
                queue.messages.find(
                    {'_id': {'$in': names}}, {'e': 1, 'ids': 1}
                )
            )
        )
        live = [row for row in rows if int(row['e']) > post.now]
        if not live:
            self._database.step(
                lambda: queue.messages.delete_many(
                    {
                        '_id': {'$in': names},
                        'e': {'$lte': layout.date(post.now)},
                    }
                )
            )
            return None
        for row in live:
            if 'ids' in row:
                return _split(bytes(row['ids']))
        return [str(item.id) for item in post.messages]

    def _make_outbox(self, now: int) -> None:
        self._database.atomically(
            lambda session: self._queues.take_numbers(OUTBOX, 0, now, session)
        )

    def _make_room(
        self,
        queue: Queue,
        found: Document,
        count: int,
        limit: int,
        now: int,
        session: ClientSession | None,
    ) -> None:
        """Check that ``count`` more messages fit in.

        What the document says is an upper bound, since deletions do not
        touch it; when that is reached, the messages are counted.
        """
        live = found['live'] - count if 'live' in found else None
        if live is not None and live + count <= limit:
            return
        if time.monotonic() < self._no_count_before.get(queue.qid, 0):
            raise _FullError(live if live is not None else limit)
        live = self._count(queue, now, session)
        if live + count > limit:
            raise _FullError(live)
        self._queues.set_live(queue.qid, live + count, session)

    def _count(
        self, queue: Queue, now: int, session: ClientSession | None
    ) -> int:
        begun = time.monotonic()
        places = layout.places(queue.key)
        dead = {'e': {'$lte': layout.date(now)}, 'k': places}
        with in_time():
            found = queue.messages.count_documents(
                {'k': places}, session=session
            )
            found -= queue.messages.count_documents(dead, session=session)
        took = time.monotonic() - begun
        if took > SLOW_COUNT:
            self._no_count_before[queue.qid] = begun + took / SHARE
        else:
            self._no_count_before.pop(queue.qid, None)
        return found


def _documents(
    queue: Queue, posts: Sequence[Post], first: int
) -> tuple[list[Document], list[Sequence[str]]]:
    documents: list[Document] = []
    answers: list[Sequence[str]] = []
    for post in posts:
        ids = []
        for item in post.messages:
            ids.append(id_of(item, first))
            documents.append(
                layout.new_message(queue.key, first, item, post.now)
            )
            first += 1
        answers.append(ids)
        documents.append(_token(queue.key, post, ids))
    return documents, answers


def _token(key: bytes, post: Post, ids: Sequence[str]) -> Document:
    return {
        '_id': layout.token_id(key, post.token),
        'k': layout.ahead(key),
        'e': layout.date(post.token_expiry(post.now)),
        'ids': b''.join(map(bytes.fromhex, ids)),
    }


def _split(ids: bytes) -> Sequence[str]:
    return [
        ids[start : start + _ID_LENGTH].hex()
        for start in range(0, len(ids), _ID_LENGTH)
    ]


def _insert(
    queue: Queue,
    documents: Sequence[Document],
    session: ClientSession | None,
) -> None:
    for start in range(0, len(documents), CHUNK):
        with in_time():
            queue.messages.insert_many(
                documents[start : start + CHUNK], session=session
            )
