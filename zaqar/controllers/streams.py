# SPDX-License-Identifier: Apache-2.0
"""Streams: the messages of a queue, each once, in the order of posts."""

import datetime
import functools
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from zaqar import request_deadline
from zaqar.controllers.caller_and_services import Context
from zaqar.controllers.message_encryption import Cipher
from zaqar.errors import InvalidParameter, StoreUnavailable
from zaqar.objects import Message, Queue, Scope
from zaqar.pools.queue_catalogue import Catalogue
from zaqar.storage.abstract_stores import MessageStore

#: The marker before the first message of every queue.
BEGINNING = '0' * 16

#: What a client sends as a marker to start at the end of a queue.
NOW = 'now'

#: Markers of all stores, and ids of messages.
_MARKER = re.compile(r'[A-Za-z0-9_-]{1,128}')

#: Attempts to get the newest message before others take it.
_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class StreamPage:
    """Messages of a queue after a marker.

    :ivar marker: where the next page begins
    :ivar is_end: whether the queue had no more of them
    :ivar now: when they were read, by the clock of the store
    """

    messages: Sequence[Message]
    marker: str
    is_end: bool
    now: int = 0


@dataclass(frozen=True, slots=True)
class StreamSource:
    """Where streams get the messages of a queue from.

    Its functions raise :class:`~zaqar.errors.StoreUnavailable`, and
    :class:`~zaqar.errors.NoRoute` if the queue is gone that it is for.

    :ivar newest: returns the marker of the newest message
    :ivar read: returns at most so many messages after a marker
    :ivar fingerprint: of the only queue that it is for, '' for any
    """

    scope: Scope
    newest: Callable[[], str]
    read: Callable[[str, int], StreamPage]
    fingerprint: str = ''


@dataclass(frozen=True, slots=True)
class StreamStart:
    """How a stream begins, and when it has to end.

    :ivar exclude: the client whose messages are left out, '' for none
    :ivar ends_at: when the credentials of the caller expire, None for never
    """

    source: StreamSource
    marker: str
    exclude: str
    ends_at: datetime.datetime | None


def seconds_left(
    ends_at: datetime.datetime | None, now: datetime.datetime
) -> float:
    """Return for how long a stream may go on, infinity if for ever."""
    if ends_at is None:
        return math.inf
    return max(0.0, (ends_at - now).total_seconds())


def start(
    ctx: Context, *, scope: Scope, marker: str | None, echo: bool | None
) -> StreamStart:
    """Begin a stream of a queue, which need not exist yet.

    :param marker: messages after it; :data:`NOW` for those to come
    :param echo: whether to show those posted by the caller's own client
    :raises InvalidParameter: no server has given out such a marker
    """
    if marker is not None and not _MARKER.fullmatch(marker):
        raise InvalidParameter('The "marker" parameter is invalid.')
    source = StreamSource(
        scope,
        functools.partial(_newest, ctx.catalogue, scope),
        functools.partial(_read, ctx.catalogue, ctx.cipher, scope),
        ctx.catalogue.only,
    )
    if marker == NOW:
        marker = source.newest()
    return StreamStart(
        source,
        marker or BEGINNING,
        '' if echo else ctx.identity.client,
        _expiry(ctx),
    )


def end(ctx: Context, *, scope: Scope, stream_id: str) -> str:
    """Return the stream that is to end: its connection ends it."""
    return stream_id


def _expiry(ctx: Context) -> datetime.datetime | None:
    """Return when a pre-signed URL or a token expires."""
    token = ctx.identity.validated
    if ctx.identity.signed is not None:
        return ctx.identity.signed.ends_at
    if token is None:
        return None
    return datetime.datetime.fromisoformat(token['expires_at'])


def _newest(catalogue: Catalogue, scope: Scope) -> str:
    def read(store: MessageStore, queue: Queue) -> str:
        for _ in range(_ATTEMPTS):
            now = store.clock.now()
            newest = store.stats(queue.qid, now=now).newest
            if newest is None:
                return BEGINNING
            for message in store.get(queue.qid, [newest.id], now=now):
                return message.marker
        raise StoreUnavailable

    with request_deadline.within(request_deadline.REQUEST):
        return catalogue.run(scope, read, BEGINNING)


def _read(
    catalogue: Catalogue,
    cipher: Cipher,
    scope: Scope,
    marker: str,
    limit: int,
) -> StreamPage:
    """Read a page, without messages that cannot be decrypted."""

    def read(store: MessageStore, queue: Queue) -> StreamPage:
        now = store.clock.now()
        page = store.list(
            queue.qid,
            now=now,
            limit=limit,
            marker=None if marker == BEGINNING else marker,
            # They would appear behind the marker later.
            include_claimed=True,
            include_delayed=True,
        )
        last = page.messages[-1].marker if page.messages else marker
        messages, _ = cipher.decrypt_readable(page.messages, scope)
        return StreamPage(
            messages, page.resume or last, page.resume is None, now
        )

    with request_deadline.within(request_deadline.REQUEST):
        return catalogue.run(scope, read, StreamPage((), marker, True))
