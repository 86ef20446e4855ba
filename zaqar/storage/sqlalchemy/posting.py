# SPDX-License-Identifier: Apache-2.0
"""Storage of posts.

The queue's row is locked first, which makes the order of commits the order of
sequence numbers: a reader that pages by number never skips a message that
becomes visible later. The same row tells whether a notice is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zaqar.errors import QueueFull
from zaqar.storage.message_ids import id_of
from zaqar.storage.post_call_parameters import PostCall
from zaqar.storage.queues_without_subscribers_cache import UnsubscribedQueues
from zaqar.storage.sqlalchemy import (
    groups,
    outbox_posting,
    post_announcements,
    queue_state,
)
from zaqar.storage.sqlalchemy.message_rows import (
    NEW_COLUMNS,
    NEW_VALUES,
    new_row,
)
from zaqar.storage.sqlalchemy.statement_execution import SqlSession

ID_LENGTH = 32

_SELECT_TOKEN = (
    'SELECT ids FROM post_token WHERE queue_id = :id AND token = :token'
)
_INSERT_TOKEN = (
    'INSERT INTO post_token (queue_id, token, ids, keep_until) '
    'VALUES (:id, :token, :ids, :keep_until)'
)
_ADVANCE = (
    'UPDATE message_queue SET next_seq = next_seq + :count, '
    'live = live + :count WHERE qid = :qid'
)
_ADVANCE_AND_ANNOUNCE = (
    f'{_ADVANCE} RETURNING '
    f'{post_announcements.ANNOUNCE.format(row="message_queue")}'
)
_INSERT = (
    f'INSERT INTO message ({NEW_COLUMNS}) VALUES (:queue_id, {NEW_VALUES})'
)


def post_within(
    session: SqlSession,
    post: PostCall,
    limit: int,
    unsubscribed: UnsubscribedQueues,
) -> Sequence[str] | QueueFull:
    """Store a post within a transaction; return its ids, or the refusal.

    Returned, not raised, since the new count must be committed."""
    queue = queue_state.lock(session, post.qid, post.now)
    queue_state.check_version(post.version, queue.least_version)
    unsubscribed.update(post.qid, queue.subscribed)
    stored = session.one(_SELECT_TOKEN, {'id': queue.id, 'token': post.token})
    if stored is not None:
        return split_ids(stored[0])
    if limit:
        try:
            queue_state.check_room(
                session, queue, len(post.messages), limit, post.now
            )
        except QueueFull as refusal:
            return refusal
        finally:
            # Whoever has locked the others updates them.
            some = groups.lock(session, queue.id, queue.bereft, skip=True)
            groups.regroup(session, some, post.now)
    numbered = [*enumerate(post.messages, queue.next_seq)]
    ids = [id_of(message, seq) for seq, message in numbered]
    rows = [
        {'queue_id': queue.id, **new_row(seq, message, post.now)}
        for seq, message in numbered
    ]
    session.later(_INSERT_TOKEN, _token(queue.id, post, ids, post.now))
    session.later_many(_INSERT, rows)
    groups.append(session, queue, post.qid, rows)
    _advance(session, post)
    if post.notice and queue.subscribed > 0:
        outbox_posting.add_notice(session, post.notice(), post.now)
    return ids


def _advance(session: SqlSession, post: PostCall) -> None:
    values = {'qid': post.qid, 'count': len(post.messages)}
    if session.dialect != 'postgresql':
        session.later(_ADVANCE, values)
        return
    announcement = post_announcements.announcement(post.qid, post.messages)
    session.later(
        _ADVANCE_AND_ANNOUNCE, {**values, 'announcement': announcement}
    )


def split_ids(ids: bytes) -> Sequence[str]:
    """Return the ids that are stored with a token."""
    text = bytes(ids).decode()
    return [
        text[start : start + ID_LENGTH]
        for start in range(0, len(text), ID_LENGTH)
    ]


def _token(
    queue_id: int, post: PostCall, ids: Sequence[str], now: int
) -> dict[str, Any]:
    return {
        'id': queue_id,
        'token': post.token,
        'ids': ''.join(ids).encode(),
        'keep_until': post.token_expiry(now),
    }
