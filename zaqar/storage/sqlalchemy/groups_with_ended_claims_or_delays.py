# SPDX-License-Identifier: Apache-2.0
"""Groups whose claims or delays have ended are let go on.

On database servers in a transaction of its own, before a claim or a pop takes
what is free. Were it the same one, rivals would meet nothing but rows that it
has locked, most of which it leaves; and where each had locked some, none would
find a whole group. They wait for each other instead.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, TypeVar

from zaqar.storage.sqlalchemy import dialect_clauses
from zaqar.storage.sqlalchemy.database_interface import SqlDatabase
from zaqar.storage.sqlalchemy.dialect_clauses import index_hint
from zaqar.storage.sqlalchemy.group_locks import lock
from zaqar.storage.sqlalchemy.message_rows import DELAYED, FREE
from zaqar.storage.sqlalchemy.message_sql_fragments import QUEUE
from zaqar.storage.sqlalchemy.next_free_messages_of_groups import (
    HIDE,
    change,
    go_on,
)
from zaqar.storage.sqlalchemy.statement_execution import SqlSession
from zaqar.storage.sqlalchemy.statement_parameters import (
    placeholder_values,
    placeholders,
)

T = TypeVar('T')

#: How often a call lets groups go on before it passes over those that wait.
MOST_TURNS = 2

#: Whoever posts groups locks the row of the queue for several round trips.
_TAKE_TURN = (
    'SELECT pg_advisory_xact_lock(id) FROM message_queue WHERE qid = :qid'
)
_LOCK_QUEUE = 'SELECT id FROM message_queue WHERE qid = :qid'

#: Woken messages of groups that a claim deals with.
MOST_WOKEN = 1000
_WAKE = (
    f'UPDATE message{{hint}} SET state = {FREE}, wake_at = 0 '
    f'WHERE queue_id = :id AND {{seqs}} AND state + 0 = {DELAYED}'
)
#: Woken rows of groups. Many may have, of a queue with a default delay: none
#: but the first ones are read.
_WOKEN = (
    'SELECT m.queue_id, m.seq, m.group_key, m.claim_id '
    'FROM message m{hint} WHERE m.queue_id = {queue} AND m.state > 0 '
    'AND m.wake_at > 0 AND m.wake_at <= :now AND m.expires_at > :now '
    f'AND m.group_key IS NOT NULL ORDER BY m.wake_at LIMIT {MOST_WOKEN}'
)


class WokenGroupsError(Exception):
    """Groups whose claims or delays have ended must go on before."""


def run(
    database: SqlDatabase, qid: str, now: int, work: Callable[[bool], T]
) -> T:
    """Work with what is free once groups that have woken go on.

    :param work: takes whether such groups are to be passed over; if not, it
        may raise :class:`WokenGroupsError`, and changes nothing then
    """
    for _ in range(MOST_TURNS):
        with suppress(WokenGroupsError):
            return work(False)
        database.write(_wake, qid, now)
    return work(True)


def _wake(session: SqlSession, qid: str, now: int) -> None:
    values = {'qid': qid, 'now': now}
    sql = _TAKE_TURN
    if session.dialect != 'postgresql':
        sql = dialect_clauses.for_update(session, _LOCK_QUEUE)
    session.one(sql, values)
    wake(session, QUEUE, values)


def wake(session: SqlSession, queue: str, values: Mapping[str, Any]) -> None:
    """Let groups go on whose claims or delays have ended.

    :param queue: SQL for the id of the queue
    :param values: its parameters, and ``now``
    """
    hint = index_hint(session.dialect, 'message_waking')
    sql = _WOKEN.format(hint=hint, queue=queue)
    rows = session.all(
        dialect_clauses.for_update(session, sql, skip=True), values
    )
    if not rows:
        return
    queue_id, now = rows[0][0], values['now']
    delayed = sorted(seq for _, seq, _, claim_id in rows if claim_id is None)
    change(session, _WAKE, queue_id, delayed, now)
    lapsed: dict[str, set[str]] = {}
    for *_, key, claim_id in rows:
        if claim_id is not None:
            lapsed.setdefault(key, set()).add(claim_id)
    # Whoever has locked another one works on it.
    locked = lock(session, queue_id, lapsed, skip=True)
    lapsed = {key: lapsed[key] for key in locked}
    if not lapsed:
        return
    keys, claims = sorted(lapsed), sorted(set().union(*lapsed.values()))
    hint = index_hint(session.dialect, 'message_claim')
    session.run(
        f'UPDATE message{hint} {HIDE} WHERE queue_id = :id '
        f'AND claim_id IN ({placeholders("c", len(claims))}) '
        f'AND group_key IN ({placeholders("k", len(keys))}) '
        'AND state IN (1, 2) AND wake_at <= :now',
        {
            'id': queue_id,
            'now': now,
            **placeholder_values('c', claims),
            **placeholder_values('k', keys),
        },
    )
    go_on(session, queue_id, lapsed, now)
