# SPDX-License-Identifier: Apache-2.0
"""Locks of groups of messages: their first rows, locked by their keys.

Whoever frees, removes or adds messages of a group locks its first row before,
whatever state that is in. Rows are locked in this order: the queue's, the
first ones of groups by their keys, messages. Claims wait for none of these,
but may wait for others to let woken groups go on; see
:mod:`.groups_with_ended_claims_or_delays`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from zaqar.storage.sqlalchemy import dialect_clauses
from zaqar.storage.sqlalchemy.dialect_clauses import index_hint
from zaqar.storage.sqlalchemy.statement_execution import Row, SqlSession

#: The messages of a group, with places for a name of the table, an index and
#: the key; ``:id`` is the id of the queue.
OF_GROUP = (
    'FROM message {name}{hint} WHERE {name}.queue_id = :id '
    'AND {name}.group_key = {key}'
)
#: The first row of a group. By its number where locked rows are skipped: else
#: the next one would be locked instead.
_FIRST = (
    'SELECT m.group_key, m.seq, m.state, m.expires_at, m.claim_id '
    f'{OF_GROUP} {{only}}ORDER BY m.seq LIMIT 1'
)
_ONLY_FIRST = (
    'AND m.seq = (SELECT f.seq '
    f'{OF_GROUP.replace("{name}", "f")} ORDER BY f.seq LIMIT 1) '
)
#: A write that another node of a Galera cluster sees: locks are those of one.
_TOUCH_QUEUE = (
    'UPDATE message_queue SET waited_until = waited_until + 1 WHERE id = :id'
)


class First(NamedTuple):
    """The first row of a group, locked."""

    key: str
    seq: int
    state: int
    expires_at: int
    claim_id: str | None


def lock(
    session: SqlSession,
    queue_id: int,
    keys: Iterable[str | None],
    *,
    skip: bool = False,
) -> dict[str, First]:
    """Lock the first rows of groups, by their keys.

    :param keys: those of messages; None for one without a group
    :param skip: leave out those that others have locked
    :returns: those that there are
    """
    names = sorted({key for key in keys if key is not None})
    if not names:
        return {}
    if session.spans_nodes:
        session.run(_TOUCH_QUEUE, {'id': queue_id})
    only = _ONLY_FIRST if skip else ''
    sql = dialect_clauses.for_update(
        session, _FIRST.replace('{only}', only), skip=skip
    )
    firsts = [
        First(*row) for row in rows_of_each(session, sql, queue_id, names)
    ]
    return {first.key: first for first in firsts}


def lock_those_of_claim(
    session: SqlSession, queue: str, values: Mapping[str, Any]
) -> tuple[int, Mapping[str, Collection[str]]]:
    """Lock the groups that a claim has messages of.

    :param queue: SQL for the id of the queue
    :param values: its parameters, and ``claim_id``
    :returns: that id, and the groups, each with the claim; 0 and none if it
        has none
    """
    hint = index_hint(session.dialect, 'message_claim')
    rows = session.all(
        f'SELECT DISTINCT m.queue_id, m.group_key FROM message m{hint} '
        f'WHERE m.queue_id = {queue} AND m.claim_id = :claim_id '
        'AND m.group_key IS NOT NULL',
        values,
    )
    if not rows:
        return 0, {}
    keys = [key for _, key in rows]
    lock(session, rows[0][0], keys)
    return rows[0][0], dict.fromkeys(keys, (values['claim_id'],))


def rows_of_each(
    session: SqlSession,
    sql: str,
    queue_id: int,
    keys: Sequence[str],
    now: int = 0,
) -> list[Row]:
    """Return the row, if there is one, that a query finds for each group.

    In the order of the keys, and each by its key: PostgreSQL may have made the
    plan while there were few groups.
    """
    if not keys:
        return []
    hint = index_hint(session.dialect, 'message_group_order')
    values: dict[str, Any] = {'id': queue_id, 'now': now}
    if session.dialect == 'postgresql':
        one = sql.format(name='m', hint='', key='k.key')
        return [
            *session.all(
                'SELECT g.* FROM unnest(:keys::text[]) AS k (key) '
                f'CROSS JOIN LATERAL ({one}) g',
                {**values, 'keys': [*keys]},
            )
        ]
    one = sql.format(name='m', hint=hint, key=':key')
    results = session.several([(one, {**values, 'key': key}) for key in keys])
    return [row for rows in results for row in rows]
