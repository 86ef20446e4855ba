# SPDX-License-Identifier: Apache-2.0
"""The message store on Redis: a script call for each operation on a queue.

A script that has much to tidy up is called again until it is done. What
concerns several queues is sent as one pipeline; sweeps and the counts of a
deployment scan all queues.
"""

import time
from collections.abc import Sequence
from typing import Any

from zaqar import request_deadline, store_clock
from zaqar.errors import QueueGone, StaleMetadata, StoreUnavailable
from zaqar.event_loop_greenlets import offload_to
from zaqar.objects import (
    Claim,
    Message,
    NewMessage,
    Page,
    Settlement,
    Stats,
)
from zaqar.storage import abstract_stores, deletion_error_texts
from zaqar.storage.message_ids import is_id, make_marker
from zaqar.storage.post_call_parameters import PostCall
from zaqar.storage.redis import (
    durability_and_failover_guarantees,
    free_message_counts_and_wake_times,
    message_codec,
    message_count_estimate,
    posting,
    queue_statistics,
    script_for_many_queues,
    scripts,
    settlement_script_call,
)
from zaqar.storage.redis.queue_watch import WatchOpener
from zaqar.storage.redis.retrying_client import DEADLINE, RedisClient
from zaqar.storage.redis.scripts import Script, Status
from zaqar.storage.redis.sweeping import QueueSweeper
from zaqar.storage.store_guarantees import Guarantees
from zaqar.storage.store_inspection_interface import Inspected
from zaqar.storage.store_watch_interface import Availability, OnChange, Watch

#: Messages that stand for all when the bytes of a queue are first counted.
SAMPLE = 100

#: Exhausted messages that one claim skips, at most.
MAX_SKIPPED = 10_000

#: Bytes of messages that one list call skips, at most.
MAX_SKIPPED_BYTES = 4 << 20

#: The id of no message.
NO_MESSAGE = '0' * 32

#: Milliseconds after which the server removes a tombstone by its own clock.
TOMBSTONE_EXPIRY = 4_500_000


