# SPDX-License-Identifier: Apache-2.0
"""Posts in one statement, hence in one round trip (PostgreSQL)."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Sequence
from typing import Any

from zaqar.storage.base import OUTBOX, TOKEN_LIFETIME
from zaqar.storage.post_call_parameters import PostCall
from zaqar.storage.queues_without_subscribers_cache import UnsubscribedQueues
from zaqar.storage.sqlalchemy import outbox_posting
from zaqar.storage.sqlalchemy.posting import split_ids
from zaqar.storage.sqlalchemy.posts_by_queue import (
    by_queue,
    oldest_version,
    results,
)
from zaqar.storage.sqlalchemy.statement_execution import SqlSession

#: ``l`` locks the rows of queues. A queue gets no numbers if a token of its
#: posts is known; for a token that was stored a moment ago ``t`` has no row,
#: so that its messages are not written. Nothing is written to a queue that has
#: subscribers and does not meet the condition ``{only}``.
_STATEMENT = """
WITH g AS (
    SELECT * FROM unnest(:qids::text[], :counts::bigint[],
        :versions::bigint[], :ready::bool[])
    AS g (qid, count, version, ready)),
l AS (
    SELECT qid FROM message_queue WHERE qid = ANY(:qids::text[])
    FOR UPDATE {skip}),
q AS (
    UPDATE message_queue u SET next_seq = u.next_seq + g.count,
        live = u.live + g.count
    FROM l JOIN g ON g.qid = l.qid
    WHERE u.qid = l.qid AND u.dropped_at IS NULL
        AND u.least_version <= g.version AND (u.subscribed <= 0 OR {only})
        AND (SELECT count(*) FROM post_token k WHERE k.queue_id = u.id
            AND k.token = ANY(:tokens::text[])) = 0
    RETURNING u.id, u.qid, u.next_seq - g.count AS first, u.subscribed),
p AS (
    SELECT * FROM unnest(:post_qids::text[], :places::bigint[],
        :rnds::text[], :ttls::int[], :delays::bigint[], :clients::text[],
        :checksums::text[], :public_ids::text[], :bodies::bytea[],
        :tokens::text[])
    AS p (qid, place, rnd, ttl, delay, client, checksum, public_id, body,
        token)),
t AS (
    INSERT INTO post_token (queue_id, token, ids, keep_until)
    SELECT q.id, p.token,
        convert_to(string_agg(coalesce(p.public_id,
            lpad(to_hex(q.first + p.place), 16, '0') || p.rnd), ''
            ORDER BY p.place), 'SQL_ASCII'),
        :now + greatest({lifetime}, max(CASE WHEN p.public_id IS NULL THEN 0
            ELSE p.ttl::bigint * 1000 END))
    FROM q JOIN p ON p.qid = q.qid GROUP BY q.id, p.token
    ON CONFLICT DO NOTHING
    RETURNING queue_id, token, ids),
m AS (
    INSERT INTO message (queue_id, seq, rnd, state, wake_at, expires_at,
        created_at, ttl, client, claim_count, checksum, public_id, body)
    SELECT q.id, q.first + p.place, p.rnd,
        CASE WHEN p.delay > 0 THEN 2 ELSE 0 END,
        CASE WHEN p.delay > 0 THEN :now + p.delay ELSE 0 END,
        :now + p.ttl::bigint * 1000, :now, p.ttl, p.client, 0, p.checksum,
        p.public_id, p.body
    FROM q JOIN p ON p.qid = q.qid
    JOIN t ON t.queue_id = q.id AND t.token = p.token){more}
SELECT q.qid, t.token, t.ids, q.subscribed FROM q
LEFT JOIN t ON t.queue_id = q.id
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
    FROM message_queue o, unnest(:n_qids::text[], :n_seqs::bigint[],
        :n_rnds::text[], :n_ttls::int[], :n_delays::bigint[],
        :n_clients::text[], :n_checksums::text[], :n_bodies::bytea[],
        :n_tokens::text[])
    AS n (qid, seq, rnd, ttl, delay, client, checksum, body, token)
    JOIN q ON q.qid = n.qid
    JOIN t ON t.queue_id = q.id AND t.token = n.token
    WHERE o.qid = :outbox AND q.subscribed > 0)"""


@functools.cache
def _statement(skip: bool, notifies: bool) -> str:
    outbox = 'EXISTS (SELECT 1 FROM message_queue o WHERE o.qid = :outbox)'
    return _STATEMENT.format(
        skip='SKIP LOCKED' if skip else '',
        only=f'(g.ready AND {outbox})' if notifies else 'g.ready',
        more=_NOTICES if notifies else '',
        lifetime=TOKEN_LIFETIME,
    )


def post(
    session: SqlSession,
    posts: Sequence[PostCall],
    unsubscribed: UnsubscribedQueues,
    *,
    skip: bool,
) -> list[Sequence[str] | None]:
    """Store posts; to one queue, unless locked ones are left out.

    :param skip: whether queues that are locked are left out
    :returns: the ids of each, None where the queue or a token is not ready
    """
    now = max(post.now for post in posts)
    queues = by_queue(posts)
    # Read once: those that are missing here get their notices.
    quiet = {qid for qid in queues if qid in unsubscribed}
    flat = [
        (post, place, item)
        for group in queues.values()
        for place, (post, item) in enumerate(
            (post, item) for post in group for item in post.messages
        )
    ]
    items = [item for *_, item in flat]
    counts = Counter(post.qid for post, *_ in flat)
    notifying = [
        post
        for qid, group in queues.items()
        for post in group
        if post.notice and qid not in quiet
    ]
    values: dict[str, Any] = {
        'now': now,
        'qids': [*queues],
        'counts': [counts[qid] for qid in queues],
        'versions': [oldest_version(group) for group in queues.values()],
        'ready': [
            qid not in quiet or not any(post.notice for post in group)
            for qid, group in queues.items()
        ],
        'post_qids': [post.qid for post, *_ in flat],
        'places': [place for _, place, _ in flat],
        'rnds': [item.rnd for item in items],
        'ttls': [item.ttl for item in items],
        'delays': [item.delay * 1000 for item in items],
        'clients': [item.client for item in items],
        'checksums': [item.checksum for item in items],
        'public_ids': [item.id for item in items],
        'bodies': [item.body for item in items],
        'tokens': [post.token for post, *_ in flat],
    }
    if notifying:
        values |= _notices(notifying, now)
    stored: dict[tuple[str, str], Sequence[str]] = {}
    sql = _statement(skip, bool(notifying))
    for qid, token, ids, epoch in session.all(sql, values):
        unsubscribed.update(qid, epoch)
        if token is not None:
            stored[qid, token] = split_ids(ids)
    return results(posts, stored)


def _notices(posts: Sequence[PostCall], now: int) -> dict[str, Any]:
    notices = [post.notice() for post in posts if post.notice]
    first = outbox_posting.NUMBERS.take(now, len(notices))
    return {
        'outbox': OUTBOX,
        'n_qids': [post.qid for post in posts],
        'n_tokens': [post.token for post in posts],
        'n_seqs': [first + place for place in range(len(notices))],
        'n_rnds': [item.rnd for item in notices],
        'n_ttls': [item.ttl for item in notices],
        'n_delays': [item.delay * 1000 for item in notices],
        'n_clients': [item.client for item in notices],
        'n_checksums': [item.checksum for item in notices],
        'n_bodies': [item.body for item in notices],
    }
