# SPDX-License-Identifier: Apache-2.0
"""The message store on MongoDB."""

from collections.abc import Sequence
from typing import Any

from zaqar import store_clock
from zaqar.errors import StaleMetadata
from zaqar.objects import (
    Act,
    Claim,
    Message,
    NewMessage,
    Page,
    Settlement,
    Stats,
)
from zaqar.storage import abstract_stores
from zaqar.storage.group_commit import Batcher
from zaqar.storage.message_ids import is_claim_id
from zaqar.storage.mongodb import (
    claimed_message_settlement,
    durability_and_failover_guarantees,
    free_message_counts_and_wake_times,
    message_count_estimate,
)
from zaqar.storage.mongodb.claim_and_pop_parameters import ClaimTerms
from zaqar.storage.mongodb.claims_and_pops import Claimer
from zaqar.storage.mongodb.database_commands_and_transactions import (
    MongoDatabase,
)
from zaqar.storage.mongodb.grouped_claims_and_pops import GroupedClaimer
from zaqar.storage.mongodb.message_deletion import Deleter
from zaqar.storage.mongodb.message_reading import Reader
from zaqar.storage.mongodb.posting import Poster
from zaqar.storage.mongodb.queue_byte_counts import QueueByteCounts
from zaqar.storage.mongodb.queue_document_changes import QueueDocuments
from zaqar.storage.mongodb.queue_state_cache import QueueCache
from zaqar.storage.mongodb.sweeping import DatabaseSweeper
from zaqar.storage.post_call_parameters import PostCall
from zaqar.storage.store_guarantees import Guarantees
from zaqar.storage.store_inspection_interface import Inspected
from zaqar.storage.store_watch_interface import Availability

#: Seconds a post waits for a commit of its queue, to share the next one.
BATCH_TIMEOUT = 0.3


