# SPDX-License-Identifier: Apache-2.0
"""Pop messages: claim and delete them in one request."""

import logging
from collections.abc import Sequence

from zaqar import request_deadline
from zaqar.controllers import claims_skipping_undecryptable_messages
from zaqar.controllers.caller_and_services import Context
from zaqar.controllers.result_types import Popped
from zaqar.errors import (
    InvalidDeletion,
    KeyMissing,
    MessageClaimed,
    StoreUnavailable,
    ZaqarError,
)
from zaqar.objects import Claim, Message, Queue, Scope
from zaqar.random_bytes import token_hex
from zaqar.storage.abstract_stores import MessageStore
from zaqar.storage.splitting_into_posts import batches

LOG = logging.getLogger(__name__)


def pop(ctx: Context, scope: Scope, limit: int) -> Popped:
    """Take and delete up to ``limit`` free messages, oldest first.

    Messages that cannot be decrypted stay.

    :raises KeyMissing: there are no others, and their key is missing here
    """

    def take(store: MessageStore, queue: Queue) -> Popped:
        if queue.metadata.get('_enable_encrypt_messages'):
            return _take_decrypted(ctx, store, queue, limit)
        return _take_at_once(ctx, store, queue, limit)

    return ctx.catalogue.run(scope, take, Popped((), 0))


def _take_decrypted(
    ctx: Context, store: MessageStore, queue: Queue, limit: int
) -> Popped:
    """Delete messages only after they have been decrypted.

    This takes three calls in place of one. A message that would expire while
    it is claimed shows the end of the claim as its own.
    """

    def attempt(now: int) -> Claim | None:
        return store.claim(
            queue.qid,
            now=now,
            claim_id=token_hex(16),
            ttl=claims_skipping_undecryptable_messages.HOLD,
            grace=0,
            limit=limit,
        )

    claimed = claims_skipping_undecryptable_messages.claim_readable(
        ctx, store, queue, limit, attempt
    )
    if claimed is None:
        return Popped((), store.clock.now())
    claim = claimed.claim
    try:
        store.delete_many(
            queue.qid,
            [message.id for message in claim.messages],
            now=store.clock.now(),
            claim_ids=[claim.id],
        )
    except (InvalidDeletion, MessageClaimed):
        # The claim expired; others may have the messages by now.
        raise StoreUnavailable from None
    except ZaqarError:
        now = store.clock.now()
        with request_deadline.undoing():
            # Nobody has got the messages, and so it does not count.
            store.settle(queue.qid, claim.id, claim.undoing(), now=now)
        raise
    popped = [message.before_claim() for message in claim.messages]
    return Popped(popped, claimed.now)


def _take_at_once(
    ctx: Context, store: MessageStore, queue: Queue, limit: int
) -> Popped:
    """Pop messages in one call where none should be encrypted."""
    lacks_key = False
    for _ in range(claims_skipping_undecryptable_messages.ROUNDS):
        now = store.clock.now()
        taken = store.pop(queue.qid, now=now, limit=limit)
        shown, lacks = ctx.cipher.decrypt_readable(taken, queue.scope)
        lacks_key |= lacks
        if len(shown) < len(taken):
            ids = {message.id for message in shown}
            rest = [message for message in taken if message.id not in ids]
            with request_deadline.undoing():
                _put_back(store, queue, rest, now)
        if shown or len(taken) < limit:
            break
    if lacks_key and not shown:
        raise KeyMissing('Messages could not be decrypted.')
    return Popped(shown, now)


def _put_back(
    store: MessageStore, queue: Queue, messages: Sequence[Message], now: int
) -> None:
    """Return popped messages, under the same ids, to the end of the queue.

    Happens only in a queue that was encrypted once and is not any more, on a
    server that lacks the key. A crash right here loses the messages; a queue
    that is marked as encrypted has no such moment.
    """
    LOG.error('Messages of %s could not be decrypted, re-queued', queue.scope)
    new = (item.to_post(now, group=item.group) for item in messages)
    for batch in batches(new):
        store.post(queue.qid, batch, now=now, token=token_hex(16))