class RedisMessageStore(abstract_stores.MessageStore):
    """Messages and claims on a server.

    :param client: owned by this store from now on
    """

    has_groups = True

    def __init__(self, client: RedisClient) -> None:
        self._client = client
        self.server = client.server
        self.waits_in_greenlets = client.waits_in_greenlets
        self.clock = store_clock.Clock(client.now)
        self._posts = posting.Posts(client)
        self._sweeper = QueueSweeper(client)
        self._watches = WatchOpener(client)

    def ping(self) -> None:
        self._client.ping()

    def post(
        self,
        qid: str,
        messages: Sequence[NewMessage],
        *,
        limit: int = 0,
        **call: Any,
    ) -> Sequence[str]:
        post = PostCall(qid=qid, messages=messages, **call)
        return self._posts.post(post, limit)

    def require_version(self, qid: str, version: int, *, now: int) -> None:
        self._run(scripts.REQUIRE, qid, now, version)

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
        start = (
            (-1, '')
            if marker is None
            else message_codec.parse_position(marker)
        )
        if start is None:
            return Page([])
        resume, *flat = self._run_to_end(
            scripts.LIST,
            qid,
            now,
            limit,
            *start,
            # Half a surrogate pair matches nobody.
            (exclude_client or '').encode(errors='replace'),
            int(include_claimed),
            int(include_delayed),
            abstract_stores.SCAN_LIMIT,
            MAX_SKIPPED_BYTES,
        )
        messages = message_codec.decode_all(flat, now)
        if len(messages) == limit and messages:
            return Page(messages, messages[-1].marker)
        return Page(messages, make_marker(int(resume)) if resume else None)

    def get(
        self, qid: str, ids: Sequence[str], *, now: int
    ) -> Sequence[Message]:
        wanted = [*filter(is_id, dict.fromkeys(ids))]
        flat = self._run(scripts.GET, qid, now, len(wanted), *wanted)
        return sorted(
            message_codec.decode_all(flat, now), key=lambda item: item.marker
        )

    def inspect(
        self, qid: str, message_id: str, *, now: int
    ) -> Inspected | None:
        for message in self.get(qid, [message_id], now=now):
            end = 0
            if message.group is not None and message.claim_id is None:
                (answer,) = self._run(scripts.GROUP, qid, now, message.group)
                end = int(answer)
            return Inspected(message, end or None)
        return None

    def delete(
        self, qid: str, message_id: str, *, now: int, claim_id: str | None
    ) -> None:
        wanted = message_id if is_id(message_id) else NO_MESSAGE
        claim = '' if claim_id is None else message_codec.claim_id(claim_id)
        self._run(scripts.DELETE, qid, now, claim, wanted)

    def delete_many(
        self,
        qid: str,
        ids: Sequence[str],
        *,
        now: int,
        claim_ids: Sequence[str] | None = None,
    ) -> None:
        claims: list[Any] = [-1]
        if claim_ids is not None:
            claims = [len(claim_ids), *map(message_codec.claim_id, claim_ids)]
        wanted = [*filter(is_id, ids)]
        self._run(scripts.DELETE_MANY, qid, now, *claims, len(wanted), *wanted)

    def pop(self, qid: str, *, now: int, limit: int) -> Sequence[Message]:
        # By a connection of its own: what is deleted here is lost with the
        # answer, and a shared one would lose those of many.
        flat = offload_to(self, self._run_to_end, scripts.POP, qid, now, limit)
        return message_codec.decode_all(flat, now)

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
        only: Sequence[str] | None = None,
    ) -> Claim | None:
        wanted: tuple[Any, ...] = ()
        if only is not None:
            named = [*filter(is_id, dict.fromkeys(only))]
            wanted = len(named), *named
        answer = self._run_to_end(
            scripts.CLAIM,
            qid,
            now,
            claim_id,
            ttl,
            grace,
            limit,
            max_claims,
            abstract_stores.MAX_EXHAUSTED,
            MAX_SKIPPED,
            '' if version is None else version,
            *wanted,
        )
        if not answer:
            return None
        claim_ttl, expires_at, *flat = answer
        fresh: list[Message] = []
        exhausted: list[Message] = []
        messages = message_codec.decode_all(flat, now)
        if not max_claims:
            return Claim(claim_id, int(claim_ttl), int(expires_at), messages)
        for message, record in zip(messages, flat[2::3], strict=True):
            is_exhausted = message_codec.is_exhausted(record)
            (exhausted if is_exhausted else fresh).append(message)
        return Claim(
            claim_id, int(claim_ttl), int(expires_at), fresh, exhausted
        )

    def claimed(self, qid: str, claim_id: str, *, now: int) -> Claim | None:
        claim = message_codec.claim_id(claim_id)
        answer = self._run(scripts.CLAIMED, qid, now, claim)
        if len(answer) < 3:
            return None
        ttl, expires_at, *flat = answer
        messages = message_codec.decode_all(flat, now)
        return Claim(claim_id, int(ttl), int(expires_at), messages)

    def renew(
        self, qid: str, claim_id: str, *, now: int, ttl: int, grace: int
    ) -> bool:
        claim = message_codec.claim_id(claim_id)
        return bool(self._run(scripts.RENEW, qid, now, claim, ttl, grace)[0])

    def settle(
        self,
        qid: str,
        claim_id: str,
        settlements: Sequence[Settlement],
        *,
        now: int,
    ) -> Sequence[bool] | None:
        claim = message_codec.claim_id(claim_id)
        places, arguments = settlement_script_call.arguments(settlements, now)
        answer = self._run(scripts.SETTLE, qid, now, claim, *arguments)
        return settlement_script_call.results(places, answer, len(settlements))

    def release(self, qid: str, claim_id: str, *, now: int) -> None:
        claim = message_codec.claim_id(claim_id)
        self._run(scripts.RELEASE, qid, now, claim)

    def stats(self, qid: str, *, now: int) -> Stats:
        return queue_statistics.decode(
            self._run_to_end(scripts.STATS, qid, now, message_codec.HEAD_SIZE)
        )

    def stats_of(self, qids: Sequence[str], *, now: int) -> Sequence[Stats]:
        return queue_statistics.of_many(self._client, qids, now)

    def guarantees(self, qid: str) -> Guarantees:
        return durability_and_failover_guarantees.read(self._client, qid)

    def held_bytes(self, qids: Sequence[str], *, now: int) -> int:
        answers = script_for_many_queues.run(
            self._client, scripts.BYTES, qids, now, SAMPLE
        )
        # One that was dropped has no size.
        return sum(int(size) for _, *rest in answers.values() for size in rest)

    def availability(
        self, qids: Sequence[str], *, now: int
    ) -> Sequence[Availability]:
        return free_message_counts_and_wake_times.look(self._client, qids, now)

    def watch(self, changed: OnChange) -> Watch | None:
        return self._watches.open(changed)

    def purge(self, qid: str, *, now: int) -> None:
        self._run(scripts.PURGE, qid, now)

    def drop(self, qid: str, *, now: int) -> None:
        # A queue that was dropped before keeps its tombstone.
        self._call(scripts.DROP, qid, now, TOMBSTONE_EXPIRY)

    def mark_subscribed(self, qid: str, *, now: int) -> None:
        self._run(scripts.MARK, qid, now, 'set')

    def subscribed_epoch(self, qid: str, *, now: int) -> int:
        return int(self._run(scripts.READ_MARK, qid, now, 'get')[0])

    def unmark_subscribed(self, qid: str, epoch: int, *, now: int) -> bool:
        keys = scripts.MARK.keys(self._client.prefix, qid, now)
        status, *cleared = self._client.run(
            scripts.MARK, keys, (now, 'clear', epoch), pass_repeated=True
        )
        _check(status)
        return bool(cleared[0])

    def volume(self, *, now: int) -> Stats:
        return message_count_estimate.count_messages(self._client, now)

    def sweep(self, *, now: int, batch: int) -> int:
        return self._sweeper.sweep(now, batch)

    def close(self) -> None:
        self._client.close()

    def _call(
        self, script: Script, qid: str, now: int, *arguments: Any
    ) -> Any:
        keys = script.keys(self._client.prefix, qid, now)
        return self._client.run(script, keys, (now, *arguments))

    def _run(self, script: Script, qid: str, now: int, *arguments: Any) -> Any:
        status, *answer = self._call(script, qid, now, *arguments)
        _check(status)
        return answer

    def _run_to_end(
        self, script: Script, qid: str, now: int, *arguments: Any
    ) -> Any:
        """Run a script until it has done its own work.

        Usually that is once. After very many messages have expired or come
        back at the same time it takes several calls, so that none of them
        blocks the server for long.
        """
        began = time.monotonic()
        budget = scripts.FIRST_BUDGET
        while True:
            status, *answer = self._call(script, qid, now, budget, *arguments)
            if status != Status.AGAIN:
                if status:
                    _check(status)
                return answer
            if time.monotonic() > request_deadline.cap(began + DEADLINE):
                raise StoreUnavailable
            budget = scripts.NEXT_BUDGET


def _check(status: int) -> None:
    if status == Status.GONE:
        raise QueueGone
    if status == Status.STALE:
        raise StaleMetadata
    if status == Status.CLAIMED:
        raise deletion_error_texts.message_claimed()
    if status == Status.INVALID:
        raise deletion_error_texts.message_free()
    if status == Status.UNKNOWN:
        raise deletion_error_texts.unknown_claim()
