# SPDX-License-Identifier: Apache-2.0
"""What revision 016 does to the messages of groups, in small steps (MySQL).

There a change of many rows locks them all until it is committed, and what it
reads of other tables or by subqueries as well. So that all else goes on beside
it, rows are read first, without locks, and changed by their keys, some at a
time. Whoever begins again after an interruption goes through all of them and
changes what is left.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import sqlalchemy as sa

from zaqar.storage.sqlalchemy.statement_execution import Row

#: Rows that are changed between two commits.
CHUNK = 500

#: The claim of messages that wait after a release while none of their group is
#: held: there is no such one.
NO_CLAIM = 'delayed'

_NOW = 'SELECT CAST(floor(unix_timestamp(sysdate(3)) * 1000) AS SIGNED)'
_QUEUES = (
    'SELECT id FROM message_queue WHERE grouped = 1 AND id > :last '
    'ORDER BY id LIMIT :most'
)
_HELD = (
    'SELECT seq, group_key, state, wake_at, claim_id '
    'FROM message FORCE INDEX (message_waking) WHERE queue_id = :id '
    'AND (wake_at > :wake_at OR wake_at = :wake_at AND seq > :seq) '
    'AND state IN (1, 2) AND group_key IS NOT NULL '
    'ORDER BY wake_at, seq LIMIT :most'
)
#: Those that an earlier try has shown and that have expired since.
_DEAD = (
    'SELECT expires_at, queue_id, seq '
    'FROM message FORCE INDEX (message_expiry) '
    'WHERE expires_at BETWEEN :last AND :now AND (expires_at > :last '
    'OR queue_id > :id OR queue_id = :id AND seq > :seq) '
    'AND state + 0 = 0 AND group_key IS NOT NULL '
    'ORDER BY expires_at, queue_id, seq LIMIT :most'
)
#: Index alone, and in its order.
_FIRST = (
    'SELECT group_key, min(CASE WHEN expires_at > :now THEN seq END) '
    'FROM message FORCE INDEX (message_group_order) WHERE queue_id = :id '
    'AND group_key > :last GROUP BY group_key ORDER BY group_key LIMIT :most'
)
#: On another node of a Galera cluster, where our lock means nothing, somebody
#: else may have come to the end: messages are taken from then on.
_CHANGE = (
    'UPDATE message FORCE INDEX (PRIMARY) SET {changes} '
    'WHERE queue_id = :id AND seq {seqs} AND {condition} AND NOT EXISTS '
    "(SELECT 1 FROM alembic_version WHERE version_num = '016')"
)
#: Claims and delays that have ended, and what is dead.
_HIDE = _CHANGE.format(
    changes='state = 3, wake_at = 0, claim_id = NULL',
    seqs='IN :seqs',
    condition='state + 0 <> 3 AND wake_at + 0 <= :now',
)
_NAME_CLAIM = _CHANGE.format(
    changes='claim_id = :claim_id', seqs='= :seq', condition='state + 0 = 2'
)
# In this order: MySQL evaluates assignments one after another.
_SHOW = _CHANGE.format(
    changes='state = CASE WHEN wake_at < -:now THEN 2 ELSE 0 END, '
    'wake_at = CASE WHEN wake_at < -:now THEN -wake_at ELSE 0 END',
    seqs='IN :seqs',
    condition='state + 0 = 3',
)
_EMPTY = 'DELETE FROM message_group ORDER BY queue_id, group_key LIMIT :most'


def show(connection: sa.Connection) -> None:
    """Show the first message of each group of which nothing is held.

    And forget the table of groups.
    """
    now = int(connection.scalar(sa.text(_NOW)) or 0)
    _hide_dead(connection, now)
    for queue_id in _queues(connection):
        busy = _settle_held(connection, queue_id, now)
        last = ''
        while rows := _all(
            connection, _FIRST, id=queue_id, now=now, last=last, most=CHUNK
        ):
            last = rows[-1][0]
            seqs = [
                seq for key, seq in rows if seq is not None and key not in busy
            ]
            _change_all(connection, _SHOW, queue_id, seqs, now)
    while connection.execute(sa.text(_EMPTY), {'most': CHUNK}).rowcount:
        commit(connection)


def commit(connection: sa.Connection) -> None:
    """Commit what was changed; the connection goes on as it was."""
    connection.exec_driver_sql('COMMIT')


def _queues(connection: sa.Connection) -> Iterator[int]:
    """Yield the ids of queues with groups."""
    last = 0
    while rows := _all(connection, _QUEUES, last=last, most=CHUNK):
        yield from (queue_id for (queue_id,) in rows)
        last = rows[-1][0]


def _hide_dead(connection: sa.Connection, now: int) -> None:
    """Hide what would be first beside a message behind it that is alive."""
    place = {'last': 0, 'id': 0, 'seq': 0}
    while rows := _all(connection, _DEAD, now=now, most=CHUNK, **place):
        place = dict(zip(place, rows[-1], strict=True))
        seqs: dict[int, list[int]] = {}
        for _, queue_id, seq in rows:
            seqs.setdefault(queue_id, []).append(seq)
        for queue_id, some in seqs.items():
            _change_all(connection, _HIDE, queue_id, some, now)


def _settle_held(
    connection: sa.Connection, queue_id: int, now: int
) -> dict[str, str]:
    """End the holds that have lapsed; name the claims of what waits.

    :returns: the groups of which messages are held, with a claim of each
    """
    busy: dict[str, str] = {}
    for rows in _held(connection, queue_id):
        lapsed = sorted(seq for seq, _, _, end, _ in rows if end <= now)
        _change_all(connection, _HIDE, queue_id, lapsed, now)
        for _, key, state, end, claim_id in rows:
            if end > now:
                former = busy.get(key, NO_CLAIM)
                is_held = state == 1 and claim_id is not None
                busy[key] = claim_id if is_held else former
    for rows in _held(connection, queue_id):
        waiting = [
            {'id': queue_id, 'seq': seq, 'claim_id': busy.get(key, NO_CLAIM)}
            for seq, key, state, _, claim_id in rows
            if state == 2 and claim_id != busy.get(key, NO_CLAIM)
        ]
        if waiting:
            waiting.sort(key=lambda row: row['seq'])
            connection.execute(sa.text(_NAME_CLAIM), waiting)
            commit(connection)
    return busy


def _held(connection: sa.Connection, queue_id: int) -> Iterator[Sequence[Row]]:
    """Yield what is held of groups, or waits after a release, in pages."""
    place = {'wake_at': 0, 'seq': 0}
    while rows := _all(connection, _HELD, id=queue_id, most=CHUNK, **place):
        yield rows
        place = {'wake_at': rows[-1][3], 'seq': rows[-1][0]}


def _all(connection: sa.Connection, sql: str, **values: Any) -> Sequence[Row]:
    """Read rows as they are now, not as they were in an earlier read."""
    rows = connection.execute(sa.text(sql), values).all()
    commit(connection)
    return [tuple(row) for row in rows]


def _change_all(
    connection: sa.Connection,
    sql: str,
    queue_id: int,
    seqs: Sequence[int],
    now: int,
) -> None:
    if not seqs:
        return
    statement = sa.text(sql).bindparams(sa.bindparam('seqs', expanding=True))
    values = {'id': queue_id, 'seqs': sorted(seqs), 'now': now}
    connection.execute(statement, values)
    commit(connection)
