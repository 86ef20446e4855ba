# SPDX-License-Identifier: Apache-2.0
"""The message store on SQL.

Concurrent posts of a process to one queue share a commit. On MariaDB those to
any queues do: posts to a queue that is locked are left out, so that they hold
up no others. They wait for one of the locks, and all that have come when it is
free share a commit, since whoever had it has freed all of its queues. Claims,
which pass over locked rows, share commits there whatever their queues are, and
on MySQL with those of their queue; deletions share one with those of their
queue on both.

On PostgreSQL the hot calls are one statement each, and on MariaDB posts to one
queue are, hence one round trip; other calls there take two, and MySQL runs the
same steps one by one.
"""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from zaqar import store_clock
from zaqar.errors import QueueFull, QueueGone
from zaqar.objects import Claim, Message, NewMessage, Page, Settlement, Stats
from zaqar.random_bytes import token_hex
from zaqar.storage import abstract_stores
from zaqar.storage.group_commit import Batcher
from zaqar.storage.message_ids import is_claim_id
from zaqar.storage.post_call_parameters import PostCall
from zaqar.storage.queues_without_subscribers_cache import UnsubscribedQueues
from zaqar.storage.sqlalchemy import (
    claim_renewal_and_release,
    claim_request,
    durability_and_failover_guarantees,
    free_message_counts_and_wake_times,
    groups_with_ended_claims_or_delays,
    message_count_estimate,
    message_deletion,
    message_reading,
    popping,
    postgresql_single_statement_settlement,
    queue_byte_counts,
    queue_row,
    queue_statistics,
    queue_subscribed_flag,
    settlement_by_deletion_on_sqlite_and_mariadb,
    settlement_in_several_statements,
    stored_claims,
    stranded_group_search,
    sweeping,
)
from zaqar.storage.sqlalchemy.claim_methods_and_batching import Claims
from zaqar.storage.sqlalchemy.claim_request import ClaimRequest
from zaqar.storage.sqlalchemy.database_interface import SqlDatabase
from zaqar.storage.sqlalchemy.grouped_queues_cache import GroupedQueues
from zaqar.storage.sqlalchemy.message_deletion import Deletion
from zaqar.storage.sqlalchemy.posts_sharing_commits import SharedPosts
from zaqar.storage.sqlalchemy.statement_execution import SqlSession
from zaqar.storage.store_guarantees import Guarantees
from zaqar.storage.store_inspection_interface import Inspected
from zaqar.storage.store_watch_interface import Availability, OnChange, Watch


