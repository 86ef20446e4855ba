# SPDX-License-Identifier: Apache-2.0
"""Posts to any number of queues, in a few statements (MariaDB).

The rows of the queues are locked first: what comes with the next round trip
is literal, since the numbers are known.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

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
from zaqar.storage.sqlalchemy.statement_parameters import (
    placeholder_values,
    placeholders,
)

#: By the key, however few queues there are: a scan would wait for all.
_TABLE = 'message_queue FORCE INDEX (PRIMARY)'
_LOCK = (
    'SELECT qid, id, next_seq, subscribed, least_version '
    f'FROM {_TABLE} WHERE {{}} AND dropped_at IS NULL FOR UPDATE'
)
_TOKEN = (
    'INSERT INTO post_token (queue_id, token, ids, keep_until) '
    'VALUES (:queue_id, :token, :ids, :keep_until)'
)
_MESSAGE = (
    f'INSERT INTO message ({NEW_COLUMNS}, claim_id) '
    f"VALUES (:queue_id, {NEW_VALUES}, '{ROOM_FOR_CLAIM}')"
)


class _Queue(NamedTuple):
    """The row of a queue, which is locked."""

    id: int
    next_seq: int
    subscribed: int
    least_version: int


def post(
    session: SqlSession,
    qids: Collection[str],
    board: Callable[[Callable[[PostCall], bool]], Sequence[PostCall]],
    unsubscribed: UnsubscribedQueues,
    *,
    awaited: str | None = None,
) -> list[Sequence[str] | Sharing | None]:
    """Lock queues, store posts and commit.

    That a token is new shows in its INSERT.

    :param qids: queues that are locked if they are free
    :param board: returns the posts, and of those that are to come along those
        of which a function says that their queue is locked
    :param awaited: a queue of which the lock is waited for
    :returns: the ids of each post, None where others have locked the queue
    """
    queues, outbox = _lock(session, qids, awaited)
    for qid, queue in queues.items():
        unsubscribed.update(qid, queue.subscribed)
    posts = board(lambda post: post.qid in queues)
    stored = _store(session, posts, queues, outbox)
    missing = sorted({post.qid for post in posts} - {*queues})
    if missing:
        session.later(
            f'SELECT qid FROM message_queue WHERE qid IN '
            f'({placeholders("q", len(missing))}) AND dropped_at IS NULL',
            placeholder_values('q', missing),
        )
    busy = {qid for rows in session.finish() for (qid,) in rows}
    return [
        Sharing.DO_ALONE if ids is None and post.qid not in busy else ids
        for post, ids in zip(
            posts, posts_by_queue.results(posts, stored), strict=True
        )
    ]


def _lock(
    session: SqlSession, qids: Collection[str], awaited: str | None
) -> tuple[Mapping[str, _Queue], int | None]:
    """Lock rows, and return them by queue, and the id of the outbox."""
    statements: list[tuple[str, Mapping[str, Any]]] = []
    if awaited is not None:
        # First, while nobody waits for others.
        statements.append((_LOCK.format('qid = :qid'), {'qid': awaited}))
    free = sorted({*qids} - {awaited})
    if free:
        keys = f'qid IN ({placeholders("q", len(free))})'
        values = placeholder_values('q', free)
        statements.append((f'{_LOCK.format(keys)} SKIP LOCKED', values))
    statements.append((f'SELECT {QUEUE}', {'qid': OUTBOX}))
    *locked, ((outbox,),) = session.several(statements)
    queues = {qid: _Queue(*row) for rows in locked for qid, *row in rows}
    return queues, outbox


def _store(
    session: SqlSession,
    posts: Sequence[PostCall],
    queues: Mapping[str, _Queue],
    outbox: int | None,
) -> dict[tuple[str, str], Sequence[str]]:
    """Store posts before the next round trip.

    :param outbox: the id of that queue, None if there is none yet
    :returns: ids by queue and token, of those whose queue is ready
    """
    now = max(post.now for post in posts)
    stored: dict[tuple[str, str], Sequence[str]] = {}
    tokens: list[dict[str, Any]] = []
    messages: list[dict[str, Any]] = []
    changes: list[dict[str, int | str]] = []
    for qid, group in posts_by_queue.by_queue(posts).items():
        queue = queues.get(qid)
        if queue is None:
            continue
        seq, size = queue.next_seq, 0
        for post in group:
            if not _is_ready(queue, post, outbox):
                continue
            ids: list[str] = []
            for item in post.messages:
                row = new_row(seq, item, now)
                messages.append({'queue_id': queue.id, **row})
                ids.append(id_of(item, seq))
                seq += 1
                size += item.size
            tokens.append(
                {
                    'queue_id': queue.id,
                    'token': post.token,
                    'ids': ''.join(ids),
                    'keep_until': post.token_expiry(now),
                }
            )
            stored[qid, post.token] = ids
            if post.notice and queue.subscribed > 0:
                number = outbox_notice_posting.NUMBERS.take(now, 1)
                notice = new_row(number, post.notice(), now)
                messages.append({'queue_id': outbox, **notice})
        if seq > queue.next_seq:
            changes.append(
                {
                    'qid': qid,
                    'id': queue.id,
                    'seq': queue.next_seq,
                    'count': seq - queue.next_seq,
                    'size': size,
                }
            )
    if changes:
        session.later_many(_TOKEN, tokens)
        session.later_many(_MESSAGE, messages)
        _advance(session, changes)
    return stored


def _is_ready(queue: _Queue, post: PostCall, outbox: int | None) -> bool:
    if post.version is not None and post.version < queue.least_version:
        return False
    return post.notice is None or queue.subscribed <= 0 or outbox is not None


def _advance(
    session: SqlSession, changes: Sequence[Mapping[str, int | str]]
) -> None:
    """Count messages in the rows of their queues.

    These are as they were locked, or the transaction conflicts with another:
    a Galera node ends locks of its own when another one gets ahead.
    """
    values: dict[str, Any] = {}
    rows: list[str] = []
    counts: list[str] = []
    sizes: list[str] = []
    for place, change in enumerate(changes):
        values |= {f'{name}{place}': value for name, value in change.items()}
        rows.append(
            f'(qid = :qid{place} AND id + 0 = :id{place} '
            f'AND next_seq = :seq{place})'
        )
        counts.append(f'WHEN :qid{place} THEN :count{place}')
        sizes.append(f'WHEN :qid{place} THEN :size{place}')
    count = f'CASE qid {" ".join(counts)} END'
    session.later(
        f'UPDATE {_TABLE} SET next_seq = next_seq + {count}, '
        f'live = live + {count}, bytes = bytes + CASE qid {" ".join(sizes)} '
        f'END WHERE {" OR ".join(rows)}',
        values,
        rows=len(changes),
    )
