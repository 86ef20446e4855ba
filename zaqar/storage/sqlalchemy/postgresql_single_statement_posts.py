# SPDX-License-Identifier: Apache-2.0
"""Posts in one statement, hence in one round trip (PostgreSQL)."""

from collections.abc import Sequence
from typing import Any

from zaqar.objects import NewMessage
from zaqar.storage.abstract_stores import OUTBOX, TOKEN_LIFETIME
from zaqar.storage.post_call_parameters import PostCall
from zaqar.storage.queues_without_subscribers_cache import UnsubscribedQueues
from zaqar.storage.sqlalchemy import (
    outbox_notice_posting,
    postgresql_post_announcements,
)
from zaqar.storage.sqlalchemy.deduplication import split_ids
from zaqar.storage.sqlalchemy.postgresql_array_literals import array
from zaqar.storage.sqlalchemy.posts_by_queue import (
    by_queue,
    oldest_version,
    results,
)
from zaqar.storage.sqlalchemy.statement_execution import SqlSession

#: ``q`` locks the queue's row, unless a token of the posts is known; for one
#: that was stored a moment ago ``t`` has no row, so that its messages are not
#: written. A plan that was made while the table was small, and is kept, would
#: read all tokens of the queue if they were compared with an array.
#: ``{only}`` is what the row must be like for nothing else to be done.
_STATEMENT = """
WITH q AS (
    UPDATE message_queue SET next_seq = next_seq + :count,
        live = live + :count, bytes = bytes + :size
    WHERE qid = :qid AND dropped_at IS NULL AND least_version <= :version
        AND {only} AND NOT EXISTS (
        SELECT 1 FROM unnest(:group_tokens::text[]) AS g (token) WHERE (
            SELECT 1 FROM post_token k WHERE k.queue_id = message_queue.id
            AND k.token = g.token) IS NOT NULL)
    RETURNING id, next_seq - :count AS first, subscribed, waited_until),
p AS (
    SELECT * FROM unnest(:places::bigint[], :rnds::text[], :ttls::int[],
        :delays::bigint[], :clients::text[], :checksums::text[],
        :public_ids::text[], :bodies::bytea[], :tokens::text[],
        :extras::bytea[])
    AS p (place, rnd, ttl, delay, client, checksum, public_id, body, token,
        extras)),
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
        created_at, ttl, client, claim_count, checksum, public_id, body,
        extras)
    SELECT q.id, q.first + p.place, p.rnd,
        CASE WHEN p.delay > 0 THEN 2 ELSE 0 END,
        CASE WHEN p.delay > 0 THEN :now + p.delay ELSE 0 END,
        :now + p.ttl::bigint * 1000, :now, p.ttl, p.client, 0, p.checksum,
        p.public_id, p.body, p.extras
    FROM q, p JOIN t ON t.token = p.token){more}
SELECT t.token, t.ids, q.subscribed, {announce}
FROM q LEFT JOIN t ON true
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


#: Notices are announced, too, where notifiers wait for them.
_ANNOUNCE_NOTICES = """, CASE WHEN q.subscribed > 0 THEN (
    SELECT {announce} FROM message_queue o WHERE o.qid = :outbox) END"""


def _statement(only: str, more: str = '') -> str:
    announce = postgresql_post_announcements.ANNOUNCE.format(row='q')
    if more:
        of_outbox = postgresql_post_announcements.ANNOUNCE.format(
            row='o'
        ).replace(':announcement', ':n_announcement')
        announce += _ANNOUNCE_NOTICES.format(announce=of_outbox)
    return _STATEMENT.format(
        only=only, more=more, lifetime=TOKEN_LIFETIME, announce=announce
    )


#: For posts without notices, for a queue that seems to have no subscribers,
#: and for one that has, which takes an outbox.
_WITHOUT_NOTICES = _statement('true')
_WITHOUT_SUBSCRIBERS = _statement('subscribed <= 0')
_WITH_NOTICES = _statement(
    '(subscribed <= 0 OR EXISTS (SELECT 1 FROM message_queue o '
    'WHERE o.qid = :outbox))',
    _NOTICES,
)


def post(
    session: SqlSession,
    posts: Sequence[PostCall],
    unsubscribed: UnsubscribedQueues,
) -> list[Sequence[str] | None]:
    """Store posts to one queue, of messages without a group.

    :returns: the ids of each, None where the queue or a token is not ready
    """
    ((qid, group),) = by_queue(posts).items()
    flat = [(post, item) for post in group for item in post.messages]
    items = [item for _, item in flat]
    now = max(post.now for post in group)
    values: dict[str, Any] = {
        'now': now,
        'qid': qid,
        'count': len(items),
        'size': sum(item.size for item in items),
        'version': oldest_version(group),
        'places': array([*range(len(items))]),
        'rnds': array([item.rnd for item in items]),
        'ttls': array([item.ttl for item in items]),
        'delays': array([item.delay * 1000 for item in items]),
        'clients': array([item.client for item in items]),
        'checksums': array([item.checksum for item in items]),
        'public_ids': array([item.id for item in items]),
        'bodies': [item.body for item in items],
        'tokens': array([post.token for post, _ in flat]),
        'extras': _extras(items),
        'group_tokens': array([post.token for post in group]),
        'announcement': postgresql_post_announcements.announcement(qid, items),
    }
    sql = _WITHOUT_NOTICES
    notifying = [post for post in group if post.notice]
    if notifying and qid in unsubscribed:
        sql = _WITHOUT_SUBSCRIBERS
    elif notifying:
        sql = _WITH_NOTICES
        values |= _notices(notifying, now)
    stored: dict[tuple[str, str], Sequence[str]] = {}
    for token, ids, epoch, *_ in session.all(sql, values):
        unsubscribed.update(qid, epoch)
        if token is not None:
            stored[qid, token] = split_ids(ids)
    return results(posts, stored)


def _extras(items: Sequence[NewMessage]) -> str | list[bytes | None]:
    """Return an array of bytes, most of the time of no bytes."""
    extras = [item.extras for item in items]
    if any(item is not None for item in extras):
        return extras
    return array([None] * len(extras))


def _notices(posts: Sequence[PostCall], now: int) -> dict[str, Any]:
    notices = [post.notice() for post in posts if post.notice]
    first = outbox_notice_posting.NUMBERS.take(now, len(notices))
    return {
        'outbox': OUTBOX,
        'n_tokens': array([post.token for post in posts]),
        'n_seqs': array([first + place for place in range(len(notices))]),
        'n_rnds': array([item.rnd for item in notices]),
        'n_ttls': array([item.ttl for item in notices]),
        'n_delays': array([item.delay * 1000 for item in notices]),
        'n_clients': array([item.client for item in notices]),
        'n_checksums': array([item.checksum for item in notices]),
        'n_bodies': [item.body for item in notices],
        'n_announcement': postgresql_post_announcements.announcement(
            OUTBOX, notices
        ),
    }
