# SPDX-License-Identifier: Apache-2.0
"""The message store on MongoDB."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from zaqar import clock
from zaqar.errors import StaleMetadata
from zaqar.models import Claim, Message, NewMessage, Page, Stats
from zaqar.storage import base, group_commit
from zaqar.storage.group_commit import Batcher
from zaqar.storage.message_ids import is_claim_id
from zaqar.storage.mongodb import volume
from zaqar.storage.mongodb.claiming import Claiming, Terms
from zaqar.storage.mongodb.database import Database
from zaqar.storage.mongodb.deleting import Deleting
from zaqar.storage.mongodb.incarnations import Incarnations
from zaqar.storage.mongodb.posting import Posting
from zaqar.storage.mongodb.queues import Queues
from zaqar.storage.mongodb.reading import (
    ANY,
    DELAYED,
    FREE,
    NOT_DELAYED,
    WOKEN,
    Kind,
    Reading,
)
from zaqar.storage.mongodb.sweeping import Sweeping
from zaqar.storage.posts import LazyNotice, Post

#: Seconds a post waits for a commit of its queue, to share the next one.
BATCH_TIMEOUT = 0.3


class MessageStore(base.MessageStore):
    """Messages and claims in databases of one deployment.

    :param database: belongs to this store from now on
    :param strictly: keep to the order of the queue, however many claim
    """

    def __init__(self, database: Database, *, strictly: bool) -> None:
        self._database = database
        self.clock = clock.Clock(database.now)
        self._known = Incarnations(database)
        self._queues = Queues(database, self._known)
        self._reading = Reading(database, self._known)
        self._posting = Posting(database, self._known, self._queues)
        self._claiming = Claiming(
            database, self._known, self._reading, strictly=strictly
        )
        self._deleting = Deleting(database, self._known, self._claiming)
        self._sweeping = Sweeping(database)
        self._batcher: Batcher[Post, Sequence[str]] = Batcher(
            lambda key, posts: self._posting.post(
                group_commit.qid_of(key), posts
            ),
            BATCH_TIMEOUT,
        )

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
        lazy = LazyNotice(notice) if notice else None
        post = Post(token, messages, now, lazy, version)
        self._posting.prepare(qid, post)
        if limit:
            return self._posting.post(qid, [post], limit)[0]
        return self._batcher.run(group_commit.batch_key(qid, version), post)

    def require_version(self, qid: str, version: int, *, now: int) -> None:
        self._queues.require_version(qid, version, now)

    def mark_subscribed(self, qid: str, *, now: int) -> None:
        self._queues.mark(qid, now)
        self._posting.note_epoch(qid, 1)

    def subscribed_epoch(self, qid: str, *, now: int) -> int:
        return self._queues.epoch(qid)

    def unmark_subscribed(self, qid: str, epoch: int, *, now: int) -> bool:
        return self._queues.unmark(qid, epoch, now)

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
        return self._reading.page(
            qid,
            now=now,
            limit=limit,
            marker=marker,
            exclude_client=exclude_client,
            kinds=_kinds(include_claimed, include_delayed),
        )

    def get(
        self, qid: str, ids: Sequence[str], *, now: int
    ) -> Sequence[Message]:
        return self._reading.get(qid, ids, now)

    def delete(
        self, qid: str, message_id: str, *, now: int, claim_id: str | None
    ) -> None:
        self._deleting.delete(qid, message_id, now, claim_id)

    def delete_many(
        self,
        qid: str,
        ids: Sequence[str],
        *,
        now: int,
        claim_ids: Sequence[str] | None = None,
    ) -> None:
        if claim_ids is None:
            self._deleting.delete_many(qid, ids, now)
        else:
            self._deleting.delete_held(qid, ids, now, claim_ids)

    def pop(self, qid: str, *, now: int, limit: int) -> Sequence[Message]:
        return self._claiming.pop(qid, now, limit)

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
        queue = self._known.find(qid)
        if queue is None:
            return None
        if version is not None and version < queue.least:
            raise StaleMetadata
        terms = Terms(queue, claim_id, now, ttl, grace, max_claims)
        return self._claiming.claim(terms, limit)

    def claimed(self, qid: str, claim_id: str, *, now: int) -> Claim | None:
        queue = self._known.find(qid)
        if queue is None or not is_claim_id(claim_id):
            return None
        return self._claiming.held(queue, claim_id, now)

    def renew(
        self, qid: str, claim_id: str, *, now: int, ttl: int, grace: int
    ) -> bool:
        queue = self._known.find(qid)
        if queue is None or not is_claim_id(claim_id):
            return False
        return self._claiming.renew(Terms(queue, claim_id, now, ttl, grace))

    def release(self, qid: str, claim_id: str, *, now: int) -> None:
        queue = self._known.find(qid)
        if queue is not None and is_claim_id(claim_id):
            self._claiming.release(queue, claim_id)

    def stats(self, qid: str, *, now: int) -> Stats:
        return self._reading.stats(qid, now)

    def volume(self, *, now: int) -> Stats:
        return volume.volume(self._database, now)

    def purge(self, qid: str, *, now: int) -> None:
        self._queues.purge(qid)

    def drop(self, qid: str, *, now: int) -> None:
        self._queues.drop(qid, now)

    def sweep(self, *, now: int, batch: int) -> int:
        return self._sweeping.sweep(now, batch)

    def close(self) -> None:
        self._database.close()


def _kinds(include_claimed: bool, include_delayed: bool) -> Sequence[Kind]:
    """Return kinds of messages that, together, are those to be shown."""
    if include_claimed:
        return (ANY,) if include_delayed else (NOT_DELAYED,)
    if include_delayed:
        return WOKEN, DELAYED, FREE
    return WOKEN, FREE
