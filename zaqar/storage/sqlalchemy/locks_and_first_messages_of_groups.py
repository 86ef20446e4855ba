# SPDX-License-Identifier: Apache-2.0
"""Locks of groups of messages, and what of each is free next.

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

Whoever frees, removes or adds messages of a group locks its first row before,
whatever state that is in. Rows are locked in this order: the queue's, the
first ones of groups by their keys, messages. Claims wait for none of these,
but may wait for others to let woken groups go on; see
:mod:`.groups_with_ended_claims_or_delays`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from zaqar.storage.sqlalchemy import dialect_clauses
from zaqar.storage.sqlalchemy.dialect_clauses import index_hint, is_one_of
from zaqar.storage.sqlalchemy.message_rows import (
    DELAYED,
    FREE,
    IN_GROUP,
    group_of,
    hold_of,
)
from zaqar.storage.sqlalchemy.statement_execution import (
    Row,
    SqlSession,
    chunks,
    placeholder_values,
    placeholders,
)

_OF_GROUP = (
    'FROM message {name}{hint} WHERE {name}.queue_id = :id '
    'AND {name}.group_key = {key}'
)
#: The first row of a group. By its number where locked rows are skipped: else
#: the next one would be locked instead.
_FIRST = (
    'SELECT m.group_key, m.seq, m.state, m.expires_at, m.claim_id '
    f'{_OF_GROUP} {{only}}ORDER BY m.seq LIMIT 1'
)
_ONLY_FIRST = (
    'AND m.seq = (SELECT f.seq '
    f'{_OF_GROUP.replace("{name}", "f")} ORDER BY f.seq LIMIT 1) '
)
_FIRST_LIVE = (
    'SELECT m.group_key, m.seq, m.state, m.wake_at '
    f'{_OF_GROUP} AND m.expires_at > :now ORDER BY m.seq LIMIT 1'
)
_IS_HELD = 'm.state IN (1, 2)'
HIDE = f'SET state = {IN_GROUP}, wake_at = 0, claim_id = NULL'
_SHOW = (
    f'UPDATE message{{hint}} SET state = CASE WHEN wake_at < -:now '
    f'THEN {DELAYED} ELSE {FREE} END, wake_at = CASE WHEN wake_at < -:now '
    'THEN -wake_at ELSE 0 END WHERE queue_id = :id AND {seqs} '
    f'AND state + 0 = {IN_GROUP}'
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
    firsts = [First(*row) for row in _of_each(session, sql, queue_id, names)]
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
    rows = _of_each(session, _FIRST_LIVE, queue_id, keys, now)
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


def _of_each(
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
