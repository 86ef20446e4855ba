# SPDX-License-Identifier: Apache-2.0
"""Selection of the method by which a claim is made, by its database.

On MariaDB and MySQL claims that wait at the same moment are made in one batch,
and share its commit.
"""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial

from msgspec import structs

from zaqar.objects import Claim
from zaqar.storage.group_commit import MAX_SIZE, Batcher, Sharing
from zaqar.storage.sqlalchemy import (
    claiming_in_several_statements,
    groups_with_ended_claims_or_delays,
    mysql_claims_sharing_transactions,
    postgresql_single_statement_claims,
    stored_claims,
)
from zaqar.storage.sqlalchemy.claim_request import ClaimRequest
from zaqar.storage.sqlalchemy.claimable_rows_of_groups import (
    IncompleteSearchError,
)
from zaqar.storage.sqlalchemy.database_interface import SqlDatabase
from zaqar.storage.sqlalchemy.grouped_queues_cache import GroupedQueues

#: What a message counts when claims share a commit: 256 of them may be read
#: before any of these claims is answered, however long the messages are.
_CLAIMED_SIZE = MAX_SIZE // 256

#: Claims wait for all who claimed before. Where a batch left half of them to
#: the next one, the database would do twice what it does for each batch.
_SHARE = 1.0


class Claims:
    """Makes claims.

    :param window: seconds that calls wait for a commit that is under way,
        beside its usual duration, so as to share the next one; 0 to share none
    """

    def __init__(
        self, database: SqlDatabase, window: float, grouped: GroupedQueues
    ) -> None:
        self._database = database
        self._grouped = grouped
        self._batcher: Batcher[ClaimRequest, Claim | None] = Batcher(
            self._make_together,
            self.make_alone,
            window,
            lambda request: request.limit * _CLAIMED_SIZE,
            owner=lambda request: request.qid,
            share=_SHARE,
        )

    def make(self, request: ClaimRequest) -> Claim | None:
        """Make a claim, or repeat it; see the contract."""
        if self._database.dialect == 'sqlite':
            return self.make_alone(request)
        now = request.lifetime['now']
        make = partial(self._make, request)
        return groups_with_ended_claims_or_delays.run(
            self._database, request.qid, now, make
        )

    def make_alone(
        self, request: ClaimRequest, only: Sequence[str] | None = None
    ) -> Claim | None:
        """Make a claim in a transaction of its own.

        :param only: ids of the messages that it may get
        """
        try:
            return self._database.write(
                claiming_in_several_statements.claim, request, only
            )
        except claiming_in_several_statements.RepeatedClaimError:
            return self._database.read(stored_claims.repeated, request)

    def _make(self, request: ClaimRequest, passes_woken: bool) -> Claim | None:
        if passes_woken:
            request = structs.replace(request, passes_woken=True)
            return self.make_alone(request)
        if self._database.dialect == 'mysql':
            is_shared = self._database.takes_compounds
            return self._batcher.run(
                request, None if is_shared else request.qid
            )
        return self._make_in_one_statement(request)

    def _make_in_one_statement(self, request: ClaimRequest) -> Claim | None:
        read = self._database.read
        with suppress(IncompleteSearchError):
            return self._grouped.run(
                request.qid,
                partial(
                    read,
                    postgresql_single_statement_claims.claim_ungrouped,
                    request,
                ),
                partial(
                    read, postgresql_single_statement_claims.claim, request
                ),
            )
        return self.make_alone(request)

    def _make_together(
        self, requests: Sequence[ClaimRequest]
    ) -> Sequence[Claim | Sharing | None]:
        database = self._database
        if len({request.qid for request in requests}) > 1:
            return database.write_or_conflict(
                mysql_claims_sharing_transactions.claim, requests
            )
        return database.write(
            mysql_claims_sharing_transactions.claim, requests
        )
