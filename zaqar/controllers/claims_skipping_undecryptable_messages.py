# SPDX-License-Identifier: Apache-2.0
"""Claims of readable messages from queues where some cannot be decrypted.

Such messages are neither lost nor delivered, and block no others. Those that
come in one claim with readable ones stay in it until it ends. A claim of
nothing else is kept for a moment, so that the next claim gets other messages.
"""

from collections.abc import Callable, Sequence
from contextlib import suppress

from zaqar import request_deadline
from zaqar.controllers.caller_and_services import Context
from zaqar.controllers.result_types import Claimed
from zaqar.errors import KeyMissing, StoreUnavailable
from zaqar.objects import Claim, Queue
from zaqar.storage.abstract_stores import MessageStore

#: Claims that one call makes in search of a readable message.
ROUNDS = 10

#: Seconds for which unreadable messages are skipped.
HOLD = 10

#: Takes the time and makes a claim; returns it with all its messages.
Attempt = Callable[[int], Claim | None]


def claim_readable(
    ctx: Context,
    store: MessageStore,
    queue: Queue,
    size: int,
    attempt: Attempt,
) -> Claimed | None:
    """Claim readable messages and return them decrypted.

    :param size: most messages of a claim
    :returns: None if there were no readable messages
    :raises KeyMissing: there were none, and others lack a key here
    """
    decrypt = ctx.cipher.decrypt_readable
    aside: list[str] = []
    lacks_key = False
    # Whether no messages follow the ones set aside.
    at_end = True
    try:
        while True:
            now = store.clock.now()
            claim = attempt(now)
            if claim is None or not (claim.messages or claim.exhausted):
                break
            messages, lacks = decrypt(claim.messages, queue.scope)
            lacks_key |= lacks
            if claim.exhausted:
                lacks_key |= decrypt(claim.exhausted, queue.scope)[1]
            if messages:
                at_end = False
                return Claimed(claim.with_messages(messages), now)
            aside.append(claim.id)
            if len(claim.messages) < size:
                break
            if len(aside) == ROUNDS:
                at_end = False
                break
    finally:
        if aside:
            # One allowance for all claims.
            with request_deadline.undoing():
                _release(store, queue.qid, aside, at_end)
    if lacks_key:
        raise KeyMissing('Messages could not be decrypted.')
    return None


def _release(
    store: MessageStore, qid: str, claims: Sequence[str], at_end: bool
) -> None:
    for claim_id in claims:
        now = store.clock.now()
        # Otherwise the claim expires.
        with suppress(StoreUnavailable):
            if at_end:
                store.release(qid, claim_id, now=now)
            else:
                store.renew(qid, claim_id, now=now, ttl=HOLD, grace=0)