class MongoMessageStore(abstract_stores.MessageStore):
    """Messages and claims in databases of one deployment.

    :param database: owned by this store from now on
    :param strictly: hand out in queue order, however many clients claim
    """

    def __init__(self, database: MongoDatabase, *, strictly: bool) -> None:
        self._database = database
        self.clock = store_clock.Clock(database.now)
        self._strictly = strictly
        self._cache = QueueCache(database)
        self._queues = QueueDocuments(database, self._cache)
        self._reader = Reader(database, self._cache)
        self._poster = Poster(database, self._cache, self._queues)
        self._claimer = Claimer(database, self._reader, strictly=strictly)
        self._grouped = GroupedClaimer(database, self._reader, self._claimer)
        self._held = QueueByteCounts(database, self._cache)
        self._deleter = Deleter(
            database, self._cache, self._claimer, self._held
        )
        self._sweeper = DatabaseSweeper(database)
        self._batcher: Batcher[PostCall, Sequence[str]] = Batcher(
            self._poster.post_together, self._poster.post, BATCH_TIMEOUT
        )

    @property
    def has_groups(self) -> bool:
        """Whether the server has transactions; see :mod:`.message_groups`."""
        return self._database.has_transactions

    def ping(self) -> None:
        self._database.ping()

    def post(
        self,
        qid: str,
        messages: Sequence[NewMessage],
        *,
        limit: int = 0,
        **call: Any,
    ) -> Sequence[str]:
        post = PostCall(qid=qid, messages=messages, **call)
        self._poster.prepare(post)
        if limit:
            return self._poster.post(post, limit)
        return self._batcher.run(post, (qid, post.version))

    def require_version(self, qid: str, version: int, *, now: int) -> None:
        self._queues.require_version(qid, version, now)

    def mark_subscribed(self, qid: str, *, now: int) -> None:
        self._queues.mark(qid, now)
        self._poster.note_subscriber_epoch(qid, 1)

    def subscribed_epoch(self, qid: str, *, now: int) -> int:
        return self._queues.epoch(qid)

    def unmark_subscribed(self, qid: str, epoch: int, *, now: int) -> bool:
        return self._queues.unmark(qid, epoch, now)

    def list(self, qid: str, *, now: int, **options: Any) -> Page:
        return self._reader.page(qid, now=now, **options)

    def get(
        self, qid: str, ids: Sequence[str], *, now: int
    ) -> Sequence[Message]:
        return self._reader.get(qid, ids, now)

    def delete(
        self, qid: str, message_id: str, *, now: int, claim_id: str | None
    ) -> None:
        self._deleter.delete(qid, message_id, now, claim_id)

    def delete_many(
        self,
        qid: str,
        ids: Sequence[str],
        *,
        now: int,
        claim_ids: Sequence[str] | None = None,
    ) -> None:
        if claim_ids is None:
            self._deleter.delete_many(qid, ids, now)
        else:
            self._deleter.delete_held(qid, ids, now, claim_ids)

    def pop(self, qid: str, *, now: int, limit: int) -> Sequence[Message]:
        queue = self._cache.get(qid)
        if queue is None:
            return []
        claimer = self._grouped if queue.grouped else self._claimer
        messages = claimer.pop(queue, now, limit)
        self._held.subtract(queue, len(messages))
        return messages

    def claim(
        self, qid: str, *, limit: int, version: int | None = None, **terms: Any
    ) -> Claim | None:
        queue = self._cache.get(qid)
        if queue is None:
            return None
        if version is not None and version < queue.least:
            raise StaleMetadata
        named = terms.get('only') is not None
        claimer = (
            self._grouped if queue.grouped and not named else self._claimer
        )
        return claimer.claim(ClaimTerms(queue, **terms), limit)

    def claimed(self, qid: str, claim_id: str, *, now: int) -> Claim | None:
        queue = self._cache.get(qid)
        if queue is None or not is_claim_id(claim_id):
            return None
        return self._claimer.held(queue, claim_id, now)

    def renew(
        self, qid: str, claim_id: str, *, now: int, ttl: int, grace: int
    ) -> bool:
        queue = self._cache.get(qid)
        if queue is None or not is_claim_id(claim_id):
            return False
        claimer = self._grouped if queue.grouped else self._claimer
        return claimer.renew(ClaimTerms(queue, claim_id, now, ttl, grace))

    def settle(
        self,
        qid: str,
        claim_id: str,
        settlements: Sequence[Settlement],
        *,
        now: int,
    ) -> Sequence[bool] | None:
        queue = self._cache.get(qid)
        if queue is None or not is_claim_id(claim_id):
            return None
        results = claimed_message_settlement.settle(
            self._database, queue, claim_id, settlements, now
        )
        self._held.subtract(queue, _deleted(settlements, results))
        return results

    def release(self, qid: str, claim_id: str, *, now: int) -> None:
        queue = self._cache.get(qid)
        if queue is None or not is_claim_id(claim_id):
            return
        if queue.grouped:
            self._grouped.release(queue, claim_id, now)
        else:
            self._claimer.release(queue, claim_id)

    def availability(
        self, qids: Sequence[str], *, now: int
    ) -> Sequence[Availability]:
        return free_message_counts_and_wake_times.look(
            self._database, qids, now
        )

    def stats(self, qid: str, *, now: int) -> Stats:
        return self._reader.stats(qid, now)

    def stats_of(self, qids: Sequence[str], *, now: int) -> Sequence[Stats]:
        return self._reader.stats_of(qids, now)

    def inspect(
        self, qid: str, message_id: str, *, now: int
    ) -> Inspected | None:
        return self._reader.inspect(qid, message_id, now)

    def guarantees(self, qid: str) -> Guarantees:
        return durability_and_failover_guarantees.read(
            self._database, strictly=self._strictly
        )

    def volume(self, *, now: int) -> Stats:
        return message_count_estimate.count_messages(self._database, now)

    def held_bytes(self, qids: Sequence[str], *, now: int) -> int:
        return self._held.total(qids, now)

    def purge(self, qid: str, *, now: int) -> None:
        self._queues.purge(qid)

    def drop(self, qid: str, *, now: int) -> None:
        self._queues.drop(qid, now)

    def sweep(self, *, now: int, batch: int) -> int:
        return self._sweeper.sweep(now, batch)

    def close(self) -> None:
        self._held.close()
        self._database.close()


def _deleted(
    settlements: Sequence[Settlement], results: Sequence[bool] | None
) -> int:
    """Return how many messages were deleted."""
    return sum(
        was_held and item.act is Act.DELETE
        for item, was_held in zip(settlements, results or (), strict=False)
    )
