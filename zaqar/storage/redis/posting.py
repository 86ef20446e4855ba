# SPDX-License-Identifier: Apache-2.0
"""Storing messages, and the notice for subscribers with them."""

from collections.abc import Callable, Sequence
from typing import Any

from zaqar.errors import QueueFull, QueueGone, StaleMetadata
from zaqar.models import NewMessage
from zaqar.storage.base import OUTBOX
from zaqar.storage.message_ids import make_id
from zaqar.storage.post_call_parameters import PostCall
from zaqar.storage.queues_without_subscribers_cache import UnsubscribedQueues
from zaqar.storage.redis import keys, message_codec, scripts
from zaqar.storage.redis.client import RedisClient
from zaqar.storage.redis.scripts import Status

#: Whether a script stores a notice: no; yes, but none is passed; yes.
_NO_NOTICE, _WITHOUT_NOTICE, _WITH_NOTICE = range(3)


class Posts:
    def __init__(self, client: RedisClient) -> None:
        self._client = client
        self._unsubscribed = UnsubscribedQueues()

    def post(self, post: PostCall, limit: int) -> Sequence[str]:
        if post.notice is None:
            record, _ = self._store(post, limit, _NO_NOTICE)
        elif self._client.is_single_server:
            record = self._with_notice(post, limit, post.notice)
        else:
            record = self._then_notice(post, limit, post.notice)
        return _ids(record, post.messages)

    def _with_notice(
        self, post: PostCall, limit: int, notice: Callable[[], NewMessage]
    ) -> bytes:
        """Store messages and their notice in one step."""
        if post.qid in self._unsubscribed:
            record, epoch = self._store(post, limit, _WITHOUT_NOTICE)
            if record:
                return record
        group = _group(_notice_token(post), [notice()], post.now)
        record, epoch = self._store(post, limit, _WITH_NOTICE, group)
        self._unsubscribed.update(post.qid, epoch)
        return record

    def _then_notice(
        self, post: PostCall, limit: int, notice: Callable[[], NewMessage]
    ) -> bytes:
        """Store messages, then their notice, which is in another slot.

        A repeated post does so again; the token of the notice keeps it from
        being stored twice.
        """
        record, epoch = self._store(post, limit, _NO_NOTICE)
        if epoch:
            token = _notice_token(post)
            own = PostCall(OUTBOX, token, [notice()], post.now)
            self._store(own, 0, _NO_NOTICE)
        return record

    def _store(
        self,
        post: PostCall,
        limit: int,
        notice: int,
        group: Sequence[Any] = (),
    ) -> tuple[bytes, int]:
        """Return what is stored under the token, and the epoch of the flag.

        :returns: nothing is stored if a notice must be passed first
        """
        names = keys.of_queue(self._client.prefix, post.qid, post.now)
        if group:
            outbox = keys.of_queue(self._client.prefix, OUTBOX, post.now)
            names = (*names, *outbox)
        version = '' if post.version is None else post.version
        own = _group(post.token, post.messages, post.now)
        status, *answer = self._client.run(
            scripts.POST,
            names,
            (post.now, limit, notice, version, *own, *group),
        )
        if status == Status.GONE:
            raise QueueGone
        if status == Status.STALE:
            raise StaleMetadata
        if status == Status.FULL:
            raise QueueFull(answer[0], limit)
        if status == Status.AGAIN:
            return b'', int(answer[0])
        return answer[0], int(answer[1])


def _notice_token(post: PostCall) -> str:
    return f'{post.qid}{post.token}'


def _group(
    token: str, messages: Sequence[NewMessage], now: int
) -> Sequence[Any]:
    """Return the arguments of a script for one token."""
    beside = _beside(messages)
    group: list[Any] = [
        token,
        ''.join(item.rnd for item in messages),
        max(
            (message_codec.expiry(item, now) for item in messages), default=now
        ),
        ''.join(item.id for item in messages if item.id),
        len(messages),
        len(beside) // 3,
    ]
    for item in messages:
        delay = item.delay * 1000
        group += (
            now + delay if delay else '',
            message_codec.encode(item, now),
        )
    return [*group, *beside]


def _beside(messages: Sequence[NewMessage]) -> Sequence[Any]:
    """Return letter, number and value of what is stored beside bodies."""
    flat: list[Any] = []
    for number, item in enumerate(messages, 1):
        if item.group is not None:
            flat += (message_codec.GROUP, number, item.group)
        if item.extras is not None:
            flat += (message_codec.EXTRAS, number, item.extras)
    return flat


def _ids(record: bytes, messages: Sequence[NewMessage]) -> Sequence[str]:
    """Return the ids that were assigned under a token."""
    own_ids = [item.id for item in messages if item.id]
    if own_ids:
        return own_ids
    first, _, halves = record.decode().partition(' ')
    return [
        make_id(int(first) + place, halves[place * 16 : place * 16 + 16])
        for place in range(len(halves) // 16)
    ]
