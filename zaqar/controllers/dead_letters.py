# SPDX-License-Identifier: Apache-2.0
"""Messages that were handed out too often, and where they go.

A move is safe against a crash at any step: the messages are held by a claim
while each is first stored in the dead-letter queue, under its own id and with
that id as the post's token, and then deleted with the claim. Who dies in
between lets the claim lapse; the next claimer repeats the move, and the store
recognises the token.
"""

from __future__ import annotations

import dataclasses

from zaqar.controllers import notices
from zaqar.controllers.context import Context
from zaqar.controllers.encryption import UNREADABLE, is_sealed
from zaqar.controllers.metadata import default_delay
from zaqar.models import Claim, NewMessage, Queue, Scope
from zaqar.storage.base import MessageStore


def max_claims(queue: Queue) -> int:
    """Return how often a message is handed out; 0 for without end.

    Counting is on only while the queue names both number and target.
    """
    if not queue.metadata.get('_dead_letter_queue'):
        return 0
    return queue.metadata.get('_max_claim_count') or 0


def move(ctx: Context, queue: Queue, claim: Claim, now: int) -> Claim:
    """Move the exhausted messages of a claim to the dead-letter queue.

    The queue is made if it is missing. A message keeps its id, body and
    checksum, is free at once, and lives for the queue's
    ``_dead_letter_queue_messages_ttl`` from now or else out its life. One
    that cannot be decrypted stays: encrypted for this queue, nobody could
    ever read it in the other one.

    :returns: the claim with what it still holds
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
            plain = ctx.cipher.open(message.body, scope, message.id)
        except UNREADABLE:
            stayed.append(message)
            continue
        body = plain
        if is_sealed(message.body):
            body = ctx.cipher.seal(plain, target, message.rnd)
        letter = message.to_post(now, body=body)
        if ttl:
            letter = dataclasses.replace(letter, ttl=ttl)
        # A letter may come here again, from a queue whose dead letters it
        # was once; the place it leaves is another one each time.
        token = f'{queue.qid}{message.marker}'
        _post(ctx, target, letter, token, plain)
        store.delete(queue.qid, message.id, now=now, claim_id=claim.id)
    return dataclasses.replace(claim, exhausted=stayed)


def _post(
    ctx: Context, target: Scope, letter: NewMessage, token: str, plain: bytes
) -> None:
    def append(store: MessageStore, queue: Queue) -> None:
        has_delay = bool(default_delay(queue.metadata, ctx.limits))
        told = (plain, letter.ttl, 0 if has_delay else None)
        stored = letter
        if queue.metadata.get('_enable_encrypt_messages') and not is_sealed(
            letter.body
        ):
            body = ctx.cipher.seal(plain, target, letter.rnd)
            stored = dataclasses.replace(letter, body=body)
        store.post(
            queue.qid,
            [stored],
            now=store.clock.now(),
            token=token,
            notice=notices.of_post(ctx.cipher, queue, [told])
            if ctx.pipeline.notifies
            else None,
            version=queue.version,
        )

    ctx.catalogue.run_ensured(target, append)
