# SPDX-License-Identifier: Apache-2.0
"""Deletion of messages of a claim with as few statements as possible (SQLite).

Most of what is settled is deleted, all of it. The rest is for
:mod:`.claim_changes`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from zaqar.models import Act, Settlement
from zaqar.storage.message_ids import parse_id
from zaqar.storage.sqlalchemy import held_bytes
from zaqar.storage.sqlalchemy.message_rows import index_hint
from zaqar.storage.sqlalchemy.statement_execution import (
    SqlSession,
    placeholder_values,
)

_BY_CLAIM = index_hint('sqlite', 'message_claim')
_QUEUE = (
    'SELECT id, live IS NOT NULL FROM message_queue '
    'WHERE qid = :qid AND dropped_at IS NULL AND grouped = 0'
)
#: Those of a claim are found by it: by their numbers takes longer.
_DELETE = (
    f'DELETE FROM message{_BY_CLAIM} WHERE queue_id = :queue_id '
    'AND claim_id = :claim_id AND state = 1 AND wake_at > :now '
    'AND expires_at > :now AND public_id IS NULL AND rnd = CASE seq {} END'
)
_END_CLAIM = (
    'UPDATE claim SET expires_at = coalesce((SELECT max(m.wake_at) '
    f'FROM message m{_BY_CLAIM} WHERE m.queue_id = :queue_id '
    'AND m.claim_id = :claim_id AND m.state = 1 AND m.wake_at > :now '
    'AND m.expires_at > :now), 0) '
    'WHERE queue_id = :queue_id AND id = :claim_id'
)
_SUBTRACT = (
    f'UPDATE message_queue SET {held_bytes.subtract(":count")} '
    'WHERE qid = :qid'
)


class OtherwiseError(Exception):
    """It must be done in the other way; roll back."""


def settle(
    session: SqlSession,
    qid: str,
    claim_id: str,
    settlements: Sequence[Settlement],
    now: int,
) -> Sequence[bool]:
    """Delete messages, all of which a claim holds, within a transaction.

    :raises OtherwiseError: these are not all deletions, the claim does not
        hold one of the messages, one has an id from another queue, or the
        queue has groups
    """
    halves = [
        parse_id(item.message_id) if item.act is Act.DELETE else None
        for item in settlements
    ]
    row = session.one(_QUEUE, {'qid': qid}) if all(halves) else None
    if row is None:
        raise OtherwiseError
    queue_id, is_counted = row
    count = len(settlements)
    values = {'queue_id': queue_id, 'claim_id': claim_id, 'now': now}
    pairs = [part for pair in halves if pair for part in pair]
    deleted = session.run(
        _delete(count), {**values, **placeholder_values('h', pairs)}
    )
    if deleted < count or not count:
        raise OtherwiseError
    session.run(_END_CLAIM, values)
    if is_counted:
        session.run(_SUBTRACT, {'qid': qid, 'count': count})
    return [True] * count


@functools.lru_cache(maxsize=128)
def _delete(count: int) -> str:
    """Return SQL that deletes so many messages by the halves of their ids."""
    pairs = ' '.join(
        f'WHEN :h{place} THEN :h{place + 1}'
        for place in range(0, count * 2, 2)
    )
    return _DELETE.format(pairs or 'WHEN 0 THEN NULL')
