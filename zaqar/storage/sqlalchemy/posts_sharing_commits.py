# SPDX-License-Identifier: Apache-2.0
"""Posts that share commits with others of the same process."""

import time
from collections.abc import Sequence

from zaqar.errors import QueueFull
from zaqar.storage.group_commit import Batcher, Board, Sharing
from zaqar.storage.post_call_parameters import PostCall
from zaqar.storage.queues_without_subscribers_cache import UnsubscribedQueues
from zaqar.storage.sqlalchemy import (
    mariadb_compound_statement_posts,
    mariadb_posts_to_several_queues,
    post_to_locked_queue,
    postgresql_single_statement_posts,
)
from zaqar.storage.sqlalchemy.database_interface import SqlDatabase
from zaqar.storage.sqlalchemy.statement_execution import MAX_PACKET, SqlSession

#: Seconds for which posts wait for locks, once a queue was locked: rivals that
#: post to the same queues all the time take turns then.
RIVALRY = 0.1

#: Queues whose posts have waited for locks, which are locked together; and how
#: often a post that waits takes part, before it waits for its queue alone.
_MOST_LOCKED = 32
_TURNS = 3

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

        #: Until when posts wait for locks, by the monotonic clock.
        self._rivals_until = 0.0
        #: The latest queues that were locked.
        self._contended: Sequence[str] = ()
        #: Posts to any queues that are not locked (MariaDB), to those for
        #: which rivals wait as well, and to one.
        self._any: Batcher[PostCall, _Ids | None] = Batcher(
            self._store_unlocked,
            self._store_in_turn,
            window,
            size,
            owner=lambda post: post.qid,
        )
        self._with_rivals: Batcher[PostCall, _Ids | None] = Batcher(
            self._store_together,
            self._store_in_turn,
            window,
            size,
            owner=lambda post: post.qid,
            in_turn=self._store_in_rivalry,
        )
        self._by_queue: Batcher[PostCall, _Ids | None] = Batcher(
            self._store_together,
            self._store,
            window,
            size,
        )

    @property
    def held_up(self) -> int:
        """How many posts wait for locks, together with others."""
        return self._with_rivals.pending

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
        if not self._database.takes_compounds:
            return self._store_in_turn(post)
        if time.monotonic() >= self._rivals_until:
            ids = self._any.run(post)
            if ids is not None:
                return ids
            self._note_rivals()
        if post.qid not in self._contended:
            # Threads may overwrite what others add: it is a guess.
            others = self._contended[1 - _MOST_LOCKED :]
            self._contended = (*others, post.qid)
        for _ in range(_TURNS):
            ids = self._with_rivals.run(post)
            if ids is not None:
                return ids
        return self._store_in_turn(post)

    def _note_rivals(self) -> None:
        now = time.monotonic()
        if now > self._rivals_until + RIVALRY:
            self._contended = ()
        self._rivals_until = now + RIVALRY

    def _store_in_rivalry(
        self, first: PostCall, board: Board[PostCall]
    ) -> Sequence[_Ids | Sharing | None]:
        """Wait for a lock that rivals have; store what has come meanwhile.

        Whoever ends a transaction frees all of its queues at once.
        """
        return self._database.write_or_conflict(
            mariadb_posts_to_several_queues.post,
            self._contended,
            board,
            self._unsubscribed,
            awaited=first.qid,
        )

    def _store_unlocked(
        self, posts: Sequence[PostCall]
    ) -> Sequence[_Ids | Sharing | None]:
        """Store posts to queues that are not locked (MariaDB).

        A conflict about one queue undoes the posts to all: each is then
        repeated with those to its own.
        """
        qids = {post.qid for post in posts}
        if len(qids) == 1:
            return self._database.write_or_conflict(
                mariadb_compound_statement_posts.post,
                posts,
                self._unsubscribed,
                skip=True,
            )
        return self._database.write_or_conflict(
            mariadb_posts_to_several_queues.post,
            qids,
            lambda _: posts,
            self._unsubscribed,
        )

    def _store_in_turn(self, post: PostCall) -> _Ids:
        """Wait for the lock of the queue and store a post."""
        ids = self._by_queue.run(post, post.qid)
        return self._store(post) if ids is None else ids

    def _store_together(
        self, posts: Sequence[PostCall]
    ) -> Sequence[_Ids | Sharing | None]:
        """Store posts to one queue."""
        unsubscribed = self._unsubscribed

        def write(session: SqlSession) -> Sequence[_Ids | Sharing | None]:
            if session.takes_compounds:
                return mariadb_compound_statement_posts.post(
                    session, posts, unsubscribed, skip=False
                )
            return [
                post_to_locked_queue.post_within(
                    session, post, 0, unsubscribed
                )
                for post in posts
            ]

        if self._database.dialect == 'postgresql':
            return self._database.read(
                postgresql_single_statement_posts.post, posts, unsubscribed
            )
        return self._database.write(write)

    def _store(self, post: PostCall, limit: int = 0) -> _Ids:
        return self._database.write(
            post_to_locked_queue.post_within,
            post,
            limit,
            self._unsubscribed,
        )
