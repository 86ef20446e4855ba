# SPDX-License-Identifier: Apache-2.0
"""Posts that share commits with others of the same process."""

from __future__ import annotations

from collections.abc import Sequence

from zaqar.errors import QueueFull
from zaqar.storage.group_commit import Batcher
from zaqar.storage.post_call_parameters import PostCall
from zaqar.storage.queues_without_subscribers_cache import UnsubscribedQueues
from zaqar.storage.sqlalchemy import (
    compound_statement_posts,
    posting,
    single_statement_posts,
)
from zaqar.storage.sqlalchemy.database import SqlDatabase
from zaqar.storage.sqlalchemy.statement_execution import (
    MAX_PACKET,
    SqlSession,
)

#: How often a post to a queue that is locked is tried with those to others,
#: before it waits for the lock.
_SHARED_TRIES = 2

#: Those of a post, or why there are none.
_Ids = Sequence[str] | QueueFull


class SharedPosts:
    """Stores posts, several in one commit where that is faster.

    :param window: seconds that posts wait for a commit that is under way,
        beside its usual duration, so as to share the next one; 0 to share none
    :param unsubscribed: queues known to have no subscribers
    """

    def __init__(
        self,
        database: SqlDatabase,
        window: float,
        unsubscribed: UnsubscribedQueues,
    ) -> None:
        self._database = database
        self._unsubscribed = unsubscribed

        def size(post: PostCall) -> int:
            # MySQL gets bodies as hexadecimal digits.
            return 2 * post.size if database.dialect == 'mysql' else post.size

        #: Posts to any queues that are not locked (MariaDB), and to one.
        self._any: Batcher[PostCall, _Ids | None] = Batcher(
            lambda posts: self._store_together(posts, skip=True),
            self._store_in_turn,
            window,
            size,
            owner=lambda post: post.qid,
        )
        self._by_queue: Batcher[PostCall, _Ids | None] = Batcher(
            lambda posts: self._store_together(posts, skip=False),
            self._store,
            window,
            size,
        )

    def run(self, post: PostCall, limit: int) -> _Ids:
        """Store a post; return its ids, or that the queue is full.

        :param limit: live messages that the queue may hold; 0 for any number
        """
        dialect = self._database.dialect
        # SQLite's writer merges everything anyway; on MySQL large ones take
        # several packets.
        alone = limit or (
            not post.is_ordinary
            or dialect == 'sqlite'
            or (dialect == 'mysql' and post.size > MAX_PACKET)
            or any(item.group is not None for item in post.messages)
        )
        return self._store(post, limit) if alone else self._share(post)

    def _share(self, post: PostCall) -> _Ids:
        if self._database.takes_compounds:
            for _ in range(_SHARED_TRIES):
                if self._by_queue.is_busy(post.qid):
                    break
                ids = self._any.run(post)
                if ids is not None:
                    return ids
        return self._store_in_turn(post)

    def _store_in_turn(self, post: PostCall) -> _Ids:
        """Wait for the lock of the queue and store a post."""
        ids = self._by_queue.run(post, post.qid)
        return self._store(post) if ids is None else ids

    def _store_together(
        self, posts: Sequence[PostCall], *, skip: bool
    ) -> Sequence[_Ids | None]:
        """Store posts to one queue.

        :param skip: whether those to locked queues are left out; then they
            may be to any queues (MariaDB)
        """
        unsubscribed = self._unsubscribed

        def write(session: SqlSession) -> Sequence[_Ids | None]:
            if session.takes_compounds:
                return compound_statement_posts.post(
                    session, posts, unsubscribed, skip=skip
                )
            return [
                posting.post_within(session, post, 0, unsubscribed)
                for post in posts
            ]

        if self._database.dialect == 'postgresql':
            return self._database.read(
                single_statement_posts.post, posts, unsubscribed
            )
        if skip:
            # A conflict about one queue undoes the posts to all: each is then
            # repeated with those to its own.
            return self._database.write_or_conflict(write)
        return self._database.write(write)

    def _store(self, post: PostCall, limit: int = 0) -> _Ids:
        return self._database.write(
            posting.post_within, post, limit, self._unsubscribed
        )
