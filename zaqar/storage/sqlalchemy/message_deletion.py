# SPDX-License-Identifier: Apache-2.0
"""Deletion of messages, with and without the claim that holds them."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zaqar.storage import deletion_error_texts
from zaqar.storage.group_commit import Sharing
from zaqar.storage.message_ids import is_claim_id, parse_id
from zaqar.storage.sqlalchemy import (
    group_locks,
    message_reading,
    next_free_messages_of_groups,
    queue_count_subtraction,
    queue_row,
)
from zaqar.storage.sqlalchemy.dialect_clauses import delete_from, is_one_of
from zaqar.storage.sqlalchemy.message_rows import (
    CLAIMED,
    group_of,
    hold_of,
    queue_id_of,
    seq_of,
)
from zaqar.storage.sqlalchemy.message_sql_fragments import QUEUE
from zaqar.storage.sqlalchemy.queue_row import GroupedQueueError
from zaqar.storage.sqlalchemy.statement_execution import Row, SqlSession
from zaqar.storage.sqlalchemy.statement_parameters import placeholder_values

_DELETE = (
    '{delete} WHERE queue_id = {queue} AND seq = :seq '
    'AND rnd = :rnd AND public_id IS NULL AND expires_at > :now '
    'AND group_key IS NULL AND '
)
_UNCLAIMED = '(state <> 1 OR wake_at <= :now)'
_HELD = 'state = 1 AND wake_at > :now AND claim_id = :claim_id'

#: The deletion and its count in one statement (PostgreSQL).
_WITH_COUNT = (
    'WITH d AS ({delete} RETURNING queue_id), '
    'l AS (UPDATE message_queue q SET '
    f'{queue_count_subtraction.subtract("1", "q.")} FROM d '
    'WHERE q.id = d.queue_id AND q.live IS NOT NULL) '
    'SELECT count(*) FROM d'
)
_SUBTRACT_ONE = (
    f'UPDATE message_queue SET {queue_count_subtraction.subtract("1")} '
    'WHERE qid = :qid AND live IS NOT NULL'
)
#: Deletions from a queue, each with how many it has deleted (MariaDB). The row
#: of the queue comes last: posts lock it first.
_BLOCK = (
    'BEGIN DECLARE q, l, n BIGINT; DECLARE total BIGINT DEFAULT 0; '
    'SELECT id, live INTO q, l FROM message_queue '
    'WHERE qid = :qid AND dropped_at IS NULL; {parts}'
    'IF total > 0 AND l IS NOT NULL THEN UPDATE message_queue '
    f'SET {queue_count_subtraction.subtract("total")} '
    'WHERE qid = :qid AND id + 0 = q AND live IS NOT NULL; END IF; END'
)
_PART = '{}; SET n = ROW_COUNT(); SET total = total + n; SELECT n; '


@dataclass(frozen=True, slots=True)
class Deletion:
    """A call of :meth:`zaqar.storage.abstract_stores.MessageStore.delete`."""

    qid: str
    message_id: str
    now: int
    claim_id: str | None

    def statement(
        self, dialect: str, queue: str
    ) -> tuple[str, dict[str, Any]] | None:
        """Return SQL that deletes the message if its state allows it.

        :param queue: SQL for the id of the queue
        :returns: None where an id is malformed
        """
        halves = parse_id(self.message_id)
        if halves is None or (
            self.claim_id is not None and not is_claim_id(self.claim_id)
        ):
            return None
        return _statement(dialect, queue, self.claim_id is not None), {
            'qid': self.qid,
            'seq': halves[0],
            'rnd': halves[1],
            'now': self.now,
            'claim_id': self.claim_id,
        }


@functools.lru_cache(maxsize=16)
def _statement(dialect: str, queue: str, is_held: bool) -> str:
    delete = delete_from(dialect)
    state = _HELD if is_held else _UNCLAIMED
    return _DELETE.format(delete=delete, queue=queue) + state


def delete_if_allowed(session: SqlSession, deletion: Deletion) -> bool:
    """Delete a message if its state allows it; return whether it did.

    For SQLite, and for PostgreSQL even without a transaction.
    """
    statement = deletion.statement(session.dialect, QUEUE)
    if statement is None:
        return False
    sql, values = statement
    if session.dialect == 'postgresql':
        row = session.one(_WITH_COUNT.format(delete=sql), values)
        return bool(row and row[0])
    if not session.run(sql, values):
        return False
    session.run(_SUBTRACT_ONE, values)
    return True


def delete_together(
    session: SqlSession, deletions: Sequence[Deletion]
) -> list[bool | Sharing]:
    """Delete messages of a queue within a transaction (MySQL).

    :returns: for each True, or that it must be deleted alone
    """
    qid = deletions[0].qid
    # In the order in which other calls lock the rows.
    order = sorted(
        range(len(deletions)), key=lambda place: deletions[place].message_id
    )
    delete = _delete_at_once if session.takes_compounds else _delete_in_turn
    removed = delete(session, qid, [(n, deletions[n]) for n in order])
    return [
        True if place in removed else Sharing.DO_ALONE
        for place in range(len(deletions))
    ]


def _delete_at_once(
    session: SqlSession, qid: str, numbered: Sequence[tuple[int, Deletion]]
) -> set[int]:
    """Delete messages and commit, in one round trip (MariaDB).

    :returns: the numbers of those that were deleted
    """
    parts: list[str] = []
    numbers: list[int] = []
    for number, deletion in numbered:
        statement = deletion.statement(session.dialect, 'q')
        if statement:
            parts.append(_PART.format(session.text(*statement)))
            numbers.append(number)
    block = session.text(_BLOCK, {'qid': qid}).format(parts=''.join(parts))
    session.later(block, {})
    counts = session.finish()
    return {
        number
        for number, ((count,),) in zip(numbers, counts, strict=True)
        if count
    }


def _delete_in_turn(
    session: SqlSession, qid: str, numbered: Sequence[tuple[int, Deletion]]
) -> set[int]:
    """Delete messages likewise, one by one (MySQL)."""
    # Where it is not a SELECT's own, a subquery locks the row that it reads:
    # it would wait for posts, and deadlock with others.
    session.later(f'SELECT {QUEUE} INTO @queue', {'qid': qid})
    statements: list[tuple[str, Mapping[str, Any]]] = []
    numbers: list[int] = []
    for number, deletion in numbered:
        statement = deletion.statement(session.dialect, '@queue')
        if statement:
            statements += [statement, ('SELECT ROW_COUNT()', {})]
            numbers.append(number)
    *counts, counted = session.several(
        [*statements, (queue_row.COUNTED, {'qid': qid})]
    )
    removed = {
        number
        for number, rows in zip(numbers, counts, strict=True)
        if rows[0][0]
    }
    # The row of the queue last: posts lock it first.
    for (queue_id,) in counted if removed else ():
        queue_count_subtraction.subtract_by_key(
            session, qid, queue_id, len(removed)
        )
    return removed


def delete(
    session: SqlSession, deletion: Deletion, *, takes_groups: bool = False
) -> None:
    """Delete a message within a transaction, or raise why not.

    :raises MessageClaimed: another claim holds it
    :raises InvalidDeletion: the claim does not hold it
    :raises GroupedQueueError: it has a group
    """
    qid, now, claim_id = deletion.qid, deletion.now, deletion.claim_id
    rows = _find(session, qid, [deletion.message_id], now, takes_groups)
    if not rows:
        queue_row.check_gone(session, qid)
        return
    row = rows[0]
    holder = _holder(row, now)
    if holder != claim_id:
        raise _reason(session, qid, holder, claim_id, now)
    _remove(session, queue_id_of(row), rows, now)


def delete_many(
    session: SqlSession,
    qid: str,
    ids: Sequence[str],
    now: int,
    claim_ids: Sequence[str] | None,
    *,
    takes_groups: bool = False,
) -> None:
    """Delete messages within a transaction, all or none.

    :raises MessageClaimed: one is not in any of the claims
    :raises InvalidDeletion: one of the claims does not exist
    :raises GroupedQueueError: one has a group
    """
    if claim_ids is not None and not all(
        _is_live(session, qid, claim_id, now) for claim_id in claim_ids
    ):
        raise deletion_error_texts.unknown_claim()
    rows = _find(session, qid, ids, now, takes_groups)
    if not rows:
        queue_row.check_gone(session, qid)
        return
    if claim_ids is not None and any(
        _holder(row, now) not in claim_ids for row in rows
    ):
        raise deletion_error_texts.message_claimed()
    _remove(session, queue_id_of(rows[0]), rows, now)


def _find(
    session: SqlSession,
    qid: str,
    ids: Sequence[str],
    now: int,
    takes_groups: bool,
) -> list[Row]:
    """Return messages that are locked, and their groups."""
    if takes_groups:
        queue_row.lock_if_counted(session, qid)
        rows = message_reading.find(session, qid, ids, now)
        if rows:
            group_locks.lock(
                session, queue_id_of(rows[0]), map(group_of, rows)
            )
    rows = message_reading.find(session, qid, ids, now, lock=True)
    if not takes_groups and any(map(group_of, rows)):
        raise GroupedQueueError
    return rows


def _remove(
    session: SqlSession,
    queue_id: int,
    rows: Sequence[Row],
    now: int,
) -> None:
    seqs = [*map(seq_of, rows)]
    count = session.run(
        f'{delete_from(session.dialect)} WHERE queue_id = :id '
        f'AND {is_one_of(session.dialect, "seq", "s", len(seqs))}',
        {'id': queue_id, **placeholder_values('s', seqs)},
    )
    next_free_messages_of_groups.go_on(
        session,
        queue_id,
        next_free_messages_of_groups.holders(rows),
        now,
    )
    queue_count_subtraction.subtract_live(session, queue_id, count)


def _holder(row: Row, now: int) -> str | None:
    state, wake_at, claim_id = hold_of(row)
    return claim_id if state == CLAIMED and wake_at > now else None


def _reason(
    session: SqlSession,
    qid: str,
    holder: str | None,
    claim_id: str | None,
    now: int,
) -> Exception:
    if claim_id is not None and not _is_live(session, qid, claim_id, now):
        return deletion_error_texts.unknown_claim()
    if holder is not None:
        return deletion_error_texts.message_claimed()
    return deletion_error_texts.message_free()


def _is_live(session: SqlSession, qid: str, claim_id: str, now: int) -> bool:
    if not is_claim_id(claim_id):
        return False
    sql = (
        f'SELECT 1 FROM claim WHERE queue_id = {QUEUE} '
        'AND id = :claim_id AND expires_at > :now'
    )
    values = {'qid': qid, 'claim_id': claim_id, 'now': now}
    return session.one(sql, values) is not None
