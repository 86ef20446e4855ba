# SPDX-License-Identifier: Apache-2.0
"""What queues offer to those that wait for messages."""

from collections.abc import Mapping, Sequence

from zaqar.storage.sqlalchemy.claimable_rows import FREE, WOKEN
from zaqar.storage.sqlalchemy.dialect_clauses import index_hint
from zaqar.storage.sqlalchemy.statement_execution import Row, SqlSession
from zaqar.storage.store_watch_interface import MAX_FREE, Availability

#: Rows of the queue ``q``.
_ROWS = 'FROM message m{hint} WHERE m.queue_id = q.id AND {where}'
_COUNT = (
    f'(SELECT count(*) FROM (SELECT 1 {_ROWS} ORDER BY {{order}} '
    f'LIMIT {MAX_FREE}) s)'
)
_DUE = f'(SELECT m.wake_at {_ROWS} ORDER BY m.wake_at LIMIT 1)'
_WAKING = 'm.state > 0 AND m.wake_at > :now'
#: MySQL uses an index up to a range only for a queue that it knows before,
#: and of many queues reads just the ends of each if it does nothing else.
#: A derived table cannot refer to ``q`` on MariaDB, which turns lists of a
#: thousand into such tables.
_CHUNK = 500
_FREE_ON_MYSQL = (
    'SELECT q.id, q.qid, q.next_seq, q.grouped, '
    f'CASE WHEN (SELECT m.seq {_ROWS} '
    f'ORDER BY m.seq LIMIT 1 OFFSET {MAX_FREE - 1}) IS NULL '
    f'THEN (SELECT count(*) {_ROWS}) ELSE {MAX_FREE} END '
    'FROM message_queue q FORCE INDEX (PRIMARY) '
    'WHERE q.dropped_at IS NULL AND q.qid IN :keys'
).format(hint=index_hint('mysql', 'message_free'), where=FREE)
_WAKING_HINT = index_hint('mysql', 'message_waking')
_FIRST_WAKING = (
    f'SELECT m.queue_id, min(m.wake_at) FROM message m{_WAKING_HINT} '
    'WHERE m.queue_id IN :keys AND m.wake_at BETWEEN :first AND :last '
    'GROUP BY m.queue_id'
)
_COUNT_WOKEN = (
    f'SELECT count(*) FROM (SELECT 1 FROM message m{_WAKING_HINT} '
    f'WHERE m.queue_id = :id AND {WOKEN} LIMIT {MAX_FREE}) s'
)
_LAST = 2**63 - 1


def look(
    session: SqlSession, qids: Sequence[str], now: int
) -> Sequence[Availability]:
    """Tell what each queue offers, in their order."""
    read = _read_on_mysql if session.dialect == 'mysql' else _read
    offers = {
        qid: Availability(min(free, MAX_FREE), end, due, bool(grouped))
        for qid, end, free, due, grouped in read(session, qids, now)
    }
    return [offers.get(qid, Availability()) for qid in qids]


def _read(session: SqlSession, qids: Sequence[str], now: int) -> Sequence[Row]:
    free = index_hint(session.dialect, 'message_free')
    waking = index_hint(session.dialect, 'message_waking')
    select = (
        'SELECT q.qid, q.next_seq, '
        f'{_COUNT.format(hint=free, where=FREE, order="m.seq")}, '
        f'{_COUNT.format(hint=waking, where=WOKEN, order="m.wake_at")}, '
        f'{_DUE.format(hint=waking, where=_WAKING)}, q.grouped '
        'FROM message_queue q WHERE q.dropped_at IS NULL AND q.qid '
    )
    if session.dialect == 'postgresql':
        values = {'now': now, 'qids': [*qids]}
        rows = session.all(f'{select}= ANY(:qids::text[])', values)
    else:
        rows = [
            row
            for qid in qids
            for row in session.all(f'{select}= :qid', {'now': now, 'qid': qid})
        ]
    return [
        (qid, end, free + woken, due, grouped)
        for qid, end, free, woken, due, grouped in rows
    ]


def _read_on_mysql(
    session: SqlSession, qids: Sequence[str], now: int
) -> Sequence[Row]:
    queues = _in_chunks(session, _FREE_ON_MYSQL, qids, [{'now': now}])
    ids = [row[0] for row in queues]
    past, future = {'first': 1, 'last': now}, {'first': now + 1, 'last': _LAST}
    waking = _in_chunks(session, _FIRST_WAKING, ids, [past, future])
    woken = [id for id, wake_at in waking if wake_at <= now]
    dues = {id: wake_at for id, wake_at in waking if wake_at > now}
    counts = session.several(
        [(_COUNT_WOKEN, {'id': id, 'now': now}) for id in woken]
    )
    woken_counts = {
        id: count for id, ((count,),) in zip(woken, counts, strict=True)
    }
    return [
        (qid, end, free + woken_counts.get(id, 0), dues.get(id), grouped)
        for id, qid, end, grouped, free in queues
    ]


def _in_chunks(
    session: SqlSession,
    select: str,
    keys: Sequence[str | int],
    values: Sequence[Mapping[str, int]],
) -> list[Row]:
    """Run a query for so many keys at a time, with each of some values.

    In one round trip, or none.
    """
    results = session.several(
        [
            (select, {**one, 'keys': keys[start : start + _CHUNK]})
            for start in range(0, len(keys), _CHUNK)
            for one in values
        ]
    )
    return [row for rows in results for row in rows]
