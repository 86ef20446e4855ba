# SPDX-License-Identifier: Apache-2.0
"""What queues offer to those that wait for messages."""

from collections.abc import Sequence

from zaqar.storage.availability import MAX_FREE, Availability
from zaqar.storage.sqlalchemy.claimable_rows import FREE, WOKEN
from zaqar.storage.sqlalchemy.message_rows import index_hint
from zaqar.storage.sqlalchemy.statement_execution import (
    SqlSession,
    placeholder_values,
    placeholders,
)

#: Rows of a queue ``q``. MariaDB knows no LIMIT within a count of them, so the
#: limit is checked first.
_COUNT = (
    'CASE WHEN (SELECT m.seq FROM message m{hint} WHERE {where} '
    f'ORDER BY m.{{order}} LIMIT 1 OFFSET {MAX_FREE - 1}) IS NULL '
    'THEN (SELECT count(*) FROM message m{hint} WHERE {where}) '
    f'ELSE {MAX_FREE} END'
)
_OF_QUEUE = 'm.queue_id = q.id AND '
_DUE = (
    '(SELECT m.wake_at FROM message m{hint} WHERE m.queue_id = q.id '
    'AND m.state > 0 AND m.wake_at > :now ORDER BY m.wake_at LIMIT 1)'
)


def look(
    session: SqlSession, qids: Sequence[str], now: int
) -> Sequence[Availability]:
    """Tell what each queue offers, in their order."""
    if not qids:
        return []
    free = index_hint(session.dialect, 'message_free')
    waking = index_hint(session.dialect, 'message_waking')
    columns = (
        _COUNT.format(hint=free, where=_OF_QUEUE + FREE, order='seq'),
        _COUNT.format(hint=waking, where=_OF_QUEUE + WOKEN, order='wake_at'),
        _DUE.format(hint=waking),
    )
    keys = _padded(qids)
    rows = session.all(
        f'SELECT q.qid, q.next_seq, {", ".join(columns)} '
        'FROM message_queue q WHERE q.dropped_at IS NULL '
        f'AND q.qid IN ({placeholders("q", len(keys))})',
        {'now': now, **placeholder_values('q', keys)},
    )
    offers = {
        qid: Availability(min(free + woken, MAX_FREE), end, due)
        for qid, end, free, woken, due in rows
    }
    return [offers.get(qid, Availability()) for qid in qids]


def _padded(qids: Sequence[str]) -> Sequence[str]:
    """Repeat the last id, so that there are few different statements."""
    length = 1 << (len(qids) - 1).bit_length()
    return [*qids, *[qids[-1]] * (length - len(qids))]
