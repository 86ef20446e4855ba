# SPDX-License-Identifier: Apache-2.0
"""Deduplication of posts: what they are compared with, by tokens and ids.

They are documents beside the messages of their queue, without a place there.
Those that a purge must not remove are found by the queue's own name.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from pymongo import UpdateOne
from pymongo.client_session import ClientSession

from zaqar.storage import duplicate_messages_and_new_ids
from zaqar.storage.mongodb import document_layout
from zaqar.storage.mongodb.database_commands_and_transactions import (
    CHUNK,
    in_time,
)
from zaqar.storage.mongodb.document_layout import Document
from zaqar.storage.mongodb.queue_state_cache import CachedQueue
from zaqar.storage.post_call_parameters import PostCall

_ID_LENGTH = 16


def token_id(queue: CachedQueue, post: PostCall) -> str:
    """Return the ``_id`` of the document with the token of a post."""
    if post.fingerprint:
        return f'{post.qid}/{post.token}'
    return document_layout.token_id(queue.key, post.token)


def token(queue: CachedQueue, post: PostCall, ids: Sequence[str]) -> Document:
    """Return the document with the token of a post."""
    document: Document = {
        '_id': token_id(queue, post),
        'e': document_layout.date(post.token_expiry(post.now)),
        'ids': b''.join(map(bytes.fromhex, ids)),
    }
    if post.fingerprint:
        document['fp'] = post.fingerprint
    else:
        document['k'] = document_layout.ahead(queue.key)
    return document


def split_ids(ids: bytes) -> Sequence[str]:
    """Return the ids that are stored with a token."""
    return [
        ids[start : start + _ID_LENGTH].hex()
        for start in range(0, len(ids), _ID_LENGTH)
    ]


def known_ids(
    queue: CachedQueue, post: PostCall, session: ClientSession | None
) -> dict[str, str]:
    """Return messages of the queue of which a post may have duplicates.

    :returns: ids, by what their duplicates are recognized by
    """
    keys = {
        _key(post, name): name
        for name in duplicate_messages_and_new_ids.names(post)
    }
    known: dict[str, str] = {}
    wanted = [*keys]
    for start in range(0, len(wanted), CHUNK):
        where: Document = {
            '_id': {'$in': wanted[start : start + CHUNK]},
            'e': {'$gt': document_layout.date(post.now)},
        }
        with in_time():
            for row in queue.messages.find(where, session=session):
                known[keys[row['_id']]] = bytes(row['ids']).hex()
    return known


def remember(
    queue: CachedQueue,
    post: PostCall,
    new: Mapping[str, str],
    session: ClientSession | None,
) -> None:
    """Remember messages, whose duplicates will be recognized."""
    writes: list[Any] = []
    for name, message_id in new.items():
        change = {
            'e': document_layout.date(post.dedup_end(post.now)),
            'ids': bytes.fromhex(message_id),
        }
        # There may be one whose time is over.
        where = {'_id': _key(post, name)}
        writes.append(UpdateOne(where, {'$set': change}, upsert=True))
    for start in range(0, len(writes), CHUNK):
        with in_time():
            queue.messages.bulk_write(
                writes[start : start + CHUNK], session=session
            )


def _key(post: PostCall, name: str) -> str:
    return f'{post.qid}:{name}'
