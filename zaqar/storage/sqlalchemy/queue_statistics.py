# SPDX-License-Identifier: Apache-2.0
"""Statistics of queues: how many messages they hold, and of which kinds."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import structs

from zaqar.objects import MessageSpan, Stats
from zaqar.storage.sqlalchemy import grouped_queue_statistics, queue_row
from zaqar.storage.sqlalchemy.dialect_clauses import index_hint
from zaqar.storage.sqlalchemy.message_rows import COLUMNS, message
from zaqar.storage.sqlalchemy.message_sql_fragments import (
    IS_FREE,
    LIVE,
    QUEUE,
    WOKEN,
)
from zaqar.storage.sqlalchemy.statement_execution import Row, SqlSession
from zaqar.storage.sqlalchemy.statement_parameters import (
    placeholder_values,
    placeholders,
)

_HELD = 'm.state > 0 AND m.wake_at > :now AND m.state'
#: What is counted, and the index that covers it.
_COUNTED = (
    (IS_FREE, 'message_free'),
    (WOKEN, 'message_waking'),
    (f'{_HELD} = 2', 'message_waking'),
    (f'{_HELD} = 1', 'message_waking'),
)
_OF_QUEUES = 'FROM message_queue q WHERE q.dropped_at IS NULL'
_END = (
    f'SELECT {COLUMNS} FROM message m WHERE {LIVE} ORDER BY m.seq %s LIMIT 1'
)


def stats(session: SqlSession, qid: str, now: int) -> Stats:
    values = {'qid': qid, 'now': now}
    row = session.one(_counts(session.dialect), values)
    if row is None:
        # There was never a post to it, or it is gone.
        queue_row.check_gone(session, qid)
        return Stats()
    counted = _stats(row)
    oldest = _span(session, values, 'ASC')
    newest = _span(session, values, 'DESC')
    if oldest is None or newest is None:
        return Stats(posted=counted.posted)
    return structs.replace(counted, oldest=oldest, newest=newest)


def stats_of(
    session: SqlSession, qids: Sequence[str], now: int
) -> Mapping[str, Stats]:
    """Return the statistics of queues, without ends, by one query.

    Of those that were seen and are not gone.
    """
    sql = _counts(session.dialect, len(qids))
    values = {'now': now, **placeholder_values('q', qids)}
    return {row[-1]: _stats(row[:-1]) for row in session.all(sql, values)}


def _stats(row: Row) -> Stats:
    posted, free, woken, delayed, claimed, *starts = row[:7]
    in_group, delayed_in_group, held_by_groups, *more = row[7:]
    starts += more
    return Stats(
        free + woken + delayed + (in_group or 0),
        claimed,
        delayed=delayed + (delayed_in_group or 0),
        held_by_groups=held_by_groups or 0,
        oldest_free_at=min(
            (start for start in starts if start is not None), default=None
        ),
        posted=posted,
    )


@functools.lru_cache(maxsize=512)
def _counts(dialect: str, queues: int = 0) -> str:
    """Return the query for how many rows a queue has, and of which kinds.

    It begins with the number of the next message; then comes when the oldest
    claimable ones were posted, and what concerns groups.

    :param queues: how many there are, each with its qid behind the others;
        0 for one queue without
    """

    def rows(kind: str, index: str) -> str:
        hint = index_hint(dialect, index)
        return f'FROM message m{hint} WHERE {LIVE} AND {kind}'

    counts = [f'(SELECT count(*) {rows(*counted)})' for counted in _COUNTED]
    free, woken, *_ = _COUNTED
    starts = [
        f'(SELECT m.created_at {rows(*free)} ORDER BY m.seq LIMIT 1)',
        # Those of groups are claimable only if their groups are free.
        f'(SELECT min(m.created_at) {rows(*woken)} AND m.group_key IS NULL)',
    ]
    columns = ', '.join(
        (
            'q.next_seq',
            *counts,
            *starts,
            grouped_queue_statistics.counts(dialect),
        )
    )
    if not queues:
        return f'SELECT {columns} {_OF_QUEUES} AND q.qid = :qid'
    names = placeholders('q', queues)
    columns = f'{columns}, q.qid'.replace(QUEUE, 'q.id')
    return f'SELECT {columns} {_OF_QUEUES} AND q.qid IN ({names})'


def _span(
    session: SqlSession, values: dict[str, Any], direction: str
) -> MessageSpan | None:
    row = session.one(_END % direction, values)
    if row is None:
        return None
    end = message(row, values['now'])
    return MessageSpan(end.id, end.created_at)
