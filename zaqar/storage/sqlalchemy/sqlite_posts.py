# SPDX-License-Identifier: Apache-2.0
"""Posts with as few statements as possible (SQLite).

There a statement takes about as long as what it does.
"""

from __future__ import annotations

from collections.abc import Sequence

from zaqar.storage.message_ids import id_of
from zaqar.storage.post_call_parameters import PostCall
from zaqar.storage.queues_without_subscribers_cache import UnsubscribedQueues
from zaqar.storage.sqlalchemy import outbox_posting, queue_state
from zaqar.storage.sqlalchemy.message_rows import new_row
from zaqar.storage.sqlalchemy.statement_execution import SqlSession

_SELECT = (
    'SELECT id, next_seq, subscribed, least_version FROM message_queue '
    'WHERE qid = :qid AND dropped_at IS NULL'
)
#: That a token is new shows here.
_INSERT_TOKEN = (
    'INSERT INTO post_token (queue_id, token, ids, keep_until) '
    'VALUES (:id, :token, :ids, :keep_until) ON CONFLICT DO NOTHING'
)
_INSERT = (
    'INSERT INTO message (queue_id, seq, rnd, state, wake_at, expires_at, '
    'created_at, ttl, client, claim_count, checksum, body{columns}) VALUES '
    '(:queue_id, :seq, :rnd, :state, :wake_at, :expires_at, '
    ':created_at, :ttl, :client, 0, :checksum, :body{values})'
)
_INSERT_PLAIN = _INSERT.format(columns='', values='')
_INSERT_MORE = _INSERT.format(
    columns=', public_id, extras', values=', :public_id, :extras'
)
_ADVANCE = (
    'UPDATE message_queue SET next_seq = :next, live = live + :count, '
    'bytes = bytes + :size WHERE qid = :qid'
)


def post(
    session: SqlSession, post: PostCall, unsubscribed: UnsubscribedQueues
) -> Sequence[str] | None:
    """Store a post within a transaction.

    :returns: its ids; None, and nothing is stored, if there is more to be done
        than for most: it has groups or is compared with others, the queue has
        no row or is gone, or the token is known
    """
    messages, now = post.messages, post.now
    is_plain = True
    for item in messages:
        if item.group is not None:
            return None
        is_plain = is_plain and item.id is None and item.extras is None
    if not post.is_ordinary:
        return None
    row = session.one(_SELECT, {'qid': post.qid})
    if row is None:
        return None
    queue_id, first, subscribed, least_version = row
    queue_state.check_version(post.version, least_version)
    ids = [id_of(item, seq) for seq, item in enumerate(messages, first)]
    is_new = session.run(
        _INSERT_TOKEN,
        {
            'id': queue_id,
            'token': post.token,
            'ids': ''.join(ids).encode(),
            'keep_until': post.token_expiry(now),
        },
    )
    if not is_new:
        return None
    unsubscribed.update(post.qid, subscribed)
    session.many(
        _INSERT_PLAIN if is_plain else _INSERT_MORE,
        [
            {'queue_id': queue_id, **new_row(seq, item, now)}
            for seq, item in enumerate(messages, first)
        ],
    )
    session.run(
        _ADVANCE,
        {
            'qid': post.qid,
            'next': first + len(messages),
            'count': len(messages),
            'size': sum(item.size for item in messages),
        },
    )
    if post.notice and subscribed > 0:
        outbox_posting.add_notice(session, post.notice(), now)
    return ids
