# SPDX-License-Identifier: Apache-2.0
"""Messages on their way from one queue to another."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import structs

from zaqar.controllers import message_extras_codec, notices_of_posts, posting
from zaqar.controllers.caller_and_services import Context
from zaqar.controllers.message_encryption import is_encrypted
from zaqar.controllers.message_extras_codec import DeadLetter
from zaqar.errors import QueueFull
from zaqar.objects import Kind, Message, NewMessage, Queue, Scope, random_half
from zaqar.storage.abstract_stores import MessageStore


class Move(msgspec.Struct, frozen=True):
    """A message that is to be posted elsewhere.

    :ivar id: that of the message where it is
    :ivar new: the message to be posted, in the clear
    :ivar encrypts: even if the target does not
    """

    id: str
    new: NewMessage
    encrypts: bool

    def stored(self, ctx: Context, queue: Queue) -> NewMessage:
        """Return it as it is stored in its target."""
        if not self.encrypts and not queue.metadata.get(
            '_enable_encrypt_messages'
        ):
            return self.new
        return ctx.cipher.sealed(self.new, queue.scope)


def to_dead_letters(
    ctx: Context, queue: Queue, message: Message, reason: str, now: int
) -> Move:
    """Return a message that goes to the dead-letter queue, under its id.

    It lives for the ``_dead_letter_queue_messages_ttl`` of its queue or else
    for the rest of its life.

    :raises DecryptionFailed: its stored body was changed
    :raises KeyMissing: its key is not here
    """
    opened = ctx.cipher.opened(message, queue.scope)
    extras = message_extras_codec.read(opened.extras)
    former, ttl = extras.dead_letter, message.ttl
    if former is not None and former.ttl is not None:
        ttl = former.ttl
    letter = DeadLetter(
        queue.scope.name,
        # A worker may have sent half of a surrogate pair.
        reason.encode(errors='replace').decode(),
        message.claim_count,
        now,
        ttl,
        queue.scope.kind is Kind.TOPIC,
    )
    new = message.to_post(
        now,
        body=opened.body,
        extras=message_extras_codec.encode(
            structs.replace(extras, dead_letter=letter)
        ),
    )
    own = queue.metadata.get('_dead_letter_queue_messages_ttl')
    if own:
        new = structs.replace(new, ttl=own)
    return Move(message.id, new, is_encrypted(message.body))


def to_new_life(
    ctx: Context, scope: Scope, message: Message, ttl: int
) -> Move:
    """Return a message that goes to another queue as if posted anew.

    :param scope: where it is
    :param ttl: that of the message, if its own post is not known
    :raises DecryptionFailed: its stored body was changed
    :raises KeyMissing: its key is not here
    """
    opened = ctx.cipher.opened(message, scope)
    extras = message_extras_codec.read(opened.extras)
    letter = extras.dead_letter
    if letter is not None and letter.ttl is not None:
        ttl = letter.ttl
    new = NewMessage(
        body=opened.body,
        ttl=ttl,
        rnd=message.rnd,
        client=message.client,
        checksum=message.checksum,
        extras=message_extras_codec.encode(
            structs.replace(extras, dead_letter=None)
        ),
    )
    return Move(message.id, new, is_encrypted(message.body))


def post(
    ctx: Context,
    target: Scope,
    moves: Sequence[Move],
    token: str,
    *,
    is_bounded: bool = True,
    token_lifetime: int | None = None,
) -> set[str]:
    """Post messages, which creates the queue if it is missing.

    Of more messages than there is room for the first are posted.

    :param is_bounded: False for dead letters, which a full queue takes, too,
        and for which there is always room for a queue
    :param token_lifetime: milliseconds, if longer than usual
    :returns: ids, where they come from, of those that this post, or another
        one with the token before, has stored
    :raises QueueFull: there is no room
    """

    memory: dict[str, Any] = {}
    if token_lifetime is not None:
        # Only then stores remember a token for longer.
        memory = {'fingerprint': 'move', 'token_lifetime': token_lifetime}

    def append(store: MessageStore, queue: Queue) -> Sequence[str]:
        most = 0
        if is_bounded:
            most = posting.most_messages(queue.metadata, ctx.limits)
        return store.post(
            queue.qid,
            [move.stored(ctx, queue) for move in moves],
            now=store.clock.now(),
            token=token,
            limit=most,
            notice=notices_of_posts.of_post(
                ctx, queue, [move.new for move in moves]
            ),
            version=queue.version,
            **memory,
        )

    try:
        ids = ctx.catalogue.run_ensured(target, append, needs_room=is_bounded)
    except QueueFull as full:
        if not 0 < full.room < len(moves):
            raise
        moves = moves[: full.room]
        ids = ctx.catalogue.run_ensured(target, append)
    stored = set(map(random_half, ids))
    return {move.id for move in moves if move.new.rnd in stored}
