# SPDX-License-Identifier: Apache-2.0
"""Deduplication of posts: what they are compared with, by tokens and ids.

Both are read and written while the row of the queue is locked.
"""

import hashlib
from collections.abc import Mapping, Sequence

from zaqar.errors import TokenReused
from zaqar.storage import duplicate_messages_and_new_ids, ids_of_repeated_posts
from zaqar.storage.post_call_parameters import PostCall
from zaqar.storage.sqlalchemy.statement_execution import SqlSession
from zaqar.storage.sqlalchemy.statement_parameters import (
    placeholder_values,
    placeholders,
)

ID_LENGTH = 32

#: Ids of one query.
_CHUNK = 200

_SELECT_TOKEN = (
    'SELECT ids, fingerprint, keep_until FROM post_token '
    'WHERE queue_id = :id AND token = :token'
)
_INSERT_TOKEN = (
    'INSERT INTO post_token (queue_id, token, ids, keep_until, fingerprint) '
    'VALUES (:id, :token, :ids, :keep_until, :fingerprint)'
)
_DELETE_TOKEN = (
    'DELETE FROM post_token WHERE queue_id = :id AND token = :token'
)
_SELECT = (
    'SELECT dedup_id, message_id FROM dedup WHERE qid = :qid '
    'AND dedup_id IN ({}) AND keep_until > :now'
)
_ROW = (
    'INTO dedup (qid, dedup_id, message_id, keep_until) '
    'VALUES (:qid, :dedup_id, :message_id, :keep_until)'
)
#: Instead of one whose time is over.
_REPLACE_MYSQL = f'REPLACE {_ROW}'
_REPLACE = (
    f'INSERT {_ROW} ON CONFLICT (qid, dedup_id) DO UPDATE '
    'SET message_id = excluded.message_id, keep_until = excluded.keep_until'
)


def stored_ids(
    session: SqlSession, post: PostCall, queue_id: int
) -> Sequence[str] | None:
    """Return the ids that are stored under the token of a post, if any.

    :raises TokenReused: they are those of a post with another fingerprint
    """
    values = {'id': _token_space(post, queue_id), 'token': post.token}
    row = session.one(_SELECT_TOKEN, values)
    if row is None:
        return None
    ids, fingerprint, keep_until = row
    if post.fingerprint and keep_until <= post.now:
        session.run(_DELETE_TOKEN, values)
        return None
    if post.fingerprint and fingerprint != post.fingerprint:
        raise TokenReused
    return ids_of_repeated_posts.repeated(post.messages, split_ids(ids))


def store_ids(
    session: SqlSession, post: PostCall, queue_id: int, ids: Sequence[str]
) -> None:
    """Remember the ids of a post, under its token."""
    session.later(
        _INSERT_TOKEN,
        {
            'id': _token_space(post, queue_id),
            'token': post.token,
            'ids': ''.join(ids).encode(),
            'keep_until': post.token_expiry(post.now),
            'fingerprint': post.fingerprint or None,
        },
    )


def split_ids(ids: bytes) -> Sequence[str]:
    """Return the ids that are stored with a token."""
    text = bytes(ids).decode()
    return [
        text[start : start + ID_LENGTH]
        for start in range(0, len(text), ID_LENGTH)
    ]


def known_ids(session: SqlSession, post: PostCall) -> dict[str, str]:
    """Return messages of the queue of which a post may have duplicates."""
    names = duplicate_messages_and_new_ids.names(post)
    known: dict[str, str] = {}
    for start in range(0, len(names), _CHUNK):
        chunk = names[start : start + _CHUNK]
        rows = session.all(
            _SELECT.format(placeholders('d', len(chunk))),
            {
                'qid': post.qid,
                'now': post.now,
                **placeholder_values('d', chunk),
            },
        )
        known |= {str(name): str(message_id) for name, message_id in rows}
    return known


def remember(
    session: SqlSession, post: PostCall, new: Mapping[str, str]
) -> None:
    """Remember messages, whose duplicates will be recognized."""
    if not new:
        return
    is_mysql = session.dialect == 'mysql'
    session.later_many(
        _REPLACE_MYSQL if is_mysql else _REPLACE,
        [
            {
                'qid': post.qid,
                'dedup_id': name,
                'message_id': message_id,
                'keep_until': post.dedup_end(post.now),
            }
            for name, message_id in new.items()
        ],
    )


def _token_space(post: PostCall, queue_id: int) -> int:
    """Return the id that tokens of a queue are stored with.

    That of the queue changes with a purge. One that is made of its name, and
    is never that of a queue, does not.
    """
    if not post.fingerprint:
        return queue_id
    digest = hashlib.blake2b(post.qid.encode(), digest_size=8).digest()
    return -(int.from_bytes(digest) >> 2) - 1
