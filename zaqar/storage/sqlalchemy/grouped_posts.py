# SPDX-License-Identifier: Apache-2.0
"""The places of new messages in their groups."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zaqar.storage.sqlalchemy import group_repairs, groups, queue_state
from zaqar.storage.sqlalchemy.message_rows import DELAYED, FREE, IN_GROUP
from zaqar.storage.sqlalchemy.statement_execution import SqlSession

_SET_GROUPED = 'UPDATE message_queue SET grouped = 1 WHERE qid = :qid'


def place(
    session: SqlSession,
    queue: queue_state.QueueRow,
    qid: str,
    rows: Sequence[dict[str, Any]],
    now: int,
) -> None:
    """Make new messages of a locked queue the first ones of their groups.

    Those that are; within a transaction.

    :param rows: of :func:`.message_rows.new_row`, in order, to be changed
    """
    keys = {key for row in rows if (key := row['group_key']) is not None}
    if not keys:
        return
    if not queue.grouped:
        session.later(_SET_GROUPED, {'qid': qid})
    firsts = groups.lock(session, queue.id, keys)
    hidden = {
        first.key for first in firsts.values() if first.state == IN_GROUP
    }
    dead = [
        first
        for first in firsts.values()
        if first.key not in hidden and first.expires_at <= now
    ]
    present = {*firsts} - hidden - {first.key for first in dead}
    present |= group_repairs.search(session, queue.id, hidden, now)
    present |= group_repairs.pass_over(
        session,
        queue.id,
        {first.key: {first.claim_id or ''} - {''} for first in dead},
        now,
        [first.seq for first in dead],
    )
    for row in rows:
        key = row['group_key']
        if key is None or key in present:
            continue
        present.add(key)
        row['wake_at'] = -row['wake_at']
        row['state'] = DELAYED if row['wake_at'] else FREE
