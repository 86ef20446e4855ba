# SPDX-License-Identifier: Apache-2.0
"""Dead letters of queues: messages claimed too often, or rejected.

A move survives a crash at any step. The messages are claimed while each is
first stored in the dead-letter queue, under its own id and with a token of its
own, and then deleted. After a crash the claim lapses; the next claim repeats
the move, and the store recognizes the token.
"""

from msgspec import structs

from zaqar.controllers import message_moves
from zaqar.controllers.caller_and_services import Context
from zaqar.controllers.message_encryption import UNREADABLE
from zaqar.controllers.message_moves import Move
from zaqar.objects import Claim, Message, Queue, Scope


def max_claims(queue: Queue) -> int:
    """Return how often a message may be claimed; 0 for any number.

    The queue has to name a dead-letter queue, too.
    """
    most: int = queue.metadata.get('_max_claim_count') or 0
    return most if most and target(queue) is not None else 0


def target(queue: Queue) -> Scope | None:
    """Return the dead-letter queue of a queue, if it names one."""
    name = queue.metadata.get('_dead_letter_queue')
    if not name:
        return None
    return Scope(queue.scope.project, name, queue.scope.kind)


def move(ctx: Context, queue: Queue, claim: Claim, now: int) -> Claim:
    """Move the exhausted messages of a claim to the dead-letter queue.

    The queue is created if it is missing. A message keeps its id, body and
    checksum, and is free at once. One that cannot be decrypted stays:
    encrypted for this queue, it would be unreadable in the other one.

    :returns: the claim with the messages that stay
    """
    if not claim.exhausted:
        return claim
    letters = target(queue)
    if letters is None:
        return claim
    stayed = []
    store = ctx.catalogue.store(queue)
    for message in claim.exhausted:
        reason = message.reason or f'claimed {message.claim_count} times'
        try:
            letter = message_moves.to_dead_letters(
                ctx, queue, message, reason, now
            )
        except UNREADABLE:
            stayed.append(message)
            continue
        post(ctx, letters, queue, message, letter)
        store.delete(queue.qid, message.id, now=now, claim_id=claim.id)
    return structs.replace(claim, exhausted=stayed)


def post(
    ctx: Context, letters: Scope, queue: Queue, message: Message, letter: Move
) -> None:
    """Post a message of a queue to its dead-letter queue, once."""
    # A message may be moved here again, from a queue that it was moved to
    # before; its marker differs each time.
    token = f'{queue.qid}{message.marker}'
    message_moves.post(ctx, letters, [letter], token, is_bounded=False)
