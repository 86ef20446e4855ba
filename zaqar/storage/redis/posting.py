# SPDX-License-Identifier: Apache-2.0
"""Storing messages, and the notice for subscribers with them."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec

from zaqar.errors import (
    QueueFull,
    QueueGone,
    StaleMetadata,
    StoreUnavailable,
    TokenReused,
)
from zaqar.objects import NewMessage
from zaqar.storage import ids_of_repeated_posts
from zaqar.storage.abstract_stores import OUTBOX
from zaqar.storage.message_ids import make_id
from zaqar.storage.post_call_parameters import Notice, PostCall
from zaqar.storage.queues_without_subscribers_cache import UnsubscribedQueues
from zaqar.storage.redis import message_codec, scripts
from zaqar.storage.redis.retrying_client import RedisClient
from zaqar.storage.redis.scripts import Script, Status

#: Whether a script stores a notice: no; yes, but none is passed; yes; another
#: call does.
_NO_NOTICE, _WITHOUT_NOTICE, _WITH_NOTICE, _NOTICE_LATER = range(4)

#: Tries of a post, among whose messages others become duplicates meanwhile.
MAX_TRIES = 20


class _Answer(msgspec.Struct, frozen=True):
    """What a script answers.

    :ivar record: what is stored under the token; nothing if a notice has to
        be passed first
    :ivar epoch: of the flag that there are subscribers
    :ivar numbers: of the messages that a notice must be of
    :ivar is_repeated: whether the token was known
    """

    record: bytes
    epoch: int
    numbers: bytes
    is_repeated: bool


class Posts:
    def __init__(self, client: RedisClient) -> None:
        self._client = client
        self._unsubscribed = UnsubscribedQueues()

    def post(self, post: PostCall, limit: int) -> Sequence[str]:
        if post.notice is None:
            answer = self._store(post, limit, _NO_NOTICE)
        elif self._client.is_single_server:
            answer = self._with_notice(post, limit, post.notice)
        else:
            answer = self._then_notice(post, limit, post.notice)
        ids = _read(answer.record, post.messages)[0]
        if answer.is_repeated:
            return ids_of_repeated_posts.repeated(post.messages, ids)
        return ids

    def _with_notice(
        self, post: PostCall, limit: int, notice: Notice
    ) -> _Answer:
        """Store messages and their notice in one step.

        Where the store has to say first which messages are no duplicates, that
        may have changed in between.
        """
        places: Sequence[int] | None = None
        if post.qid in self._unsubscribed or post.dedup_window:
            answer, places = self._try(post, limit, _WITHOUT_NOTICE)
            if answer.record:
                return answer
        for _ in range(MAX_TRIES):
            own: Sequence[Any] = ()
            if places is None or places:
                message = notice() if places is None else notice(places)
                own = _group(post, '', (message,), 0)
            answer, places = self._try(post, limit, _WITH_NOTICE, own, places)
            if answer.record:
                return answer
        raise StoreUnavailable

    def _try(
        self,
        post: PostCall,
        limit: int,
        notice: int,
        group: Sequence[Any] = (),
        places: Sequence[int] | None = None,
    ) -> tuple[_Answer, Sequence[int] | None]:
        """Store messages, and the notice of those at some places.

        :returns: also the places that the notice has to be made of; None for
            all
        """
        numbers = ''
        if places:
            numbers = ','.join(str(place + 1) for place in places)
        answer = self._store(post, limit, notice, group, numbers)
        self._unsubscribed.update(post.qid, answer.epoch)
        places = _places(answer.numbers) if post.dedup_window else None
        return answer, places

    def _then_notice(
        self, post: PostCall, limit: int, notice: Notice
    ) -> _Answer:
        """Store messages, then their notice, which is in another slot.

        A repeated post does so again; the token of the notice keeps it from
        being stored twice. Of messages that may have duplicates it is
        remembered that they lack a notice: the first duplicate stores it if
        their own post has got no further.
        """
        answer = self._store(post, limit, _NOTICE_LATER)
        places = _read(answer.record, post.messages)[1]
        unnoticed = _places(answer.numbers)
        if post.dedup_window:
            ordinary = (
                place
                for place in places
                if post.messages[place].dedup_id is None
            )
            places = sorted({*ordinary, *unnoticed})
        if not answer.epoch or not places:
            return answer
        self._store(_notice_of(post, notice(places)), 0, _NO_NOTICE)
        if unnoticed:
            names = [post.messages[place].dedup_id for place in unnoticed]
            # Else a duplicate stores another one.
            with suppress(StoreUnavailable):
                self._run(scripts.NOTICED, post, *names)
        return answer

    def _run(self, script: Script, post: PostCall, *arguments: Any) -> Any:
        keys = script.keys(self._client.prefix, post.qid, post.now)
        return self._client.run(script, keys, (post.now, *arguments))

    def _store(
        self,
        post: PostCall,
        limit: int,
        notice: int,
        group: Sequence[Any] = (),
        numbers: str = '',
    ) -> _Answer:
        prefix, script = self._client.prefix, scripts.POST
        keys = script.keys(prefix, post.qid, post.now)
        if group:
            outbox = script.keys(prefix, OUTBOX, post.now)
            keys = (*keys, *outbox[: script.shared])
        version = '' if post.version is None else post.version
        own = _group(post, post.token, post.messages, post.dedup_window)
        status, *answer = self._client.run(
            script,
            keys,
            (post.now, limit, notice, version, numbers, *own, *group),
        )
        if status == Status.GONE:
            raise QueueGone
        if status == Status.STALE:
            raise StaleMetadata
        if status == Status.REUSED:
            raise TokenReused
        if status == Status.FULL:
            raise QueueFull(answer[0], limit)
        if status == Status.AGAIN:
            return _Answer(b'', int(answer[0]), answer[1], False)
        record, epoch, wanted, is_repeated = answer
        return _Answer(record, int(epoch), wanted, bool(is_repeated))


def _notice_of(post: PostCall, message: NewMessage) -> PostCall:
    """Return the call that stores the notice of a post."""
    return PostCall(
        OUTBOX,
        f'{post.qid}{post.token}',
        [message],
        post.now,
        fingerprint=post.fingerprint,
        token_lifetime=post.token_lifetime,
    )


def _group(
    post: PostCall,
    token: str,
    messages: Sequence[NewMessage],
    dedup_window: int,
) -> Sequence[Any]:
    """Return the arguments of a script for one token of a call.

    :param token: that of the post; '' for a notice in the same call
    """
    now = post.now
    rnds = ids = ''
    longest = 0
    texts: list[Any] = []
    # Letter, number and value of what is stored beside bodies.
    beside: list[Any] = []
    for number, item in enumerate(messages, 1):
        rnds += item.rnd
        ids += item.id or ''
        if item.ttl > longest:
            longest = item.ttl
        texts += (
            now + item.delay * 1000 if item.delay else '',
            message_codec.encode(item, now),
        )
        if item.group is not None:
            beside += (message_codec.GROUP, number, item.group)
        if item.extras is not None:
            beside += (message_codec.EXTRAS, number, item.extras)
    # By what a post is compared with others beside its token.
    terms = ''
    if dedup_window or post.fingerprint:
        terms = (
            f'{post.token_lifetime} {dedup_window * 1000} {post.fingerprint}'
        )
    group = (
        token,
        rnds,
        now + longest * 1000,
        ids,
        len(messages),
        len(beside) // 3 if beside else 0,
        terms,
        *texts,
        *beside,
    )
    if not dedup_window:
        return group
    return (*group, *[post.dedup_id(item) or '' for item in messages])


def _read(
    record: bytes, messages: Sequence[NewMessage]
) -> tuple[Sequence[str], Sequence[int]]:
    """Return the ids that were assigned under a token.

    :returns: also the places of those that were stored
    """
    # Either all or none have an id of their own: those of dead letters.
    if messages and messages[0].id:
        own_ids = [item.id for item in messages if item.id]
        return own_ids, range(len(own_ids))
    first, _, rest = record.decode().partition(' ')
    if first[:1] == '=':
        ids = [rest[at : at + 32] for at in range(0, len(rest), 32)]
        return ids, _places(first[1:].encode())
    if len(rest) == 16:
        return [make_id(int(first), rest)], (0,)
    ids = [
        make_id(int(first) + place, rest[place * 16 : place * 16 + 16])
        for place in range(len(rest) // 16)
    ]
    return ids, range(len(ids))


def _places(numbers: bytes) -> Sequence[int]:
    """Return the places of messages with these numbers."""
    return [int(number) - 1 for number in numbers.split(b',') if number]
