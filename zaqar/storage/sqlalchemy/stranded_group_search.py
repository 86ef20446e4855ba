# SPDX-License-Identifier: Apache-2.0
"""Search for groups that have lost the messages that were first in them.

Programs of earlier releases remove expired messages without a thought of
groups. Which group they have stranded is not to be seen in any row: so groups
are searched, some of them with each sweep, and those that a post names.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from zaqar.storage.message_ids import MAX_SEQ
from zaqar.storage.sqlalchemy import (
    group_locks,
    queue_row,
)
from zaqar.storage.sqlalchemy.dialect_clauses import (
    index_hint,
)
from zaqar.storage.sqlalchemy.expired_group_heads import pass_over
from zaqar.storage.sqlalchemy.message_rows import IN_GROUP
from zaqar.storage.sqlalchemy.statement_execution import SqlSession

#: Messages of a group that are read in search of those in front, since they
#: are near its beginning. Behind these the server looks for them, among so
#: many at a time: a statement must end before the call does.
NEAR, STRETCH = 20, 5000

#: Queues and groups that one search looks at, and searches of one sweep.
MOST_QUEUES = 200
MOST_GROUPS = 200
MOST_SEARCHES = 10

_PAGE = (
    'SELECT m.seq, m.state, m.expires_at FROM message m{hint} '
    'WHERE m.queue_id = :id AND m.group_key = :key AND m.seq > :after{front} '
    f'ORDER BY m.seq LIMIT {NEAR}'
)
#: An expression, so that they are found by the index on groups.
_IN_FRONT = f' AND m.seq <= :last AND m.state + 0 <> {IN_GROUP}'
_LAST = (
    'SELECT m.seq FROM message m{hint} '
    'WHERE m.queue_id = :id AND m.group_key = :key AND m.seq > :after '
    f'ORDER BY m.seq LIMIT 1 OFFSET {STRETCH - 1}'
)
_QUEUES = (
    'SELECT id, grouped FROM message_queue WHERE id >= :id ORDER BY id '
    f'LIMIT {MOST_QUEUES}'
)
_NEXT_KEY = (
    '(SELECT m.group_key FROM message m{hint} WHERE m.queue_id = :id '
    'AND m.group_key > {key} ORDER BY m.group_key LIMIT 1)'
)
#: One after another by the index: a list of all would read all messages.
_KEYS = (
    f'WITH RECURSIVE g (name, place) AS (SELECT {_NEXT_KEY}, 1 UNION ALL '
    f'SELECT {_NEXT_KEY.replace("{key}", "g.name")}, g.place + 1 FROM g '
    'WHERE g.name IS NOT NULL AND g.place < :most) '
    'SELECT g.name, (SELECT m.state FROM message m{hint} '
    'WHERE m.queue_id = :id AND m.group_key = g.name '
    'ORDER BY m.seq LIMIT 1) FROM g WHERE g.name IS NOT NULL'
)


class Place(NamedTuple):
    """Where a search goes on: behind a group of a queue."""

    queue_id: int = 0
    key: str = ''


def search(
    session: SqlSession, queue_id: int, keys: Collection[str], now: int
) -> set[str]:
    """Free the first live messages of locked groups that may have lost others.

    By whatever way: who holds what of them is unknown. The server reads such
    a group until it finds something in front, else to its end.

    :returns: the groups with live messages
    """
    present: set[str] = set()
    lost: dict[str, Collection[str]] = {}
    dead: list[int] = []
    for key in sorted(keys):
        for seq, state, expires_at in _messages(session, queue_id, key):
            if state == IN_GROUP:
                continue
            if expires_at > now:
                present.add(key)
                break
            dead.append(seq)
        else:
            lost[key] = ()
    return present | pass_over(session, queue_id, lost, now, dead)


def find_stranded(
    session: SqlSession, after: Place
) -> tuple[Mapping[int, Collection[str]], Place]:
    """Look at some groups.

    :returns: those in which nothing is in front, by the ids of their queues,
        and where to go on: at the beginning after the last one
    """
    stranded: dict[int, set[str]] = {}
    left = MOST_GROUPS
    rows = session.all(_QUEUES, {'id': after.queue_id})
    for queue_id in (queue_id for queue_id, grouped in rows if grouped):
        key = after.key if queue_id == after.queue_id else ''
        firsts = _firsts(session, queue_id, key, left)
        for name, state in firsts:
            if state == IN_GROUP and not _has_front(session, queue_id, name):
                stranded.setdefault(queue_id, set()).add(name)
        left -= len(firsts)
        if left <= 0:
            return stranded, Place(queue_id, firsts[-1][0])
    is_end = len(rows) < MOST_QUEUES
    return stranded, Place() if is_end else Place(rows[-1][0] + 1)


def heal(
    session: SqlSession, queue_id: int, keys: Collection[str], now: int
) -> None:
    """Let stranded groups go on, within a transaction.

    Those that others work on are left for another time.
    """
    if not queue_row.lock_unless_locked(session, [queue_id]):
        locked = group_locks.lock(session, queue_id, keys, skip=True)
        search(session, queue_id, locked, now)


def _firsts(
    session: SqlSession, queue_id: int, after: str, most: int
) -> Sequence[tuple[str, int]]:
    """Return the next groups of a queue, each with the state of its first."""
    hint = index_hint(session.dialect, 'message_group_order')
    rows = session.all(
        _KEYS.format(hint=hint, key=':after'),
        {'id': queue_id, 'after': after, 'most': most},
    )
    return [(name, state) for name, state in rows]


def _has_front(session: SqlSession, queue_id: int, key: str) -> bool:
    return any(
        state != IN_GROUP for _, state, _ in _messages(session, queue_id, key)
    )


def _messages(
    session: SqlSession, queue_id: int, key: str
) -> Iterator[tuple[int, int, int]]:
    """Yield number, state and end of messages of a group, in order.

    The first few, and all that are in front.
    """
    hint = index_hint(session.dialect, 'message_group_order')
    values: dict[str, Any] = {'id': queue_id, 'key': key, 'after': -1}
    rows = session.all(_PAGE.format(hint=hint, front=''), values)
    yield from ((seq, state, end) for seq, state, end in rows)
    is_end = len(rows) < NEAR
    while not is_end:
        if len(rows) == NEAR:
            values['after'] = rows[-1][0]
        last = session.one(_LAST.format(hint=hint), values)
        values['last'] = last[0] if last else MAX_SEQ
        rows = session.all(_PAGE.format(hint=hint, front=_IN_FRONT), values)
        yield from ((seq, state, end) for seq, state, end in rows)
        if len(rows) < NEAR:
            is_end = last is None
            values['after'] = values['last']
