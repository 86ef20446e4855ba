# SPDX-License-Identifier: Apache-2.0
"""Storing messages, and with them the notice for subscribers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from zaqar.errors import QueueFull, QueueGone, StaleMetadata
from zaqar.models import NewMessage
from zaqar.storage.base import OUTBOX
from zaqar.storage.redis import keys, rows, scripts
from zaqar.storage.redis.server import Server
from zaqar.storage.subscriber_flags import UnsubscribedQueues

_OK, _AGAIN, _GONE, _FULL = range(4)
_STALE = 7

#: What a script is told of a notice.
_NONE, _WANTED, _GIVEN = range(3)

NoticeFactory = Callable[[], NewMessage]


@dataclass(frozen=True, slots=True)
class _Post:
    """One call."""

    qid: str
    messages: Sequence[NewMessage]
    now: int
    token: str
    limit: int
    version: int | None = None


class Posts:
    """Stores messages on a server."""

    def __init__(self, server: Server, prefix: str) -> None:
        self._server = server
        self._prefix = prefix
        self._unsubscribed = UnsubscribedQueues()

    def post(
        self,
        qid: str,
        messages: Sequence[NewMessage],
        *,
        now: int,
        token: str,
        limit: int,
        notice: NoticeFactory | None,
        version: int | None,
    ) -> Sequence[str]:
        """See :meth:`zaqar.storage.base.MessageStore.post`."""
        post = _Post(qid, messages, now, token, limit, version)
        if notice is None:
            record, _ = self._store(post, (_NONE,))
        elif self._server.is_one:
            record = self._with_notice(post, notice)
        else:
            record = self._then_notice(post, notice)
        return _ids(record, messages)

    def _with_notice(self, post: _Post, notice: NoticeFactory) -> bytes:
        """Store messages and their notice in one step."""
        if post.qid in self._unsubscribed:
            record, mark = self._store(post, (_WANTED,))
            if record:
                return record
        group = _group(self._notice_token(post), [notice()], post.now)
        record, mark = self._store(post, (_GIVEN,), group)
        self._unsubscribed.update(post.qid, mark)
        return record

    def _then_notice(self, post: _Post, notice: NoticeFactory) -> bytes:
        """Store messages, then their notice: it lies in another slot.

        A repeated post comes by here again, and the token of the notice
        keeps it from being stored twice.
        """
        record, mark = self._store(post, (_NONE,))
        if mark:
            token = self._notice_token(post)
            self._store(
                _Post(OUTBOX, [notice()], post.now, token, 0), (_NONE,)
            )
        return record

    def _store(
        self,
        post: _Post,
        notice: tuple[int],
        group: Sequence[Any] = (),
    ) -> tuple[bytes, int]:
        """Return what is kept under the token, and the queue's mark.

        :returns: nothing is kept if a notice is wanted first
        """
        names = keys.of_queue(self._prefix, post.qid, post.now)
        if group:
            outbox = keys.of_queue(self._prefix, OUTBOX, post.now)
            names = (*names, *outbox)
        version = '' if post.version is None else post.version
        own = _group(post.token, post.messages, post.now)
        status, *found = self._server.run(
            scripts.POST,
            names,
            (post.now, post.limit, *notice, version, *own, *group),
        )
        if status == _GONE:
            raise QueueGone
        if status == _STALE:
            raise StaleMetadata
        if status == _FULL:
            raise QueueFull(
                f'The queue holds {found[0]} messages and may hold '
                f'{post.limit}.'
            )
        if status == _AGAIN:
            return b'', int(found[0])
        return found[0], int(found[1])

    def _notice_token(self, post: _Post) -> str:
        return f'{post.qid}{post.token}'


def _group(
    token: str, messages: Sequence[NewMessage], now: int
) -> Sequence[Any]:
    """Return the arguments of a script for one token."""
    letter = next((item.id for item in messages if item.id), '')
    group: list[Any] = [
        token,
        ''.join(item.rnd for item in messages),
        max((rows.death(item, now) for item in messages), default=now),
        letter,
        len(messages),
    ]
    for item in messages:
        delay = item.delay * 1000
        group += (now + delay if delay else '', rows.encode(item, now))
    return group


def _ids(record: bytes, messages: Sequence[NewMessage]) -> Sequence[str]:
    """Return the ids that were given under a token."""
    letters = [item.id for item in messages if item.id]
    if letters:
        return letters
    first, _, halves = record.decode().partition(' ')
    return [
        rows.make_id(int(first) + place, halves[place * 16 : place * 16 + 16])
        for place in range(len(halves) // 16)
    ]
