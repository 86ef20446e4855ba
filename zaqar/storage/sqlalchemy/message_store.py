# SPDX-License-Identifier: Apache-2.0
"""The message store on SQL.

Concurrent calls of a process for one queue share a commit; those for other
queues do not, or a locked row of one queue would hold up them all. On
PostgreSQL the hot calls are one statement each, hence one round trip; the
other engines run the same steps in a transaction, MariaDB and MySQL in two
round trips.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zaqar import store_clock
from zaqar.errors import QueueFull
from zaqar.models import Claim, Message, NewMessage, Page, Stats
from zaqar.random_bytes import token_hex
from zaqar.storage import base
from zaqar.storage.group_commit import Batcher, Sharing
from zaqar.storage.message_ids import is_claim_id
from zaqar.storage.post_request import LazyNotice, PostRequest
from zaqar.storage.sqlalchemy import (
    claiming,
    database_message_count,
    message_deletion,
    message_queries,
    posting,
    queue_state,
    single_statement_claims,
    single_statement_posts,
    sweeping,
)
from zaqar.storage.sqlalchemy.claiming import ClaimRequest
from zaqar.storage.sqlalchemy.database import SqlDatabase
from zaqar.storage.sqlalchemy.message_deletion import Deletion
from zaqar.storage.sqlalchemy.statement_execution import SqlSession
from zaqar.storage.subscriber_flag_cache import UnsubscribedQueues


class SqlMessageStore(base.MessageStore):
    """Messages and claims in a database.

    :param window: seconds that calls wait for a commit that is under way,
        beside its usual duration, so as to share the next one; 0 to share none
    """

    def __init__(self, database: SqlDatabase, window: float) -> None:
        self._database = database
        self._dialect = database.dialect
        is_sqlite = database.dialect == 'sqlite'
        self.clock = store_clock.Clock(None if is_sqlite else database.now)
        self._posts: Batcher[PostRequest, Sequence[str]] = Batcher(
            self._post_together, self._post, window
        )
        self._claims: Batcher[ClaimRequest, Claim | None] = Batcher(
            lambda requests: database.write(
                lambda s: claiming.claim_together(s, requests)
            ),
            self._claim,
            window,
        )
        self._deletions: Batcher[Deletion, bool] = Batcher(
            lambda deletions: database.write(
                lambda s: message_deletion.delete_together(s, deletions)
            ),
            self._delete,
            window,
        )
        self._unsubscribed = UnsubscribedQueues()

    def ping(self) -> None:
        self._database.ping()

    def post(
        self,
        qid: str,
        messages: Sequence[NewMessage],
        *,
        now: int,
        token: str,
        limit: int = 0,
        notice: Callable[[], NewMessage] | None = None,
        version: int | None = None,
    ) -> Sequence[str]:
        self._database.check_room()
        lazy = LazyNotice(notice) if notice else None
        post = PostRequest(qid, token, messages, now, lazy, version)
        if lazy and qid not in self._unsubscribed:
            # Created before anything is locked.
            lazy.message()
        # SQLite's writer merges everything anyway.
        if limit or self._dialect == 'sqlite':
            return self._post(post, limit)
        return self._posts.run(post, qid)

    def require_version(self, qid: str, version: int, *, now: int) -> None:
        self._database.write(
            lambda s: queue_state.require_version(s, qid, version, now)
        )

    def mark_subscribed(self, qid: str, *, now: int) -> None:
        self._database.write(
            lambda s: queue_state.mark_subscribed(s, qid, now)
        )
        self._unsubscribed.update(qid, 1)

    def subscribed_epoch(self, qid: str, *, now: int) -> int:
        return self._database.read(
            lambda s: queue_state.subscribed_epoch(s, qid)
        )

    def unmark_subscribed(self, qid: str, epoch: int, *, now: int) -> bool:
        return self._database.write(
            lambda s: queue_state.unmark_subscribed(s, qid, epoch, now)
        )

    def list(
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
        return self._database.read(
            lambda s: message_queries.list_page(
                s,
                qid,
                now=now,
                limit=limit,
                marker=marker,
                exclude_client=exclude_client,
                include_claimed=include_claimed,
                include_delayed=include_delayed,
            )
        )

    def get(
        self, qid: str, ids: Sequence[str], *, now: int
    ) -> Sequence[Message]:
        return self._database.read(
            lambda s: message_queries.get(s, qid, ids, now)
        )

    def delete(
        self, qid: str, message_id: str, *, now: int, claim_id: str | None
    ) -> None:
        deletion = Deletion(qid, message_id, now, claim_id)
        if self._dialect == 'mysql':
            self._deletions.run(deletion, qid)
            return
        run = (
            self._database.read
            if self._dialect == 'postgresql'
            else self._database.write
        )
        if not run(lambda s: message_deletion.delete_if_allowed(s, deletion)):
            self._delete(deletion)

    def delete_many(
        self,
        qid: str,
        ids: Sequence[str],
        *,
        now: int,
        claim_ids: Sequence[str] | None = None,
    ) -> None:
        self._database.write(
            lambda s: message_deletion.delete_many(s, qid, ids, now, claim_ids)
        )

    def pop(self, qid: str, *, now: int, limit: int) -> Sequence[Message]:
        return self._database.write(lambda s: claiming.pop(s, qid, now, limit))

    def claim(
        self,
        qid: str,
        *,
        now: int,
        claim_id: str,
        ttl: int,
        grace: int,
        limit: int,
        max_claims: int = 0,
        version: int | None = None,
    ) -> Claim | None:
        lifetime = claiming.lifetime_values(now, ttl, grace)
        request = ClaimRequest(
            qid, claim_id, lifetime, limit, max_claims, version
        )
        if self._dialect == 'mysql':
            return self._claims.run(request, qid)
        if self._dialect == 'postgresql':
            return self._database.read(
                lambda s: single_statement_claims.claim(s, request)
            )
        return self._claim(request)

    def claimed(self, qid: str, claim_id: str, *, now: int) -> Claim | None:
        if not is_claim_id(claim_id):
            return None

        def read(session: SqlSession) -> Claim | None:
            claim = claiming.held(session, qid, claim_id, now)
            if claim is None:
                queue_state.check_gone(session, qid)
            return claim

        return self._database.read(read)

    def renew(
        self, qid: str, claim_id: str, *, now: int, ttl: int, grace: int
    ) -> bool:
        if not is_claim_id(claim_id):
            return False
        values = claiming.lifetime_values(now, ttl, grace)
        return self._database.write(
            lambda s: claiming.renew(s, qid, claim_id, values)
        )

    def release(self, qid: str, claim_id: str, *, now: int) -> None:
        if is_claim_id(claim_id):
            self._database.write(lambda s: claiming.release(s, qid, claim_id))

    def stats(self, qid: str, *, now: int) -> Stats:
        return self._database.read(
            lambda s: message_queries.stats(s, qid, now)
        )

    def volume(self, *, now: int) -> Stats:
        return self._database.read(
            lambda s: database_message_count.count_messages(s, now)
        )

    def purge(self, qid: str, *, now: int) -> None:
        self._database.write(
            lambda s: queue_state.discard_messages(
                s, qid, now, dropped_at=None
            )
        )

    def drop(self, qid: str, *, now: int) -> None:
        self._database.write(
            lambda s: queue_state.discard_messages(s, qid, now, dropped_at=now)
        )

    def sweep(self, *, now: int, batch: int) -> int:
        if not self._database.is_galera:
            return self._database.write(
                lambda s: sweeping.sweep(s, now, batch)
            )
        sweeper = token_hex(16)
        # Committed before it counts.
        if not self._database.write(
            lambda s: sweeping.take_turn(s, sweeper, now)
        ):
            return 0
        return self._database.write(
            lambda s: sweeping.sweep_in_turn(s, sweeper, now, batch)
        )

    def close(self) -> None:
        self._database.close()

    def _post_together(
        self, posts: Sequence[PostRequest]
    ) -> Sequence[Sequence[str] | Sharing]:
        if self._dialect == 'postgresql':
            return self._database.read(
                lambda s: single_statement_posts.post(
                    s, posts, self._unsubscribed
                )
            )
        return self._database.write(
            lambda s: posting.post_together(s, posts, self._unsubscribed)
        )

    def _post(self, post: PostRequest, limit: int = 0) -> Sequence[str]:
        ids = self._database.write(
            lambda s: posting.post_within(s, post, limit, self._unsubscribed)
        )
        if isinstance(ids, QueueFull):
            raise ids
        return ids

    def _claim(self, request: ClaimRequest) -> Claim | None:
        try:
            return self._database.write(lambda s: claiming.claim(s, request))
        except claiming.RepeatedClaimError:
            return self._database.read(lambda s: claiming.repeated(s, request))

    def _delete(self, deletion: Deletion) -> bool:
        self._database.write(lambda s: message_deletion.delete(s, deletion))
        return True
