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
from zaqar.storage.post_request import PostRequest
from zaqar.storage.sqlalchemy import outbox_notices, queue_state
from zaqar.storage.sqlalchemy.message_rows import new_row
from zaqar.storage.sqlalchemy.statement_execution import SqlSession
from zaqar.storage.subscriber_flag_cache import UnsubscribedQueues

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
    'live = live + :count WHERE id = :id'
)
_INSERT = (
    'INSERT INTO message (queue_id, seq, rnd, state, wake_at, expires_at, '
    'created_at, ttl, client, claim_count, checksum, public_id, body) '
    'VALUES (:queue_id, :seq, :rnd, :state, :wake_at, :expires_at, '
    ':created_at, :ttl, :client, 0, :checksum, :public_id, :body)'
)


def post_within(
    session: SqlSession,
    qid: str,
    item: PostRequest,
    limit: int,
    unsubscribed: UnsubscribedQueues,
) -> Sequence[str] | QueueFull:
    """Store a post, or return the refusal.

    Returned, not raised, since the new count must be committed.
    """
    try:
        return post(session, qid, [item], limit, unsubscribed)[0]
    except QueueFull as refusal:
        return refusal


def post(
    session: SqlSession,
    qid: str,
    posts: Sequence[PostRequest],
    limit: int,
    unsubscribed: UnsubscribedQueues,
) -> list[Sequence[str]]:
    """Store posts within a transaction; return the ids of each.

    :raises QueueFull: with ``limit``; there is only one post then
    """
    now = max(item.now for item in posts)
    queue = queue_state.lock(session, qid, now)
    for item in posts:
        queue_state.check_version(item.version, queue.least_version)
    unsubscribed.update(qid, queue.subscribed)
    ids_of_posts: list[Sequence[str]] = []
    rows: list[dict[str, Any]] = []
    for item in posts:
        stored = session.one(
            _SELECT_TOKEN, {'id': queue.id, 'token': item.token}
        )
        if stored is not None:
            ids_of_posts.append(split_ids(stored[0]))
            continue
        if limit:
            queue_state.check_room(
                session, queue, len(item.messages), limit, now
            )
        first = queue.next_seq + len(rows)
        ids = [
            id_of(message, first + place)
            for place, message in enumerate(item.messages)
        ]
        ids_of_posts.append(ids)
        session.run(_INSERT_TOKEN, _token(queue.id, item, ids, now))
        rows += [
            {
                'queue_id': queue.id,
                **new_row(first + place, message, now),
            }
            for place, message in enumerate(item.messages)
        ]
        if item.notice and queue.subscribed > 0:
            outbox_notices.add_notice(session, item.notice.message(), now)
    if rows:
        session.many(_INSERT, rows)
        session.run(_ADVANCE, {'id': queue.id, 'count': len(rows)})
    return ids_of_posts


def split_ids(ids: bytes) -> Sequence[str]:
    """Return the ids that are stored with a token."""
    text = bytes(ids).decode()
    return [
        text[start : start + ID_LENGTH]
        for start in range(0, len(text), ID_LENGTH)
    ]


def _token(
    queue_id: int, post: PostRequest, ids: Sequence[str], now: int
) -> dict[str, Any]:
    return {
        'id': queue_id,
        'token': post.token,
        'ids': ''.join(ids).encode(),
        'keep_until': post.token_expiry(now),
    }
