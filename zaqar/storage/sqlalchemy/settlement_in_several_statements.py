# SPDX-License-Identifier: Apache-2.0
"""Settlement of messages of a claim in a transaction of several statements."""

import functools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from msgspec import structs

from zaqar.objects import Act, Settlement
from zaqar.storage import rejection_reason_encoding
from zaqar.storage.message_ids import make_id
from zaqar.storage.sqlalchemy import (
    dialect_clauses,
    group_locks,
    next_free_messages_of_groups,
    queue_count_subtraction,
    queue_row,
)
from zaqar.storage.sqlalchemy.claim_request import lifetime_values
from zaqar.storage.sqlalchemy.dialect_clauses import (
    delete_from,
    index_hint,
    is_one_of,
)
from zaqar.storage.sqlalchemy.message_sql_fragments import (
    COUNT,
    DELAY,
    FREED,
    PROLONG,
    QUEUE,
    UNGROUPED,
)
from zaqar.storage.sqlalchemy.statement_execution import SqlSession
from zaqar.storage.sqlalchemy.statement_parameters import placeholder_values

_HELD = (
    'SELECT m.queue_id, m.seq, m.rnd, m.public_id, m.wake_at '
    'FROM {rows} AND m.state = 1 AND m.wake_at > :now '
    'AND m.expires_at > :now ORDER BY m.seq'
)
_ROWS = 'message m{hint} WHERE m.queue_id = {queue} AND m.claim_id = :claim_id'
#: Their numbers are read first, without locks. MySQL would lock the entries of
#: the index before the rows, and whoever claims some of them after their claim
#: has ended does so the other way round. The limit is none: it keeps the inner
#: query from becoming part of the outer one.
_ROWS_BY_NUMBER = (
    f'(SELECT m.queue_id, m.seq FROM {_ROWS} LIMIT 1000000) h '
    'STRAIGHT_JOIN message m{primary} '
    'ON m.queue_id = h.queue_id AND m.seq = h.seq '
    'WHERE m.claim_id = :claim_id'
)
#: The condition that rows are as they were locked: a Galera node ends locks
#: of its own when another one gets ahead. Expressions, so that the rows are
#: found by their key.
_STILL_HELD = "coalesce(claim_id, '') = :claim_id AND state + 0 = 1"

#: The count without a hand-out that has not failed.
UNCOUNTED = f'CASE WHEN {COUNT} > 0 THEN {COUNT} - 1 ELSE 0 END'

_END_CLAIM = (
    'UPDATE claim SET expires_at = :end '
    'WHERE queue_id = :queue_id AND id = :claim_id'
)


def settle(
    session: SqlSession,
    qid: str,
    claim_id: str,
    settlements: Sequence[Settlement],
    now: int,
    *,
    takes_groups: bool = False,
) -> Sequence[bool] | None:
    """Settle messages within a transaction; see the contract.

    :raises GroupedQueueError: the queue has groups
    """
    values = {'qid': qid, 'claim_id': claim_id, 'now': now}
    left: Mapping[str, Collection[str]] = {}
    if takes_groups:
        queue_row.lock_if_counted(session, qid)
        _, left = group_locks.lock_those_of_claim(session, QUEUE, values)
    queue = QUEUE if takes_groups else UNGROUPED
    sql = _held(session.dialect, queue)
    rows, counted = session.several(
        [
            (dialect_clauses.for_update(session, sql), values),
            (queue_row.COUNTED, values),
        ]
    )
    if not rows:
        queue_row.check_gone(session, qid, takes_groups=takes_groups)
        return None
    held = {
        public_id or make_id(seq, rnd): (seq, wake_at)
        for _, seq, rnd, public_id, wake_at in rows
    }
    values['queue_id'] = rows[0][0]
    ends = dict(held.values())
    deleted: list[int] = []
    changed: dict[Settlement, list[int]] = {}
    for item in settlements:
        seq, wake_at = held.get(item.message_id, (None, 0))
        if seq is None:
            continue
        ends[seq] = item.end(now) if item.act is Act.EXTEND else 0
        if item.act is Act.DELETE:
            deleted.append(seq)
        # MySQL does not count a row that stays as it was.
        elif ends[seq] != wake_at:
            alike = structs.replace(item, message_id='')
            changed.setdefault(alike, []).append(seq)
    if deleted:
        _change(session, delete_from(session.dialect), sorted(deleted), values)
    for item, seqs in changed.items():
        _apply(session, item, sorted(seqs), values)
    end = max(ends.values())
    session.later(_END_CLAIM, {**values, 'end': end})
    next_free_messages_of_groups.go_on(session, rows[0][0], left, now)
    # The row of the queue last: posts lock it first.
    for (queue_id,) in counted if deleted else ():
        queue_count_subtraction.subtract_by_key(
            session, qid, queue_id, len(deleted)
        )
    return [item.message_id in held for item in settlements]


@functools.cache
def _held(dialect: str, queue: str) -> str:
    rows = _ROWS_BY_NUMBER if dialect == 'mysql' else _ROWS
    return _HELD.format(
        rows=rows.format(
            hint=index_hint(dialect, 'message_claim'),
            primary=index_hint(dialect, 'PRIMARY'),
            queue=queue,
        )
    )


def _apply(
    session: SqlSession,
    item: Settlement,
    seqs: Sequence[int],
    values: Mapping[str, Any],
) -> None:
    """Settle rows that are locked, all of them alike, and stay."""
    hint = ''
    if session.dialect == 'mysql':
        hint = index_hint(session.dialect, 'PRIMARY')
    _change(
        session,
        f'UPDATE message{hint} SET {_columns(item)}',
        seqs,
        {
            **values,
            **lifetime_values(values['now'], item.seconds, 0),
            'reason': rejection_reason_encoding.encode(item.reason or ''),
        },
    )


def _change(
    session: SqlSession,
    change: str,
    seqs: Sequence[int],
    values: Mapping[str, Any],
) -> None:
    """Change rows that are locked."""
    session.later(
        f'{change} WHERE queue_id = :queue_id '
        f'AND {is_one_of(session.dialect, "seq", "s", len(seqs))} '
        f'AND {_STILL_HELD}',
        {**values, **placeholder_values('s', seqs)},
        rows=len(seqs),
    )


def _columns(item: Settlement) -> str:
    """Return SQL that sets the columns of what is not deleted."""
    if item.act is Act.EXTEND:
        return f'wake_at = :end, {PROLONG}'
    parts = [DELAY if item.seconds else FREED]
    if not item.failed:
        parts.append(f'claim_count = {UNCOUNTED}')
    if item.reason is not None:
        parts.append('reason = :reason')
    return ', '.join(parts)
