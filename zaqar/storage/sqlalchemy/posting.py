# SPDX-License-Identifier: Apache-2.0
"""Storing messages.

The queue's row is locked first, which makes the order of commits the order of
sequence numbers: a reader that pages by number never passes a message that
becomes visible later. The same row tells whether a notice is due.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zaqar.errors import QueueFull
from zaqar.models import NewMessage
from zaqar.storage.base import OUTBOX, TOKEN_LIFETIME
from zaqar.storage.message_ids import id_of
from zaqar.storage.posts import Post
from zaqar.storage.sqlalchemy import notices, queue_rows
from zaqar.storage.sqlalchemy.rows import DELAYED, FREE
from zaqar.storage.sqlalchemy.session import Session
from zaqar.storage.subscriber_flags import UnsubscribedQueues

ID_LENGTH = 32

#: Newer than all metadata.
_ANY_VERSION = 2**63 - 1

_KNOWN = 'SELECT ids FROM post_token WHERE queue_id = :id AND token = :token'
_TOKEN = (
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

#: Everything in one statement. ``q`` locks the row, unless a token is known;
#: one that was taken a moment ago leaves ``t`` short of a row, and so its
#: messages unwritten. ``{only}`` leaves to others what is not as expected.
_AT_ONCE = """
WITH q AS (
    UPDATE message_queue SET next_seq = next_seq + :count,
        live = live + :count
    WHERE qid = :qid AND dropped_at IS NULL
        AND least_version <= :version AND {only} AND NOT EXISTS (
        SELECT 1 FROM post_token k WHERE k.queue_id = message_queue.id
        AND k.token = ANY(:tokens::text[]))
    RETURNING id, next_seq - :count AS first, subscribed),
p AS (
    SELECT * FROM unnest(:offsets::bigint[], :rnds::text[], :ttls::int[],
        :delays::bigint[], :clients::text[], :checksums::text[],
        :public_ids::text[], :bodies::bytea[], :tokens::text[])
    AS p (place, rnd, ttl, delay, client, checksum, public_id, body, token)),
t AS (
    INSERT INTO post_token (queue_id, token, ids, keep_until)
    SELECT q.id, p.token,
        convert_to(string_agg(coalesce(p.public_id,
            lpad(to_hex(q.first + p.place), 16, '0') || p.rnd), ''
            ORDER BY p.place), 'SQL_ASCII'),
        :now + greatest({lifetime}, max(CASE WHEN p.public_id IS NULL THEN 0
            ELSE p.ttl::bigint * 1000 END))
    FROM q, p GROUP BY q.id, p.token
    ON CONFLICT DO NOTHING
    RETURNING token, ids),
m AS (
    INSERT INTO message (queue_id, seq, rnd, state, wake_at, expires_at,
        created_at, ttl, client, claim_count, checksum, public_id, body)
    SELECT q.id, q.first + p.place, p.rnd,
        CASE WHEN p.delay > 0 THEN 2 ELSE 0 END,
        CASE WHEN p.delay > 0 THEN :now + p.delay ELSE 0 END,
        :now + p.ttl::bigint * 1000, :now, p.ttl, p.client, 0, p.checksum,
        p.public_id, p.body
    FROM q, p JOIN t ON t.token = p.token){more}
