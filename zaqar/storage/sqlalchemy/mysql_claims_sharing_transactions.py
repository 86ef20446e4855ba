# SPDX-License-Identifier: Apache-2.0
"""Claims of several callers in one transaction (MariaDB, MySQL)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from zaqar.objects import Claim
from zaqar.storage.group_commit import Sharing
from zaqar.storage.sqlalchemy import (
    claiming_in_several_statements,
    stored_claims,
)
from zaqar.storage.sqlalchemy.claim_request import ClaimRequest
from zaqar.storage.sqlalchemy.claimable_rows import select_free_of_each
from zaqar.storage.sqlalchemy.claimable_rows_of_groups import (
    IncompleteSearchError,
    Taken,
)
from zaqar.storage.sqlalchemy.claiming_in_several_statements import Share
from zaqar.storage.sqlalchemy.statement_execution import Row, SqlSession


def claim(
    session: SqlSession, requests: Sequence[ClaimRequest]
) -> list[Claim | Sharing | None]:
    """Claim messages for several callers.

    That a claim is new shows in its INSERT.
    """
    now = max(request.lifetime['now'] for request in requests)
    groups: dict[str, list[ClaimRequest]] = {}
    for request in requests:
        group = groups.setdefault(request.qid, [])
        # With other terms the same rows would be found again.
        if not group or request.terms == group[0].terms:
            group.append(request.at(now))
    left: set[str] = set()
    shares = {
        (share.request.qid, share.request.claim_id): share
        for share in _share_out(session, [*groups.values()], left)
    }
    if not shares:
        # Nobody waits for our locks while it is found out why.
        return [
            _repeated_claim(session, request)
            if request.qid not in left
            and request.terms == groups[request.qid][0].terms
            else Sharing.DO_ALONE
            for request in requests
        ]
    session.later_many(
        claiming_in_several_statements.INSERT_CLAIM,
        [share.values for share in shares.values()],
    )
    claiming_in_several_statements.hold(session, [*shares.values()])
    return [
        share.claim()
        if (share := shares.pop((request.qid, request.claim_id), None))
        else Sharing.DO_ALONE
        for request in requests
    ]


def _repeated_claim(
    session: SqlSession, request: ClaimRequest
) -> Claim | Sharing | None:
    try:
        return stored_claims.repeated_claim(session, request)
    except IncompleteSearchError:
        return Sharing.DO_ALONE


def _share_out(
    session: SqlSession,
    groups: Sequence[Sequence[ClaimRequest]],
    left: set[str],
) -> Iterator[Share]:
    """Give those who claim from a queue consecutive shares of its rows.

    :param groups: the claims from each queue
    :param left: gets the queues that are left out: whoever claims alone takes
        what comes next in the groups of these messages, too
    """
    limits = [sum(request.limit for request in group) for group in groups]
    free = select_free_of_each(
        session,
        [
            group[0].free_rows(limit)
            for group, limit in zip(groups, limits, strict=True)
        ],
    )
    worn = _select_exhausted(
        session, [group[0] for group in groups], free, limits
    )
    for group, limit, rows, exhausted in zip(
        groups, limits, free, worn, strict=True
    ):
        if (
            rows is None
            or exhausted is None
            or not Taken(rows, exhausted).are_all(limit)
        ):
            left.add(group[0].qid)
            continue
        for request in group:
            taken, rows = rows[: request.limit], rows[request.limit :]
            if taken or exhausted:
                yield Share(request, taken, exhausted)
            exhausted = []


def _select_exhausted(
    session: SqlSession,
    requests: Sequence[ClaimRequest],
    free: Sequence[Sequence[Row] | None],
    limits: Sequence[int],
) -> list[list[Row] | None]:
    """Return and lock exhausted rows of each queue, where they count."""
    exhausted: list[list[Row] | None] = [[] for _ in requests]
    wanted = {
        place: request.exhausted_rows(rows, limit)
        for place, (request, rows, limit) in enumerate(
            zip(requests, free, limits, strict=True)
        )
        if request.max_claims and rows is not None
    }
    each = select_free_of_each(session, [*wanted.values()])
    for place, rows in zip(wanted, each, strict=True):
        exhausted[place] = rows
    return exhausted
