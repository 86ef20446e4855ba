# SPDX-License-Identifier: Apache-2.0
"""Queries for messages."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import structs

from zaqar.objects import Message, MessageSpan, Page, Stats
from zaqar.storage.base import SCAN_LIMIT
from zaqar.storage.message_ids import make_marker, parse_id, parse_marker
from zaqar.storage.sqlalchemy import group_statistics, queue_state
from zaqar.storage.sqlalchemy.message_rows import COLUMNS, message, seq_of
from zaqar.storage.sqlalchemy.message_sql_fragments import (
    QUEUE,
    index_hint,
    is_one_of,
    order,
)
from zaqar.storage.sqlalchemy.statement_execution import (
    Row,
    SqlSession,
    placeholder_values,
    placeholders,
)

_LIVE = f'm.queue_id = {QUEUE} AND m.expires_at > :now'
_IS_FREE = 'm.state = 0'
_WOKEN = 'm.state > 0 AND m.wake_at > 0 AND m.wake_at <= :now'
_DELAYED = 'm.state = 2 AND m.wake_at > :now'
_ANY = '1 = 1'
_NOT_DELAYED = '(m.state <> 2 OR m.wake_at <= :now) AND m.wake_at >= :earliest'
_IN_GROUP = 'm.state = 3'
_FREE_IN_GROUP = f'{_IN_GROUP} AND m.wake_at >= :earliest'

#: The index for a condition, where queue order would be slow.
#: MySQL has no partial indexes, so its ``message_free`` holds all states.
_INDEXES = {
    _IS_FREE: 'message_free',
    _WOKEN: 'message_waking',
    _DELAYED: 'message_delayed',
    _IN_GROUP: 'message_in_group',
    _FREE_IN_GROUP: 'message_in_group',
}
#: Those that are partial elsewhere, and that MySQL has no need of.
_FULL_ON_MYSQL = ('message_delayed', 'message_in_group')

_PUBLIC = (
    f'SELECT m.seq FROM message m%s WHERE m.queue_id = {QUEUE} '
    'AND m.public_id = :public_id'
)
_HELD = 'm.state > 0 AND m.wake_at > :now AND m.state'
#: What is counted, and the index that covers it.
_COUNTED = (
    (_IS_FREE, 'message_free'),
    (_WOKEN, 'message_waking'),
    (f'{_HELD} = 2', 'message_waking'),
    (f'{_HELD} = 1', 'message_waking'),
)
_OF_QUEUES = 'FROM message_queue q WHERE q.dropped_at IS NULL'
_END = (
    f'SELECT {COLUMNS} FROM message m WHERE {_LIVE} ORDER BY m.seq %s LIMIT 1'
)


def list_page(
    session: SqlSession,
    qid: str,
    *,
    now: int,
    limit: int,
    marker: str | None = None,
    exclude_client: str | None = None,
    include_claimed: bool = False,
    include_delayed: bool = False,
) -> Page:
    after = _after(session, qid, marker)
    if after is None:
        return Page([])
    values: dict[str, Any] = {
        'qid': qid,
        'now': now,
        'earliest': -now,
        'after': after,
        'client': exclude_client,
    }
    kinds = _kinds(include_claimed, include_delayed)
    sql = _page_sql(session.dialect, kinds, limit, exclude=False)
    rows = session.all(sql, values)
    page = [message(row, now) for row in rows]
    if exclude_client is not None and exclude_client in [
        item.client for item in page
    ]:
        return _filtered_page(session, values, kinds, limit)
    if not page:
        queue_state.check_gone(session, qid)
    return Page(page, page[-1].marker if len(page) == limit else None)


def _filtered_page(
    session: SqlSession,
    values: dict[str, Any],
    kinds: Sequence[str],
    limit: int,
) -> Page:
    """Return a page without the messages of one client.

    Only for a queue whose plain page holds some: it scans far.
    """
    sql = _page_sql(session.dialect, kinds, limit, exclude=True)
    rows = session.all(sql, values)
    end = _scan_end(session, values, kinds)
    page = [
        message(row, values['now'])
        for row in rows
        # Rows beyond the end of the scan belong to the next page.
        if end is None or seq_of(row) <= end
    ]
    if len(page) == limit:
        return Page(page, page[-1].marker)
    return Page(page, None if end is None else make_marker(end))


def _kinds(include_claimed: bool, include_delayed: bool) -> Sequence[str]:
    """Return conditions that select, together, the rows to be shown.

    Each can be read from an index in queue order, or is usually empty.
    """
    if include_claimed:
        return (_ANY,) if include_delayed else (_NOT_DELAYED,)
    if include_delayed:
        return _IS_FREE, _WOKEN, _DELAYED, _IN_GROUP
    return _IS_FREE, _WOKEN, _FREE_IN_GROUP


@functools.lru_cache(maxsize=256)
def _page_sql(
    dialect: str, kinds: Sequence[str], limit: int, *, exclude: bool
) -> str:
    # MySQL writes the result of a subquery to a file if it has a BLOB column,
    # so bodies are fetched last.
    fetch_last = dialect == 'mysql'
    columns = 'm.seq, m.client' if fetch_last else COLUMNS
    parts = ' UNION ALL '.join(
        _part(dialect, kind, columns, limit, exclude) for kind in kinds
    )
    sql = f'SELECT * FROM ({parts}) p ORDER BY seq LIMIT {limit}'
    if fetch_last:
        sql = (
            f'SELECT {COLUMNS} FROM ({sql}) p JOIN message m '
            f'ON m.queue_id = {QUEUE} AND m.seq = p.seq ORDER BY m.seq'
        )
    return sql


def _part(
    dialect: str, kind: str, columns: str, limit: int, exclude: bool
) -> str:
    scan = (
        f'SELECT {columns} FROM message m{_hint(dialect, kind)} '
        f'WHERE {_LIVE} AND {_behind(dialect, kind)} '
        f'AND {kind} ORDER BY {order(kind)} LIMIT '
    )
    if not exclude:
        return f'SELECT * FROM ({scan}{limit}) s'
    return (
        f'SELECT * FROM (SELECT * FROM ({scan}{SCAN_LIMIT}) s '
        f'WHERE client <> :client ORDER BY seq LIMIT {limit}) f'
    )


def _behind(dialect: str, kind: str) -> str:
    """Return the condition for rows behind a number.

    PostgreSQL drops ``state = 0`` from the bounds of the partial index
    ``message_free``, although that column precedes the sequence number, and
    would scan from the beginning of the queue. It keeps a row comparison. The
    same is true of ``message_in_group``.
    """
    if dialect == 'postgresql' and kind == _IS_FREE:
        return '(m.state, m.seq) > (0, :after)'
    if dialect == 'postgresql' and kind in (_IN_GROUP, _FREE_IN_GROUP):
        return '(m.state, m.seq) > (3, :after)'
    return 'm.seq > :after'


def _hint(dialect: str, kind: str) -> str:
    index = _INDEXES.get(kind)
    return _hint_of(dialect, index) if index else ''


def _hint_of(dialect: str, index: str) -> str:
    if dialect == 'mysql' and index in _FULL_ON_MYSQL:
        index = 'message_free'
    return index_hint(dialect, index)


def _scan_end(
    session: SqlSession, values: dict[str, Any], kinds: Sequence[str]
) -> int | None:
    """Return the last number of a page's scan, None for the end."""
    parts = ' UNION ALL '.join(
        'SELECT * FROM (SELECT m.seq '
        f'FROM message m{_hint(session.dialect, kind)} WHERE {_LIVE} '
        f'AND {_behind(session.dialect, kind)} AND {kind} '
        f'ORDER BY {order(kind)} '
        f'LIMIT 1 OFFSET {SCAN_LIMIT - 1}) s'
        for kind in kinds
    )
    row = session.one(f'SELECT min(seq) FROM ({parts}) p', values)
    return row[0] if row else None


