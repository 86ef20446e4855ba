# SPDX-License-Identifier: Apache-2.0
"""Reading of messages: pages, single ones, and what holds one up."""

import functools
from collections.abc import Sequence
from typing import Any

from zaqar.objects import Message, Page
from zaqar.storage.abstract_stores import SCAN_LIMIT
from zaqar.storage.message_ids import make_marker, parse_id, parse_marker
from zaqar.storage.sqlalchemy import dialect_clauses, queue_row
from zaqar.storage.sqlalchemy.dialect_clauses import index_hint, is_one_of
from zaqar.storage.sqlalchemy.message_rows import COLUMNS, message, seq_of
from zaqar.storage.sqlalchemy.message_sql_fragments import (
    IS_FREE,
    LIVE,
    QUEUE,
    WOKEN,
    order,
)
from zaqar.storage.sqlalchemy.statement_execution import Row, SqlSession
from zaqar.storage.sqlalchemy.statement_parameters import (
    placeholder_values,
    placeholders,
)
from zaqar.storage.store_inspection_interface import Inspected

_DELAYED = 'm.state = 2 AND m.wake_at > :now'
_ANY = '1 = 1'
_NOT_DELAYED = '(m.state <> 2 OR m.wake_at <= :now) AND m.wake_at >= :earliest'
_IN_GROUP = 'm.state = 3'
_FREE_IN_GROUP = f'{_IN_GROUP} AND m.wake_at >= :earliest'

#: The index for a condition, where queue order would be slow.
#: MySQL has no partial indexes, so its ``message_free`` holds all states.
_INDEXES = {
    IS_FREE: 'message_free',
    WOKEN: 'message_waking',
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
        queue_row.check_gone(session, qid)
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
        return IS_FREE, WOKEN, _DELAYED, _IN_GROUP
    return IS_FREE, WOKEN, _FREE_IN_GROUP


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
        f'WHERE {LIVE} AND {_behind(dialect, kind)} '
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
    if dialect == 'postgresql' and kind == IS_FREE:
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
        f'FROM message m{_hint(session.dialect, kind)} WHERE {LIVE} '
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
    sql = f'SELECT {COLUMNS} FROM message m{hint} WHERE {LIVE} AND {condition}'
    if lock:
        sql = dialect_clauses.for_update(session, sql + ' ORDER BY m.seq')
    return session.all(
        sql, {'qid': qid, 'now': now, **placeholder_values('k', keys)}
    )


def get(
    session: SqlSession, qid: str, ids: Sequence[str], now: int
) -> Sequence[Message]:
    rows = find(session, qid, ids, now)
    if not rows:
        queue_row.check_gone(session, qid)
    return [message(row, now) for row in rows]


_BUSY_UNTIL = (
    f'SELECT max(m.wake_at) FROM message m{{hint}} WHERE m.queue_id = {QUEUE} '
    'AND m.state > 0 AND m.wake_at > :now AND m.group_key = :key'
)


def inspect(
    session: SqlSession, qid: str, messages: Sequence[Message], now: int
) -> Inspected | None:
    """Return a message, if there is one, with what its group waits for."""
    for one in messages:
        busy_until = None
        if one.group is not None and one.claim_id is None:
            values = {'qid': qid, 'key': one.group, 'now': now}
            hint = index_hint(session.dialect, 'message_waking')
            row = session.one(_BUSY_UNTIL.format(hint=hint), values)
            busy_until = row[0] if row else None
        return Inspected(one, busy_until)
    return None
