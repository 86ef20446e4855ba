# SPDX-License-Identifier: Apache-2.0
"""Groups whose first messages have expired.

Of such a group nothing is free until what is now the first of it is shown; see
:mod:`.next_free_messages_of_groups`. Posts, claims and pops see to that, and
sweeps.
"""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from zaqar.storage.sqlalchemy import (
    group_locks,
    next_free_messages_of_groups,
    queue_row,
)
from zaqar.storage.sqlalchemy.dialect_clauses import (
    index_hint,
    is_one_of,
)
from zaqar.storage.sqlalchemy.message_rows import IN_GROUP
from zaqar.storage.sqlalchemy.message_sql_fragments import (
    QUEUE,
)
from zaqar.storage.sqlalchemy.statement_execution import SqlSession
from zaqar.storage.sqlalchemy.statement_parameters import (
    CHUNK,
    chunks,
    placeholder_values,
    placeholders,
)

#: Those that expired before they were taken, or while they were held.
_DEAD = (
    'SELECT m.queue_id, m.seq, m.group_key, m.claim_id FROM message m{hint} '
    'WHERE m.queue_id = {queue} AND {where} AND m.expires_at <= :now '
    f'AND m.group_key IS NOT NULL LIMIT {CHUNK}'
)
_DEAD_PARTS = (
    ('message_free', 'm.state = 0'),
    ('message_waking', 'm.state > 0 AND m.wake_at > 0 AND m.wake_at <= :now'),
)


class Dead(NamedTuple):
    """Expired messages that are first in their groups.

    :ivar left: the groups, each with the claims that may hold others of it
    :ivar seqs: the numbers of the messages, by the groups
    """

    queue_id: int
    left: Mapping[str, Collection[str]]
    seqs: Mapping[str, Collection[int]]


def pass_over(
    session: SqlSession,
    queue_id: int,
    left: Mapping[str, Collection[str]],
    now: int,
    seqs: Collection[int] = (),
) -> set[str]:
    """Let locked groups go on whose first messages have expired.

    :param left: the claims that held these, by the keys of the groups
    :param seqs: the numbers of those that are still there
    :returns: the groups with live messages
    """
    dialect = session.dialect
    hint = index_hint(dialect, 'PRIMARY') if dialect == 'mysql' else ''
    for chunk in chunks(sorted(seqs)):
        session.run(
            f'UPDATE message{hint} {next_free_messages_of_groups.HIDE} '
            'WHERE queue_id = :id '
            f'AND {is_one_of(dialect, "seq", "s", len(chunk))} '
            f'AND state + 0 <> {IN_GROUP} AND expires_at + 0 <= :now',
            {'id': queue_id, 'now': now, **placeholder_values('s', chunk)},
        )
    hint = index_hint(dialect, 'message_claim')
    for keys in chunks(sorted(left)):
        claims = sorted({claim_id for key in keys for claim_id in left[key]})
        for some in chunks(claims):
            session.run(
                f'UPDATE message{hint} '
                f'{next_free_messages_of_groups.HIDE} '
                'WHERE queue_id = :id '
                f'AND claim_id IN ({placeholders("c", len(some))}) '
                f'AND group_key IN ({placeholders("k", len(keys))}) '
                'AND state IN (1, 2) AND expires_at <= :now',
                {
                    'id': queue_id,
                    'now': now,
                    **placeholder_values('c', some),
                    **placeholder_values('k', keys),
                },
            )
    return next_free_messages_of_groups.go_on(session, queue_id, left, now)


def mend(session: SqlSession, queue: queue_row.QueueRow, now: int) -> None:
    """Let groups go on whose first messages have expired and were removed.

    :param queue: locked, as it was when they were
    """
    locked = group_locks.lock(session, queue.id, queue.bereft)
    left = {key: queue.bereft[key] for key in locked}
    pass_over(session, queue.id, left, now)


def dead_first(
    session: SqlSession, queue: str, values: Mapping[str, Any]
) -> Dead:
    """Return groups that wait for the sweeper: their first ones have expired.

    :param queue: SQL for the id of the queue
    :param values: its parameters, and ``now``
    """
    results = session.several(
        [
            (
                _DEAD.format(
                    hint=index_hint(session.dialect, index),
                    queue=queue,
                    where=where,
                ),
                values,
            )
            for index, where in _DEAD_PARTS
        ]
    )
    every = [row for rows in results for row in rows]
    left: dict[str, set[str]] = {}
    seqs: dict[str, list[int]] = {}
    for _, seq, key, claim_id in every:
        left.setdefault(key, set()).update({claim_id} - {None})
        seqs.setdefault(key, []).append(seq)
    return Dead(every[0][0] if every else 0, left, seqs)


def has_hidden(session: SqlSession, values: Mapping[str, Any]) -> bool:
    """Tell whether there are groups that :func:`reveal` lets go on."""
    return bool(dead_first(session, QUEUE, values).left)


def reveal(session: SqlSession, values: Mapping[str, Any]) -> bool:
    """Let groups go on whose first messages have expired.

    Else the sweeper does. Within a transaction.

    :returns: whether there are any
    """
    dead = dead_first(session, QUEUE, values)
    locked = group_locks.lock(session, dead.queue_id, dead.left, skip=True)
    pass_over(
        session,
        dead.queue_id,
        {key: dead.left[key] for key in locked},
        values['now'],
        [seq for key in locked for seq in dead.seqs[key]],
    )
    return bool(locked)