def _after(session: SqlSession, qid: str, marker: str | None) -> int | None:
    """Return the number before a page, None for an invalid marker."""
    if marker is None:
        return -1
    seq = parse_marker(marker)
    if seq is not None:
        return seq
    halves = parse_id(marker)
    if halves is None:
        return None
    # The number in a dead letter's id is that of another queue.
    hint = index_hint(session.dialect, 'message_public')
    row = session.one(_PUBLIC % hint, {'qid': qid, 'public_id': marker})
    return row[0] if row else halves[0]


def find(
    session: SqlSession,
    qid: str,
    ids: Sequence[str],
    now: int,
    *,
    lock: bool = False,
) -> list[Row]:
    """Return rows of the live messages among ``ids``, in queue order."""
    halves = {text: parsed for text in ids if (parsed := parse_id(text))}
    if not halves:
        return []
    rows = {
        seq_of(row): row
        for row in _select(
            session,
            qid,
            now,
            'seq',
            sorted({seq for seq, _ in halves.values()}),
            lock,
        )
        if message(row, now).id in halves
    }
    missing = set(halves) - {message(row, now).id for row in rows.values()}
    if missing:
        letters = _select(session, qid, now, 'public_id', [*missing], lock)
        rows |= {seq_of(row): row for row in letters}
    return [rows[seq] for seq in sorted(rows)]


def _select(
    session: SqlSession,
    qid: str,
    now: int,
    column: str,
    keys: Sequence[Any],
    lock: bool,
) -> Sequence[Row]:
    hint = ''
    if column == 'public_id':
        hint = index_hint(session.dialect, 'message_public')
        condition = f'm.public_id IN ({placeholders("k", len(keys))})'
    else:
        if session.dialect == 'mysql':
            # By others it would lock, for a moment, rows that nobody wants.
            hint = index_hint(session.dialect, 'PRIMARY')
        condition = is_one_of(session.dialect, 'm.seq', 'k', len(keys))
    sql = (
        f'SELECT {COLUMNS} FROM message m{hint} WHERE {_LIVE} AND {condition}'
    )
    if lock:
        sql = queue_state.for_update(session, sql + ' ORDER BY m.seq')
    return session.all(
        sql, {'qid': qid, 'now': now, **placeholder_values('k', keys)}
    )


def get(
    session: SqlSession, qid: str, ids: Sequence[str], now: int
) -> Sequence[Message]:
    rows = find(session, qid, ids, now)
    if not rows:
        queue_state.check_gone(session, qid)
    return [message(row, now) for row in rows]


def stats(session: SqlSession, qid: str, now: int) -> Stats:
    values = {'qid': qid, 'now': now}
    row = session.one(_counts(session.dialect), values)
    if row is None:
        # There was never a post to it, or it is gone.
        queue_state.check_gone(session, qid)
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

    def rows(kind: str) -> str:
        hint = index_hint(dialect, _INDEXES[kind])
        return f'FROM message m{hint} WHERE {_LIVE} AND {kind}'

    counts = [
        f'(SELECT count(*) FROM message m{index_hint(dialect, index)} '
        f'WHERE {_LIVE} AND {kind})'
        for kind, index in _COUNTED
    ]
    starts = [
        f'(SELECT m.created_at {rows(_IS_FREE)} ORDER BY m.seq LIMIT 1)',
        # Those of groups are claimable only if their groups are free.
        f'(SELECT min(m.created_at) {rows(_WOKEN)} AND m.group_key IS NULL)',
    ]
    columns = ', '.join(
        ('q.next_seq', *counts, *starts, group_statistics.counts(dialect))
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
