# SPDX-License-Identifier: Apache-2.0
"""Posts in one compound statement, hence in one round trip (MariaDB)."""

from collections.abc import Sequence

from zaqar.objects import NewMessage
from zaqar.storage.abstract_stores import OUTBOX
from zaqar.storage.group_commit import Sharing
from zaqar.storage.message_ids import id_of
from zaqar.storage.post_call_parameters import PostCall
from zaqar.storage.queues_without_subscribers_cache import UnsubscribedQueues
from zaqar.storage.sqlalchemy import outbox_notice_posting, posts_by_queue
from zaqar.storage.sqlalchemy.message_rows import (
    NEW_COLUMNS,
    NEW_VALUES,
    ROOM_FOR_CLAIM,
    new_row,
)
from zaqar.storage.sqlalchemy.message_sql_fragments import QUEUE
from zaqar.storage.sqlalchemy.statement_execution import SqlSession

#: Posts to a queue. The numbers are used while its row is locked; the result
#: is the first one, or NULL and whether the queue is ready but locked.
_BLOCK = f"""BEGIN
DECLARE q, s, u BIGINT;
SELECT id, next_seq, subscribed INTO q, s, u FROM message_queue
WHERE qid = :qid AND dropped_at IS NULL AND least_version <= :version
FOR UPDATE{{skip}};
IF q IS NOT NULL AND (u <= 0 OR {{ready}}) THEN
INSERT INTO post_token (queue_id, token, ids, keep_until) VALUES {{tokens}};
INSERT INTO message ({NEW_COLUMNS}, claim_id)
VALUES {{messages}};
UPDATE message_queue SET next_seq = next_seq + :count, live = live + :count,
bytes = bytes + :size WHERE qid = :qid;
{{more}}SELECT s, u, 0;
ELSE SELECT NULL, u, q IS NULL AND EXISTS (SELECT 1 FROM message_queue
WHERE qid = :qid AND dropped_at IS NULL AND least_version <= :version);
END IF;
END"""
_NOTICES = f"""IF u > 0 THEN
INSERT INTO message ({NEW_COLUMNS}, claim_id)
VALUES {{notices}};
END IF;
"""
_ROW = f"({{queue}} + {NEW_VALUES}, '{ROOM_FOR_CLAIM}')"
_MESSAGE = _ROW.format(queue='q, s')
_NOTICE = _ROW.format(queue='@outbox, 0')
_NEW_ID = "LOWER(LPAD(HEX(s + :place), 16, '0')), :rnd"


def post(
    session: SqlSession,
    posts: Sequence[PostCall],
    unsubscribed: UnsubscribedQueues,
    *,
    skip: bool,
) -> list[Sequence[str] | Sharing | None]:
    """Store posts to one queue and commit.

    That a token is new shows in its INSERT.

    :param skip: whether they are left out while the queue is locked
    :returns: the ids of each, None if the queue is locked
    """
    ((qid, group),) = posts_by_queue.by_queue(posts).items()
    now = max(post.now for post in group)
    # Read once: those that are missing here get their notices.
    is_quiet = qid in unsubscribed
    if not is_quiet and any(post.notice for post in group):
        session.later(f'SELECT {QUEUE} INTO @outbox', {'qid': OUTBOX})
    session.later(_block(session, group, now, is_quiet, skip), {})
    (((first, epoch, is_locked),),) = session.finish()
    if epoch is not None:
        unsubscribed.update(qid, epoch)
    if first is None:
        return [None if is_locked else Sharing.DO_ALONE for _ in posts]
    stored: dict[tuple[str, str], Sequence[str]] = {}
    for post in group:
        stored[qid, post.token] = [
            id_of(item, seq) for seq, item in enumerate(post.messages, first)
        ]
        first += len(post.messages)
    return [
        Sharing.DO_ALONE if ids is None else ids
        for ids in posts_by_queue.results(posts, stored)
    ]


def _block(
    session: SqlSession,
    posts: Sequence[PostCall],
    now: int,
    is_quiet: bool,
    skip: bool,
) -> str:
    """Return a block that stores posts to a queue."""
    tokens: list[str] = []
    messages: list[str] = []
    size = 0
    for post in posts:
        ids: list[str] = []
        for item in post.messages:
            values = new_row(len(messages), item, now)
            ids.append(_id(session, item, len(messages)))
            messages.append(session.text(_MESSAGE, values))
            size += item.size
        token = session.text(':token', {'token': post.token})
        expiry = post.token_expiry(now)
        tokens.append(f'(q, {token}, CONCAT({", ".join(ids)}), {expiry})')
    notices = [post.notice for post in posts if post.notice]
    ready, more = 'TRUE', ''
    if notices and is_quiet:
        ready = 'FALSE'
    elif notices:
        ready = '@outbox IS NOT NULL'
        first = outbox_notice_posting.NUMBERS.take(now, len(notices))
        more = _NOTICES.format(
            notices=', '.join(
                session.text(_NOTICE, new_row(seq, notice(), now))
                for seq, notice in enumerate(notices, first)
            )
        )
    values = {
        'qid': posts[0].qid,
        'version': posts_by_queue.oldest_version(posts),
        'count': len(messages),
        'size': size,
    }
    return session.text(_BLOCK, values).format(
        skip=' SKIP LOCKED' if skip else '',
        ready=ready,
        tokens=', '.join(tokens),
        messages=', '.join(messages),
        more=more,
    )


def _id(session: SqlSession, item: NewMessage, place: int) -> str:
    """Return SQL for the id of a message."""
    if item.id:
        return session.text(':id', {'id': item.id})
    return session.text(_NEW_ID, {'place': place, 'rnd': item.rnd})
