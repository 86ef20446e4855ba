# SPDX-License-Identifier: Apache-2.0
"""Taking messages for good, in one request."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

from zaqar.controllers.context import Context
from zaqar.controllers.results import Popped
from zaqar.errors import (
    InvalidDeletion,
    MessageClaimed,
    StoreUnavailable,
    ZaqarError,
)
from zaqar.models import Message, NewMessage, Queue, Scope
from zaqar.randomness import token_hex
from zaqar.storage.base import MessageStore

LOG = logging.getLogger(__name__)

#: Seconds for which messages are held until their bodies have been opened;
#: what would expire before that shows them as its lifetime.
HOLD = 10


def pop(ctx: Context, scope: Scope, limit: int) -> Popped:
    """Take and delete up to ``limit`` free messages, oldest first.

    :raises StoreUnavailable: one of them cannot be decrypted here; all stay
    """

    def take(store: MessageStore, queue: Queue) -> Popped:
        if queue.metadata.get('_enable_encrypt_messages'):
            return _take_opened(ctx, store, queue, limit)
        now = store.clock.now()
        found = store.pop(queue.qid, now=now, limit=limit)
        try:
            return Popped(ctx.cipher.opened(found, scope), now)
        except StoreUnavailable:
            _put_back(store, queue, found, now)
            raise

    return ctx.catalogue.ask(scope, take, Popped((), 0))


def _take_opened(
    ctx: Context, store: MessageStore, queue: Queue, limit: int
) -> Popped:
    """Delete nothing before it has been decrypted.

    Three calls in place of one, in queues whose messages are encrypted.
    """
    now = store.clock.now()
    claim_id = token_hex(16)
    claim = store.claim(
        queue.qid, now=now, claim_id=claim_id, ttl=HOLD, grace=0, limit=limit
    )
    if claim is None:
        return Popped((), now)
    try:
        found = ctx.cipher.opened(claim.messages, queue.scope)
        store.delete_many(
            queue.qid,
            [message.id for message in found],
            now=store.clock.now(),
            claim_ids=[claim_id],
        )
    except (InvalidDeletion, MessageClaimed):
        # It took so long that others may have them by now.
        raise StoreUnavailable from None
    except ZaqarError:
        store.release(queue.qid, claim_id, now=store.clock.now())
        raise
    return Popped(found, now)


def _put_back(
    store: MessageStore, queue: Queue, messages: Sequence[Message], now: int
) -> None:
    """Return what was popped, under the same ids, to the end of the queue.

    Only for a queue that was encrypted once and is not any more, on a server
    that lacks the key: what such a queue holds shows when it is taken. Who
    dies right here loses it; a queue that is marked as encrypted has no such
    moment.
    """
    LOG.error('Messages of %s are put back unread', queue.scope)
    for message in messages:
        left = math.ceil((message.expires_at - now) / 1000)
        back = NewMessage(
            body=message.body,
            ttl=max(left, 1),
            rnd=message.id[16:],
            client=message.client,
            checksum=message.checksum,
            id=message.id,
        )
        token = token_hex(16)
        store.post(queue.qid, [back], now=now, token=token)