class SqlMessageStore(abstract_stores.MessageStore):
    """Messages and claims in a database.

    :param window: seconds that calls wait for a commit that is under way,
        beside its usual duration, so as to share the next one; 0 to share none
    """

    has_groups = True

    def __init__(self, database: SqlDatabase, window: float) -> None:
        self._database = database
        self.waits_in_greenlets = database.waits_in_greenlets
        self._dialect = database.dialect
        is_sqlite = database.dialect == 'sqlite'
        self.clock = store_clock.Clock(None if is_sqlite else database.now)

        self._deletions: Batcher[Deletion, bool] = Batcher(
            lambda deletions: database.write(
                message_deletion.delete_together, deletions
            ),
            self._delete,
            window,
        )
        self._unsubscribed = UnsubscribedQueues()
        self._posts = SharedPosts(database, window, self._unsubscribed)
        self._grouped = GroupedQueues()
        self._claims = Claims(database, window, self._grouped)
        self._searched = stranded_group_search.Place()

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
        self._database.check_room()
        post = PostCall(qid=qid, messages=messages, **call)
        if post.notice and qid not in self._unsubscribed:
            # Created before anything is locked.
            post.notice()
        ids = self._posts.run(post, limit)
        if isinstance(ids, QueueFull):
            raise ids
        return ids

    def require_version(self, qid: str, version: int, *, now: int) -> None:
        self._database.write(queue_row.require_version, qid, version, now)

    def mark_subscribed(self, qid: str, *, now: int) -> None:
        self._database.write(queue_subscribed_flag.mark_subscribed, qid, now)
        self._unsubscribed.update(qid, 1)

    def subscribed_epoch(self, qid: str, *, now: int) -> int:
        return self._database.read(queue_subscribed_flag.subscribed_epoch, qid)

    def unmark_subscribed(self, qid: str, epoch: int, *, now: int) -> bool:
        return self._database.write(
            queue_subscribed_flag.unmark_subscribed, qid, epoch, now
        )

    def list(self, qid: str, *, now: int, **options: Any) -> Page:
        return self._database.read(
            message_reading.list_page, qid, now=now, **options
        )

    def get(
        self, qid: str, ids: Sequence[str], *, now: int
    ) -> Sequence[Message]:
        return self._database.read(message_reading.get, qid, ids, now)

    def inspect(
        self, qid: str, message_id: str, *, now: int
    ) -> Inspected | None:
        def read(session: SqlSession) -> Inspected | None:
            messages = message_reading.get(session, qid, [message_id], now)
            return message_reading.inspect(session, qid, messages, now)

        return self._database.read(read)

    def delete(
        self, qid: str, message_id: str, *, now: int, claim_id: str | None
    ) -> None:
        deletion = Deletion(qid, message_id, now, claim_id)
        self._grouped.run(
            qid,
            lambda: self._delete_ungrouped(deletion),
            lambda: self._database.write(
                message_deletion.delete, deletion, takes_groups=True
            ),
        )

    def delete_many(
        self,
        qid: str,
        ids: Sequence[str],
        *,
        now: int,
        claim_ids: Sequence[str] | None = None,
    ) -> None:
        write = partial(
            self._database.write,
            message_deletion.delete_many,
            qid,
            ids,
            now,
            claim_ids,
        )
        self._grouped.run(qid, write, partial(write, takes_groups=True))

    def pop(self, qid: str, *, now: int, limit: int) -> Sequence[Message]:
        write = partial(self._database.write, popping.pop, qid, now, limit)
        return groups_with_ended_claims_or_delays.run(
            self._database,
            qid,
            now,
            lambda passes: self._grouped.run(
                qid,
                partial(write, passes_woken=passes),
                partial(write, passes_woken=passes, takes_groups=True),
            ),
        )

    def claim(
        self,
        qid: str,
        *,
        now: int,
        ttl: int,
        grace: int,
        only: Sequence[str] | None = None,
        **terms: Any,
    ) -> Claim | None:
        lifetime = claim_request.lifetime_values(now, ttl, grace)
        request = ClaimRequest(qid, lifetime=lifetime, **terms)
        if only is not None:
            return self._claims.make_alone(request, only)

        return self._claims.make(request)

    def claimed(self, qid: str, claim_id: str, *, now: int) -> Claim | None:
        if not is_claim_id(claim_id):
            return None

        def read(session: SqlSession) -> Claim | None:
            claim = stored_claims.held(session, qid, claim_id, now)
            if claim is None:
                queue_row.check_gone(session, qid)
            return claim

        return self._database.read(read)

    def renew(
        self, qid: str, claim_id: str, *, now: int, ttl: int, grace: int
    ) -> bool:
        if not is_claim_id(claim_id):
            return False
        values = claim_request.lifetime_values(now, ttl, grace)
        return self._database.write(
            claim_renewal_and_release.renew, qid, claim_id, values
        )

    def settle(
        self,
        qid: str,
        claim_id: str,
        settlements: Sequence[Settlement],
        *,
        now: int,
    ) -> Sequence[bool] | None:
        if not is_claim_id(claim_id):
            return None
        call = (qid, claim_id, settlements, now)
        write = partial(
            self._database.write,
            settlement_in_several_statements.settle,
            *call,
        )
        settle = write
        if self._dialect == 'postgresql':
            settle = partial(
                self._database.read,
                postgresql_single_statement_settlement.settle,
                *call,
            )
        elif self._dialect == 'sqlite' or (
            self._database.takes_compounds and qid not in self._grouped
        ):
            with suppress(
                settlement_by_deletion_on_sqlite_and_mariadb.OtherwiseError
            ):
                return self._database.write(
                    settlement_by_deletion_on_sqlite_and_mariadb.settle, *call
                )
        return self._grouped.run(
            qid, settle, partial(write, takes_groups=True)
        )

    def release(self, qid: str, claim_id: str, *, now: int) -> None:
        if not is_claim_id(claim_id):
            return
        write = partial(
            self._database.write,
            claim_renewal_and_release.release,
            qid,
            claim_id,
            now,
        )
        self._grouped.run(qid, write, partial(write, takes_groups=True))

    def stats(self, qid: str, *, now: int) -> Stats:
        return self._database.read(queue_statistics.stats, qid, now)

    def stats_of(self, qids: Sequence[str], *, now: int) -> Sequence[Stats]:
        counts: dict[str, Stats] = {}
        for start in range(0, len(qids), queue_byte_counts.CHUNK):
            chunk = qids[start : start + queue_byte_counts.CHUNK]
            read = queue_statistics.stats_of
            counts |= self._database.read(read, chunk, now)
        return [counts.get(qid, Stats()) for qid in qids]

    def guarantees(self, qid: str) -> Guarantees:
        return self._database.read(durability_and_failover_guarantees.read)

    def volume(self, *, now: int) -> Stats:
        return self._database.read(message_count_estimate.count_messages, now)

    def held_bytes(self, qids: Sequence[str], *, now: int) -> int:
        total = 0
        uncounted: list[str] = []
        for start in range(0, len(qids), queue_byte_counts.CHUNK):
            chunk = qids[start : start + queue_byte_counts.CHUNK]
            some, more = self._database.read(queue_byte_counts.read, chunk)
            total += some
            uncounted += more
        for qid in uncounted[: queue_byte_counts.MOST_BEGUN]:
            with suppress(QueueGone):
                total += self._database.write(
                    queue_byte_counts.begin_counting, qid, now
                )
        return total

    def availability(
        self, qids: Sequence[str], *, now: int
    ) -> Sequence[Availability]:
        return self._database.read(
            free_message_counts_and_wake_times.look, qids, now
        )

    def watch(self, changed: OnChange) -> Watch | None:
        return self._database.watch(changed)

    def purge(self, qid: str, *, now: int) -> None:
        self._database.write(
            queue_row.discard_messages, qid, now, dropped_at=None
        )

    def drop(self, qid: str, *, now: int) -> None:
        self._database.write(
            queue_row.discard_messages, qid, now, dropped_at=now
        )

    def sweep(self, *, now: int, batch: int) -> int:
        removed = self._sweep(now, batch)
        if removed < batch:
            self._heal_groups(now)
        return removed

    def _sweep(self, now: int, batch: int) -> int:
        if not self._database.is_galera:
            return self._database.write(sweeping.sweep, now, batch)
        sweeper = token_hex(16)
        # Committed before it counts.
        if not self._database.write(sweeping.take_turn, sweeper, now):
            return 0
        return self._database.write(
            sweeping.sweep_in_turn, sweeper, now, batch
        )

    def _heal_groups(self, now: int) -> None:
        """Search some groups for those that other programs have stranded."""
        for _ in range(stranded_group_search.MOST_SEARCHES):
            stranded, self._searched = self._database.read(
                stranded_group_search.find_stranded, self._searched
            )
            for queue_id, keys in stranded.items():
                self._database.write(
                    stranded_group_search.heal, queue_id, keys, now
                )
            if self._searched == stranded_group_search.Place():
                break

    def close(self) -> None:
        self._database.close()

    def _delete_ungrouped(self, deletion: Deletion) -> None:
        if self._dialect == 'mysql':
            self._deletions.run(deletion, deletion.qid)
            return
        is_alone = self._dialect == 'postgresql'
        run = self._database.read if is_alone else self._database.write
        if not run(message_deletion.delete_if_allowed, deletion):
            self._delete(deletion)

    def _delete(self, deletion: Deletion) -> bool:
        self._database.write(message_deletion.delete, deletion)
        return True
