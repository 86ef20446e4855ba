# SPDX-License-Identifier: Apache-2.0
"""Dead letters of queues: messages that were claimed too often.

A move survives a crash at any step. The messages are claimed while each is
first stored in the dead-letter queue, under its own id and with a token of its
own, and then deleted. After a crash the claim lapses; the next claim repeats
the move, and the store recognizes the token.
"""

from msgspec import structs

from zaqar.controllers import outbox_notices
from zaqar.controllers.body_encryption import UNREADABLE, is_encrypted
from zaqar.controllers.call_context import Context
from zaqar.models import Claim, NewMessage, Queue, Scope
from zaqar.storage.base import MessageStore


def max_claims(queue: Queue) -> int:
    """Return how often a message may be claimed; 0 for any number.

    The queue has to name a dead-letter queue, too.
    """
    if not queue.metadata.get('_dead_letter_queue'):
        return 0
    return queue.metadata.get('_max_claim_count') or 0


def move(ctx: Context, queue: Queue, claim: Claim, now: int) -> Claim:
    """Move the exhausted messages of a claim to the dead-letter queue.

    The queue is created if it is missing. A message keeps its id, body and
    checksum, is free at once, and lives for the
    ``_dead_letter_queue_messages_ttl`` of its queue or else for the rest of
    its life. One that cannot be decrypted stays: encrypted for this queue, it
    would be unreadable in the other one.

    :returns: the claim with the messages that stay
    """
    if not claim.exhausted:
        return claim
    stayed = []
    scope = queue.scope
    target = Scope(
        scope.project, queue.metadata['_dead_letter_queue'], scope.kind
    )
    store = ctx.catalogue.store(queue)
    ttl = queue.metadata.get('_dead_letter_queue_messages_ttl')
    for message in claim.exhausted:
        try:
            plain = ctx.cipher.decrypt(message.body, scope, message.id)
        except UNREADABLE:
            stayed.append(message)
            continue
        body = plain
        if is_encrypted(message.body):
            body = ctx.cipher.encrypt(plain, target, message.rnd)
        letter = message.to_post(now, body=body)
        if ttl:
            letter = structs.replace(letter, ttl=ttl)
        # A message may be moved here again, from a queue that it was moved to
        # before; its marker differs each time.
        token = f'{queue.qid}{message.marker}'
        _post(ctx, target, letter, token, plain)
        store.delete(queue.qid, message.id, now=now, claim_id=claim.id)
    return structs.replace(claim, exhausted=stayed)


def _post(
    ctx: Context, target: Scope, letter: NewMessage, token: str, plain: bytes
) -> None:
    def append(store: MessageStore, queue: Queue) -> None:
        clear = structs.replace(letter, body=plain)
        stored = letter
        if queue.metadata.get('_enable_encrypt_messages') and not is_encrypted(
            letter.body
        ):
            body = ctx.cipher.encrypt(plain, target, letter.rnd)
            stored = structs.replace(letter, body=body)
        store.post(
            queue.qid,
            [stored],
            now=store.clock.now(),
            token=token,
            notice=outbox_notices.of_post(ctx, queue, [clear]),
            version=queue.version,
        )

    ctx.catalogue.run_ensured(target, append)