SELECT t.token, t.ids, q.subscribed FROM t, q
"""
_NOTICES = """,
n AS (
    INSERT INTO message (queue_id, seq, rnd, state, wake_at, expires_at,
        created_at, ttl, client, claim_count, checksum, public_id, body)
    SELECT o.id, n.seq, n.rnd,
        CASE WHEN n.delay > 0 THEN 2 ELSE 0 END,
        CASE WHEN n.delay > 0 THEN :now + n.delay ELSE 0 END,
        :now + n.ttl::bigint * 1000, :now, n.ttl, n.client, 0, n.checksum,
        NULL, n.body
    FROM q, message_queue o, unnest(:n_seqs::bigint[], :n_rnds::text[],
        :n_ttls::int[], :n_delays::bigint[], :n_clients::text[],
        :n_checksums::text[], :n_bodies::bytea[], :n_tokens::text[])
    AS n (seq, rnd, ttl, delay, client, checksum, body, token)
    JOIN t ON t.token = n.token
    WHERE o.qid = :outbox AND q.subscribed > 0)"""


def _at_once(only: str, more: str = '') -> str:
    return _AT_ONCE.format(only=only, more=more, lifetime=TOKEN_LIFETIME)


#: Without notices; for a queue that most likely has no subscribers; for one
#: that may have some, so that an outbox must exist.
_PLAIN = _at_once('true')
_UNSUBSCRIBED = _at_once('subscribed <= 0')
_SUBSCRIBED = _at_once(
    '(subscribed <= 0 OR EXISTS (SELECT 1 FROM message_queue o '
    'WHERE o.qid = :outbox))',
    _NOTICES,
)


def post_at_once(
    session: Session,
    qid: str,
    posts: Sequence[Post],
    unsubscribed: UnsubscribedQueues,
) -> list[Sequence[str]] | None:
    """Store posts in one statement (PostgreSQL).

    :returns: the ids of each, or None where the queue or a token needs a
        closer look by :func:`post`
    """
    if len({post.token for post in posts}) < len(posts):
        # Two at once make the same post.
        return None
    now = max(post.now for post in posts)
    flat = [(post, item) for post in posts for item in post.messages]
    items = [item for _, item in flat]
    values: dict[str, Any] = {
        'qid': qid,
        'now': now,
        'version': min(
            (post.version for post in posts if post.version is not None),
            default=_ANY_VERSION,
        ),
        'count': len(items),
        'offsets': list(range(len(items))),
        'rnds': [item.rnd for item in items],
        'ttls': [item.ttl for item in items],
        'delays': [item.delay * 1000 for item in items],
        'clients': [item.client for item in items],
        'checksums': [item.checksum for item in items],
        'public_ids': [item.id for item in items],
        'bodies': [item.body for item in items],
        'tokens': [post.token for post, _ in flat],
    }
    sql = _PLAIN
    if any(post.notice for post in posts):
        sql = _UNSUBSCRIBED if qid in unsubscribed else _SUBSCRIBED
    if sql is _SUBSCRIBED:
        values |= _notices(posts, now)
    stored: dict[str, bytes] = {}
    for token, ids, epoch in session.all(sql, values):
        stored[token] = ids
        unsubscribed.update(qid, epoch)
    if len(stored) < len(posts):
        return None
    return [_split(stored[post.token]) for post in posts]


def _notices(posts: Sequence[Post], now: int) -> dict[str, Any]:
    due = [
        (post.token, post.notice.message()) for post in posts if post.notice
    ]
    first = notices.NUMBERS.take(now, len(due))
    return {
        'outbox': OUTBOX,
        'n_tokens': [token for token, _ in due],
        'n_seqs': [first + place for place in range(len(due))],
        'n_rnds': [item.rnd for _, item in due],
        'n_ttls': [item.ttl for _, item in due],
        'n_delays': [item.delay * 1000 for _, item in due],
        'n_clients': [item.client for _, item in due],
        'n_checksums': [item.checksum for _, item in due],
        'n_bodies': [item.body for _, item in due],
    }


def post_within(
    session: Session,
    qid: str,
    item: Post,
    limit: int,
    unsubscribed: UnsubscribedQueues,
) -> Sequence[str] | QueueFull:
    """Store a post, or return the refusal.

    Returned, not raised, since what was counted on the way is to be kept.
    """
    try:
        return post(session, qid, [item], limit, unsubscribed)[0]
    except QueueFull as refusal:
        return refusal


def post(
    session: Session,
    qid: str,
    posts: Sequence[Post],
    limit: int,
    unsubscribed: UnsubscribedQueues,
) -> list[Sequence[str]]:
    """Store posts within a transaction; return the ids of each.

    :raises QueueFull: with ``limit``; there is only one post then
    :raises QueueGone: the queue was dropped
    :raises StaleMetadata: one of them was made with old metadata
    """
    now = max(item.now for item in posts)
    queue = queue_rows.lock(session, qid, now)
    for item in posts:
        queue_rows.check_version(item.version, queue.least_version)
    unsubscribed.update(qid, queue.subscribed)
    answers: list[Sequence[str]] = []
    rows: list[dict[str, Any]] = []
    for item in posts:
        known = session.one(_KNOWN, {'id': queue.id, 'token': item.token})
        if known is not None:
            answers.append(_split(known[0]))
            continue
        if limit:
            queue_rows.make_room(
                session, queue, len(item.messages), limit, now
            )
        first = queue.next_seq + len(rows)
        ids = [
            id_of(message, first + place)
            for place, message in enumerate(item.messages)
        ]
        answers.append(ids)
        session.run(_TOKEN, _token(queue.id, item, ids, now))
        rows += [
            _row(queue.id, first + place, message, now)
            for place, message in enumerate(item.messages)
        ]
        if item.notice and queue.subscribed > 0:
            notices.leave(session, item.notice.message(), now)
    if rows:
        session.many(_INSERT, rows)
        session.run(_ADVANCE, {'id': queue.id, 'count': len(rows)})
    return answers


def _split(ids: bytes) -> Sequence[str]:
    text = bytes(ids).decode()
    return [
        text[start : start + ID_LENGTH]
        for start in range(0, len(text), ID_LENGTH)
    ]


def _token(
    queue_id: int, post: Post, ids: Sequence[str], now: int
) -> dict[str, Any]:
    return {
        'id': queue_id,
        'token': post.token,
        'ids': ''.join(ids).encode(),
        'keep_until': post.token_expiry(now),
    }


def _row(
    queue_id: int, seq: int, message: NewMessage, now: int
) -> dict[str, Any]:
    delay = message.delay * 1000
    return {
        'queue_id': queue_id,
        'seq': seq,
        'rnd': message.rnd,
        'state': DELAYED if delay else FREE,
        'wake_at': now + delay if delay else 0,
        'expires_at': now + message.ttl * 1000,
        'created_at': now,
        'ttl': message.ttl,
        'client': message.client,
        'checksum': message.checksum,
        'public_id': message.id,
        'body': message.body,
    }
