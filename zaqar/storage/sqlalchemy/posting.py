# SPDX-License-Identifier: Apache-2.0
"""Storage of posts.

The queue's row is locked first, which makes the order of commits the order of
sequence numbers: a reader that pages by number never skips a message that
becomes visible later. The same row tells whether a notice is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from zaqar.errors import QueueFull
from zaqar.models import NewMessage
from zaqar.storage.base import OUTBOX
from zaqar.storage.group_commit import Sharing
from zaqar.storage.message_ids import id_of
from zaqar.storage.post_request import PostRequest
from zaqar.storage.sqlalchemy import outbox_notices, queue_state
from zaqar.storage.sqlalchemy.message_rows import QUEUE, new_row
from zaqar.storage.sqlalchemy.statement_execution import (
    SqlSession,
    placeholder_values,
    placeholders,
)
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
    'live = live + :count WHERE qid = :qid'
)
_LOCK_QUEUES = (
    'SELECT qid, id, next_seq, live, counted_at, subscribed, least_version '
    'FROM message_queue WHERE qid IN ({}) AND dropped_at IS NULL '
    'ORDER BY qid FOR UPDATE'
)
_INSERT = (
    'INSERT INTO message (queue_id, seq, rnd, state, wake_at, expires_at, '
    'created_at, ttl, client, claim_count, checksum, public_id, body) '
    'VALUES (:queue_id, :seq, :rnd, :state, :wake_at, :expires_at, '
    ':created_at, :ttl, :client, 0, :checksum, :public_id, :body)'
)


def post_within(
    session: SqlSession,
    post: PostRequest,
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
    ids, rows = _numbered(queue.id, queue.next_seq, post, post.now)
    session.later(_INSERT_TOKEN, _token(queue.id, post, ids, post.now))
    session.later_many(_INSERT, rows)
    session.later(_ADVANCE, {'qid': post.qid, 'count': len(rows)})
    if post.notice and queue.subscribed > 0:
        outbox_notices.add_notice(session, post.notice.message(), post.now)
    return ids


def post_together(
    session: SqlSession,
    posts: Sequence[PostRequest],
    unsubscribed: UnsubscribedQueues,
) -> list[Sequence[str] | Sharing]:
    """Store posts within a transaction, in two round trips.

    That a token is new shows in its INSERT.

    :returns: the ids of each, where the queue is ready for it
    """
    now = max(post.now for post in posts)
    queues, outbox_id = _lock_queues(session, posts, unsubscribed)
    tokens: dict[tuple[int, str], dict[str, Any]] = {}
    rows: list[dict[str, Any]] = []
    counts: dict[str, int] = {}
    results: list[Sequence[str] | Sharing] = []
    for post in posts:
        queue = queues.get(post.qid)
        if (
            queue is None
            or (queue.id, post.token) in tokens
            or (
                post.version is not None and post.version < queue.least_version
            )
            or (post.notice and queue.subscribed > 0 and not outbox_id)
        ):
            results.append(Sharing.DO_ALONE)
            continue
        first = queue.next_seq + counts.get(post.qid, 0)
        ids, new_rows = _numbered(queue.id, first, post, now)
        results.append(ids)
        counts[post.qid] = counts.get(post.qid, 0) + len(ids)
        rows += new_rows
        tokens[queue.id, post.token] = _token(queue.id, post, ids, now)
        if post.notice and queue.subscribed > 0:
            rows.append(_notice(outbox_id, post.notice.message(), now))
    session.later_many(_INSERT_TOKEN, [*tokens.values()])
    session.later_many(_INSERT, rows)
    for qid, count in counts.items():
        session.later(_ADVANCE, {'qid': qid, 'count': count})
    return results


def _lock_queues(
    session: SqlSession,
    posts: Sequence[PostRequest],
    unsubscribed: UnsubscribedQueues,
) -> tuple[Mapping[str, queue_state.QueueRow], int]:
    """Lock the queues of posts, in order; find the outbox if it is needed."""
    qids = sorted({post.qid for post in posts})
    statements: list[tuple[str, Mapping[str, Any]]] = [
        (
            _LOCK_QUEUES.format(placeholders('q', len(qids))),
            placeholder_values('q', qids),
        )
    ]
    if any(post.notice and post.qid not in unsubscribed for post in posts):
        statements.append((f'SELECT {QUEUE}', {'qid': OUTBOX}))
    results = session.several(statements)
    queues = {
        row[0]: queue_state.QueueRow(*row[1:]) for row in results[0].rows
    }
    for qid, queue in queues.items():
        unsubscribed.update(qid, queue.subscribed)
    return queues, (len(results) > 1 and results[1].rows[0][0]) or 0


def _numbered(
    queue_id: int, first: int, post: PostRequest, now: int
) -> tuple[Sequence[str], list[dict[str, Any]]]:
    """Return the ids and the rows of messages that get consecutive numbers."""
    numbered = [*enumerate(post.messages, start=first)]
    ids = [id_of(message, seq) for seq, message in numbered]
    rows = [
        {'queue_id': queue_id, **new_row(seq, message, now)}
        for seq, message in numbered
    ]
    return ids, rows


def _notice(outbox_id: int, notice: NewMessage, now: int) -> dict[str, Any]:
    seq = outbox_notices.NUMBERS.take(now, 1)
    return {'queue_id': outbox_id, **new_row(seq, notice, now)}


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
