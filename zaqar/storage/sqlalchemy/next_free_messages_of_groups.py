# SPDX-License-Identifier: Apache-2.0
"""Which message of a group is free next, once the first ones are gone.

Of each group, one claim at a time has messages.

The first message of a group is free, or delayed, as one without a group is:
claims find and lock it likewise. Those behind it have the state
:data:`~.message_rows.IN_GROUP`, in which nobody looks for messages, and a
``wake_at`` of 0, or of minus the end of their delay. A claim that has locked
the first one may take the next ones with it.

So a claim makes its groups busy without a word: none of their messages is
free. Those that are held are all of one claim; one that was released with a
delay still names it. When the last of them is freed or removed, what is then
the first message of the group becomes free.

Groups are locked meanwhile; see :mod:`.group_locks`.
"""

from collections.abc import Collection, Mapping, Sequence

from zaqar.storage.sqlalchemy import group_locks
from zaqar.storage.sqlalchemy.dialect_clauses import index_hint, is_one_of
from zaqar.storage.sqlalchemy.message_rows import (
    DELAYED,
    FREE,
    IN_GROUP,
    group_of,
    hold_of,
)
from zaqar.storage.sqlalchemy.statement_execution import Row, SqlSession
from zaqar.storage.sqlalchemy.statement_parameters import (
    chunks,
    placeholder_values,
    placeholders,
)

_FIRST_LIVE = (
    'SELECT m.group_key, m.seq, m.state, m.wake_at '
    f'{group_locks.OF_GROUP} AND m.expires_at > :now ORDER BY m.seq LIMIT 1'
)
_IS_HELD = 'm.state IN (1, 2)'
HIDE = f'SET state = {IN_GROUP}, wake_at = 0, claim_id = NULL'
_SHOW = (
    f'UPDATE message{{hint}} SET state = CASE WHEN wake_at < -:now '
    f'THEN {DELAYED} ELSE {FREE} END, wake_at = CASE WHEN wake_at < -:now '
    'THEN -wake_at ELSE 0 END WHERE queue_id = :id AND {seqs} '
    f'AND state + 0 = {IN_GROUP}'
)


def holders(rows: Sequence[Row]) -> dict[str, set[str]]:
    """Return the groups that lose their first messages with these.

    :param rows: of :data:`.message_rows.COLUMNS`
    :returns: with the claims that may hold others of each
    """
    left: dict[str, set[str]] = {}
    for row in rows:
        key, (state, _, claim_id) = group_of(row), hold_of(row)
        if key is None or state == IN_GROUP:
            continue
        claims = left.setdefault(key, set())
        if claim_id is not None:
            claims.add(claim_id)
    return left


def go_on(
    session: SqlSession,
    queue_id: int,
    left: Mapping[str, Collection[str]],
    now: int,
) -> set[str]:
    """Free what is now first in locked groups that have lost what was.

    Unless one of these claims holds more of them.

    :param left: the claims, by the keys of the groups
    :returns: the groups with live messages
    """
    claims = sorted({name for names in left.values() for name in names})
    hint = index_hint(session.dialect, 'message_claim')
    busy: set[str] = set()
    for chunk in chunks(claims):
        rows = session.all(
            f'SELECT DISTINCT m.group_key FROM message m{hint} '
            'WHERE m.queue_id = :id '
            f'AND m.claim_id IN ({placeholders("c", len(chunk))}) '
            f'AND {_IS_HELD} AND m.group_key IS NOT NULL',
            {'id': queue_id, **placeholder_values('c', chunk)},
        )
        busy |= {key for (key,) in rows} & left.keys()
    return busy | _show(session, queue_id, sorted(left.keys() - busy), now)


def _show(
    session: SqlSession, queue_id: int, keys: Sequence[str], now: int
) -> set[str]:
    """Make the first live message of each group free, or delayed.

    :returns: the groups that have one
    """
    rows = group_locks.rows_of_each(session, _FIRST_LIVE, queue_id, keys, now)
    seqs = sorted(seq for _, seq, state, _ in rows if state == IN_GROUP)
    change(session, _SHOW, queue_id, seqs, now)
    return {row[0] for row in rows}


def change(
    session: SqlSession,
    sql: str,
    queue_id: int,
    seqs: Sequence[int],
    now: int,
) -> None:
    """Change rows by their numbers, or conflict with who has done so."""
    hint = ''
    if session.dialect == 'mysql':
        hint = index_hint(session.dialect, 'PRIMARY')
    for chunk in chunks(seqs):
        session.later(
            sql.format(
                hint=hint,
                seqs=is_one_of(session.dialect, 'seq', 's', len(chunk)),
            ),
            {'id': queue_id, 'now': now, **placeholder_values('s', chunk)},
            rows=len(chunk),
        )
