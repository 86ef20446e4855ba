# SPDX-License-Identifier: Apache-2.0
"""Storage of posts.

The queue's row is locked first, which makes the order of commits the order of
sequence numbers: a reader that pages by number never skips a message that
becomes visible later. The same row tells whether a notice is needed.
"""

from collections.abc import Sequence
from typing import Any

from zaqar.errors import QueueFull
from zaqar.objects import NewMessage
from zaqar.storage import duplicate_messages_and_new_ids, ids_of_repeated_posts
from zaqar.storage.post_call_parameters import PostCall
from zaqar.storage.queues_without_subscribers_cache import UnsubscribedQueues
from zaqar.storage.sqlalchemy import (
    deduplication,
    expired_group_heads,
    group_locks,
    outbox_notice_posting,
    postgresql_post_announcements,
    queue_message_limit,
    queue_row,
    sqlite_posts,
    stranded_group_search,
)
from zaqar.storage.sqlalchemy.message_rows import (
    DELAYED,
    FREE,
    IN_GROUP,
    NEW_COLUMNS,
    NEW_VALUES,
    new_row,
)
from zaqar.storage.sqlalchemy.statement_execution import SqlSession

_ADVANCE = (
    'UPDATE message_queue SET next_seq = next_seq + :count, '
    'live = live + :count, bytes = bytes + :size WHERE qid = :qid'
)
_ADVANCE_AND_ANNOUNCE = (
    f'{_ADVANCE} RETURNING '
    f'{postgresql_post_announcements.ANNOUNCE.format(row="message_queue")}'
)
_SET_GROUPED = 'UPDATE message_queue SET grouped = 1 WHERE qid = :qid'
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
    if session.dialect == 'sqlite' and not limit:
        ids = sqlite_posts.post(session, post, unsubscribed)
        if ids is not None:
            return ids
    queue = queue_row.lock(session, post.qid, post.now)
    queue_row.check_version(post.version, queue.least_version)
    unsubscribed.update(post.qid, queue.subscribed)
    stored = deduplication.stored_ids(session, post, queue.id)
    if stored is not None:
        return stored
    known = deduplication.known_ids(session, post)
    ids, places, new = duplicate_messages_and_new_ids.assign_ids(
        post, queue.next_seq, known
    )
    messages = post.messages
    if len(places) < len(messages):
        messages = [messages[place] for place in places]
    if limit and messages:
        try:
            queue_message_limit.check_room(
                session, queue, len(messages), limit, post.now
            )
        except QueueFull as refusal:
            return refusal
        finally:
            expired_group_heads.mend(session, queue, post.now)
    rows = [
        {'queue_id': queue.id, **new_row(seq, message, post.now)}
        for seq, message in enumerate(messages, queue.next_seq)
    ]
    remembered = ids_of_repeated_posts.to_remember(post, ids, places)
    deduplication.store_ids(session, post, queue.id, remembered)
    deduplication.remember(session, post, new)
    if not messages:
        return ids
    _place_in_groups(session, queue, post.qid, rows, post.now)
    session.later_many(_INSERT, rows)
    _advance(session, post.qid, messages)
    if post.notice and queue.subscribed > 0:
        notice = post.notice(places)
        outbox_notice_posting.add_notice(session, notice, post.now)
    return ids


def _advance(
    session: SqlSession, qid: str, messages: Sequence[NewMessage]
) -> None:
    size = sum(item.size for item in messages)
    values = {'qid': qid, 'count': len(messages), 'size': size}
    if session.dialect != 'postgresql':
        session.later(_ADVANCE, values)
        return
    announcement = postgresql_post_announcements.announcement(qid, messages)
    session.later(
        _ADVANCE_AND_ANNOUNCE, {**values, 'announcement': announcement}
    )


def _place_in_groups(
    session: SqlSession,
    queue: queue_row.QueueRow,
    qid: str,
    rows: Sequence[dict[str, Any]],
    now: int,
) -> None:
    """Make new messages of a locked queue the first ones of their groups.

    Those that are; within a transaction.

    :param rows: of :func:`.message_rows.new_row`, in order, to be changed
    """
    keys = {key for row in rows if (key := row['group_key']) is not None}
    if not keys:
        return
    if not queue.grouped:
        session.later(_SET_GROUPED, {'qid': qid})
    firsts = group_locks.lock(session, queue.id, keys)
    hidden = {
        first.key for first in firsts.values() if first.state == IN_GROUP
    }
    dead = [
        first
        for first in firsts.values()
        if first.key not in hidden and first.expires_at <= now
    ]
    present = {*firsts} - hidden - {first.key for first in dead}
    present |= stranded_group_search.search(session, queue.id, hidden, now)
    present |= expired_group_heads.pass_over(
        session,
        queue.id,
        {first.key: {first.claim_id or ''} - {''} for first in dead},
        now,
        [first.seq for first in dead],
    )
    for row in rows:
        key = row['group_key']
        if key is None or key in present:
            continue
        present.add(key)
        row['wake_at'] = -row['wake_at']
        row['state'] = DELAYED if row['wake_at'] else FREE
