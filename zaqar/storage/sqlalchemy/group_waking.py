# SPDX-License-Identifier: Apache-2.0
"""Groups whose claims or delays have ended, on database servers.

They go on in a transaction of its own, before a claim or a pop takes what is
free. Were it the same one, rivals would meet nothing but rows that it has
locked, most of which it leaves; and where each had locked some, none would
find a whole group. They wait for each other instead.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from zaqar.storage.sqlalchemy import (
    dialect_clauses,
    group_locking,
)
from zaqar.storage.sqlalchemy.abstract_database import SqlDatabase
from zaqar.storage.sqlalchemy.claimable_rows import WokenGroupsError
from zaqar.storage.sqlalchemy.message_sql_fragments import QUEUE
from zaqar.storage.sqlalchemy.statement_execution import SqlSession

T = TypeVar('T')

#: How often a call lets groups go on before it passes over those that wait.
MOST_TURNS = 2

#: Whoever posts groups locks the row of the queue for several round trips.
_TAKE_TURN = (
    'SELECT pg_advisory_xact_lock(id) FROM message_queue WHERE qid = :qid'
)
_LOCK_QUEUE = 'SELECT id FROM message_queue WHERE qid = :qid'


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
    group_locking.wake(session, QUEUE, values)
