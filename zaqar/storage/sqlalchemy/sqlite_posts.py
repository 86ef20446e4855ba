# SPDX-License-Identifier: Apache-2.0
"""Posts with as few statements as possible (SQLite).

There a statement takes about as long as what it does.
"""

from collections.abc import Sequence

from zaqar.storage.message_ids import id_of
from zaqar.storage.post_call_parameters import PostCall
from zaqar.storage.queues_without_subscribers_cache import UnsubscribedQueues
from zaqar.storage.sqlalchemy import outbox_notice_posting, queue_row
from zaqar.storage.sqlalchemy.message_rows import first_state
from zaqar.storage.sqlalchemy.statement_execution import SqlSession

_SELECT = (
    'SELECT id, next_seq, subscribed, least_version FROM message_queue '
    'WHERE qid = ? AND dropped_at IS NULL'
)
#: That a token is new shows here.
_INSERT_TOKEN = (
    'INSERT INTO post_token (queue_id, token, ids, keep_until) '
    'VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING'
)
_INSERT_PLAIN = (
    'INSERT INTO message (queue_id, seq, rnd, state, wake_at, expires_at, '
    'created_at, ttl, client, claim_count, checksum, body) '
    'VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?)'
)
_INSERT_MORE = _INSERT_PLAIN.replace(
    'body) ', 'body, public_id, extras) '
).replace('?)', '?, ?, ?)')
_ADVANCE = (
    'UPDATE message_queue SET next_seq = ?, live = live + ?, '
    'bytes = bytes + ? WHERE qid = ?'
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
    size = 0
    for item in messages:
        if item.group is not None:
            return None
        size += item.size
        is_plain = is_plain and item.id is None and item.extras is None
    if not post.is_ordinary:
        return None
    row = session.in_order(_SELECT, (post.qid,)).fetchone()
    if row is None:
        return None
    queue_id, first, subscribed, least_version = row
    queue_row.check_version(post.version, least_version)
    ids = [id_of(item, seq) for seq, item in enumerate(messages, first)]
    token = (
        queue_id,
        post.token,
        ''.join(ids).encode(),
        post.token_expiry(now),
    )
    if not session.in_order(_INSERT_TOKEN, token).rowcount:
        return None
    unsubscribed.update(post.qid, subscribed)
    rows = [
        (
            queue_id,
            seq,
            item.rnd,
            *first_state(item, now),
            now + item.ttl * 1000,
            now,
            item.ttl,
            item.client,
            item.checksum,
            item.body,
        )
        for seq, item in enumerate(messages, first)
    ]
    if is_plain:
        session.many_in_order(_INSERT_PLAIN, rows)
    else:
        more = ((item.id, item.extras) for item in messages)
        session.many_in_order(
            _INSERT_MORE, [a + b for a, b in zip(rows, more, strict=True)]
        )
    count = len(messages)
    session.in_order(_ADVANCE, (first + count, count, size, post.qid))
    if post.notice and subscribed > 0:
        outbox_notice_posting.add_notice(session, post.notice(), now)
    return ids
