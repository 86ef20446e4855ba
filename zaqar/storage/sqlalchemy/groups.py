# SPDX-License-Identifier: Apache-2.0
"""Groups of messages: which are free, and which are busy until when.

Each group with messages has a row, in the shape of a message: free, or busy
until a moment. So a claim finds free groups as it finds free messages, and
reads the first messages of each; those of busy groups it never meets.

A message of a group that is neither claimed nor released with a delay has the
state :data:`~.message_rows.IN_GROUP`, in which no other claim looks for
messages, and a ``wake_at`` of 0, or of minus the end of its delay: a negative
one is never due.

Rows are locked in this order: the queue's, groups by their keys, messages.
Claims skip groups that are locked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from zaqar.storage.sqlalchemy import queue_state
from zaqar.storage.sqlalchemy.message_rows import index_hint
from zaqar.storage.sqlalchemy.statement_execution import (
    Row,
    SqlSession,
    placeholder_values,
    placeholders,
)

#: Groups of one query.
CHUNK = 100

#: Milliseconds to which ``keep_until`` of new messages is rounded up: as long
#: as no indexed column changes, a post leaves nothing behind on PostgreSQL.
_HOUR = 3_600_000

#: The conditions for free groups; the latter as that for messages, see
#: :data:`.claimable_rows.WOKEN`.
FREE_GROUP = 'g.state = 0'
WOKEN_GROUP = 'g.state = 1 AND g.wake_at > 0 AND g.wake_at <= :now'

_SELECT = (
    'SELECT queue_id, group_key, head_seq, reached FROM message_group '
    'WHERE queue_id = :id AND group_key IN ({}) ORDER BY group_key'
)
#: In the order of the keys, and each by its key, whatever PostgreSQL thinks of
#: the number of groups by a plan that it made while there were few.
_SELECT_EACH = (
    'SELECT g.* FROM unnest(:keys::text[]) AS k (key) CROSS JOIN LATERAL ('
    'SELECT queue_id, group_key, head_seq, reached FROM message_group '
    'WHERE queue_id = :id AND group_key = k.key LIMIT 1 {}) g'
)
_OF_CLAIM = (
    'SELECT DISTINCT m.queue_id, m.group_key FROM message m{hint} '
    'WHERE m.queue_id = {queue} AND m.claim_id = :claim_id '
    'AND m.group_key IS NOT NULL'
)
#: Messages of a group, by its place among some.
_MESSAGES = (
    'FROM message m{hint} WHERE m.queue_id = :id AND m.group_key = :key{at} '
    'AND m.seq >= :head{at} AND m.expires_at > :now'
)
_STATE = (
    f'SELECT {{at}}, (SELECT max(m.wake_at) {_MESSAGES} '
    'AND m.seq <= :reached{at} AND m.state IN (1, 2) AND m.wake_at > :now), '
    f'(SELECT m.seq {_MESSAGES} ORDER BY m.seq LIMIT 1), '
    f'(SELECT -m.wake_at {_MESSAGES} ORDER BY m.seq LIMIT 1)'
)
_UPDATE = (
    'UPDATE message_group SET state = :state, wake_at = :wake_at, '
    'head_seq = :head_seq, keep_until = CASE WHEN keep_until < :keep_until '
    'THEN :keep_until ELSE keep_until END '
    'WHERE queue_id = :id AND group_key = :key'
)
_DELETE = 'DELETE FROM message_group WHERE queue_id = :id AND group_key = :key'
#: An expression, so that the rows are found by their key; see
#: ``_STILL_FREE`` of :mod:`.claiming`.
_OCCUPY = (
    'UPDATE message_group SET state = 1, wake_at = :end, '
    'reached = CASE WHEN reached < :last THEN :last ELSE reached END, '
    'keep_until = CASE WHEN keep_until < :raised_end THEN :raised_end '
    'ELSE keep_until END '
    'WHERE queue_id = :id AND group_key IN ({}) AND wake_at + 0 <= :now'
)
_INSERT = (
    'INSERT INTO message_group (queue_id, group_key, state, wake_at, '
    'head_seq, reached, tail_seq, keep_until) VALUES (:id, :key, :state, '
    ':wake_at, :head_seq, 0, :tail_seq, :keep_until) '
)
#: That the row is changed in any case keeps others, also on another Galera
#: node, from removing it as that of a group without messages.
_APPEND = (
    'ON CONFLICT (queue_id, group_key) DO UPDATE '
    'SET tail_seq = excluded.tail_seq, keep_until = CASE '
    'WHEN message_group.keep_until < excluded.keep_until '
    'THEN excluded.keep_until ELSE message_group.keep_until END'
)
_APPEND_ON_MYSQL = (
    'ON DUPLICATE KEY UPDATE tail_seq = VALUES(tail_seq), '
    'keep_until = GREATEST(keep_until, VALUES(keep_until))'
)
_SET_GROUPED = 'UPDATE message_queue SET grouped = 1 WHERE qid = :qid'


#: In which order they are taken, by the index of each. Many may have woken, of
#: a queue with a default delay: none but the first ones are read.
GROUP_ORDER = {FREE_GROUP: 'g.head_seq', WOKEN_GROUP: 'g.wake_at'}


class Group(NamedTuple):
    """A locked row; see :data:`.tables.group`."""

    queue_id: int
    key: str
    head_seq: int
    reached: int


def append(
    session: SqlSession,
    queue: queue_state.QueueRow,
    qid: str,
    rows: Sequence[Mapping[str, Any]],
) -> None:
    """Note new messages of a queue in its groups, within a transaction.

    :param rows: of :func:`.message_rows.new_row`, in order
    """
    groups: dict[str, dict[str, Any]] = {}
    for row in rows:
        key, hidden_until = row['group_key'], -row['wake_at']
        if key is None:
            continue
        group = groups.setdefault(
            key,
            {
                'id': queue.id,
                'key': key,
                'state': int(hidden_until > 0),
                'wake_at': hidden_until,
                'head_seq': row['seq'],
                'keep_until': 0,
            },
        )
        group['tail_seq'] = row['seq']
        end = -(-row['expires_at'] // _HOUR) * _HOUR
        group['keep_until'] = max(group['keep_until'], end)
    if not groups:
        return
    if not queue.grouped:
        session.later(_SET_GROUPED, {'qid': qid})
    is_mysql = session.dialect == 'mysql'
    sql = _INSERT + (_APPEND_ON_MYSQL if is_mysql else _APPEND)
    _each(session, sql, [groups[key] for key in sorted(groups)])


def lock(
    session: SqlSession,
    queue_id: int,
    keys: Iterable[str | None],
    *,
    skip: bool = False,
) -> list[Group]:
    """Lock groups of a queue.

    :param keys: those of messages; None for one without a group
    :param skip: leave out those that others have locked
    """
    names = sorted({key for key in keys if key is not None})
    if names and session.dialect == 'postgresql':
        wait = queue_state.for_update(session, '', skip=skip)
        rows = session.all(
            _SELECT_EACH.format(wait), {'id': queue_id, 'keys': names}
        )
        return [Group(*row) for row in rows]
    groups: list[Group] = []
    for start in range(0, len(names), CHUNK):
        chunk = names[start : start + CHUNK]
        sql = _SELECT.format(placeholders('key', len(chunk)))
        rows = session.all(
            queue_state.for_update(session, sql, skip=skip),
            {'id': queue_id, **placeholder_values('key', chunk)},
        )
        groups += [Group(*row) for row in rows]
    return groups


def lock_those_of_claim(
    session: SqlSession, queue: str, values: Mapping[str, Any]
) -> list[Group]:
    """Lock the groups that a claim has messages of.

    :param queue: SQL for the id of the queue
    :param values: its parameters, and ``claim_id``
    """
    hint = index_hint(session.dialect, 'message_claim')
    rows = session.all(_OF_CLAIM.format(hint=hint, queue=queue), values)
    if not rows:
        return []
    return lock(session, rows[0][0], [key for _, key in rows])


def occupy(
    session: SqlSession,
    queue_id: int,
    keys: set[str],
    last: int,
    lifetime: Mapping[str, Any],
) -> None:
    """Note that a new claim holds messages of groups that are locked.

    :param last: the last of these messages
    :param lifetime: see :func:`.claiming.lifetime_values`
    """
    if not keys:
        return
    session.later(
        _OCCUPY.format(placeholders('key', len(keys))),
        {
            'id': queue_id,
            'last': last,
            **lifetime,
            **placeholder_values('key', sorted(keys)),
        },
        rows=len(keys),
    )


def regroup(
    session: SqlSession,
    groups: Sequence[Group],
    now: int,
    *,
    keep_until: int = 0,
) -> None:
    """Update locked groups after their messages have changed.

    A group is busy until the last hold of its messages ends, else free from
    its first message on, once that is no longer delayed. One without live
    messages is removed.

    :param keep_until: when the last message expires, if that was changed
    """
    for start in range(0, len(groups), CHUNK):
        _regroup(session, groups[start : start + CHUNK], now, keep_until)


def _regroup(
    session: SqlSession, groups: Sequence[Group], now: int, keep_until: int
) -> None:
    states = _states(session, groups, now)
    updates: list[dict[str, Any]] = []
    empty: list[dict[str, Any]] = []
    for place, hold_end, head, hidden_until in states:
        group = groups[place]
        key = {'id': group.queue_id, 'key': group.key}
        if head is None:
            empty.append(key)
            continue
        wake_at = hold_end or max(hidden_until, 0)
        is_busy = wake_at > now
        updates.append(
            {
                **key,
                'state': int(is_busy),
                'wake_at': wake_at if is_busy else 0,
                'head_seq': head,
                'keep_until': keep_until,
            }
        )
    _each(session, _UPDATE, updates)
    _each(session, _DELETE, empty)


def _states(
    session: SqlSession, groups: Sequence[Group], now: int
) -> Sequence[Row]:
    """Return place, end of the last hold, and number and delay of the head.

    By values that MySQL knows beforehand; else it would read whole groups.
    """
    values: dict[str, Any] = {'id': groups[0].queue_id, 'now': now}
    parts: list[str] = []
    hint = index_hint(session.dialect, 'message_group_order')
    for place, group in enumerate(groups):
        parts.append(_STATE.format(at=place, hint=hint))
        values[f'key{place}'] = group.key
        values[f'head{place}'] = group.head_seq
        values[f'reached{place}'] = group.reached
    return session.all(' UNION ALL '.join(parts), values)


def _each(
    session: SqlSession, sql: str, params: Sequence[Mapping[str, Any]]
) -> None:
    """Run a statement once for each set of parameters, in order."""
    if session.takes_compounds or len(params) == 1:
        for values in params:
            session.later(sql, values)
    elif params:
        session.many(sql, params)
