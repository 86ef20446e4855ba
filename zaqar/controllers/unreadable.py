# SPDX-License-Identifier: Apache-2.0
"""Claiming in queues where some messages cannot be decrypted.

Nothing of them is lost, and nobody waits for them. They are not handed out;
those that come in one claim with others stay in it until it ends. A claim of
nothing else is kept for a moment, so that the next one takes what is behind.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import suppress

from zaqar.controllers.context import Context
from zaqar.controllers.results import Claimed
from zaqar.errors import KeyMissing, StoreUnavailable
from zaqar.models import Claim, Queue
from zaqar.storage.base import MessageStore

#: Claims that one call makes in search of a message that can be shown.
ROUNDS = 10

#: Seconds for which unreadable messages are passed over.
HOLD = 10

#: Takes the time and makes a claim; returns it with all that it holds.
Attempt = Callable[[int], Claim | None]


def claim(
    ctx: Context,
    store: MessageStore,
    queue: Queue,
    size: int,
    attempt: Attempt,
) -> Claimed | None:
    """Claim messages that can be decrypted; return them so.

    :param size: messages that a claim asks for
    :returns: None when there was nothing else
    :raises KeyMissing: there were some, whose key is not here
    """
    aside: list[str] = []
    lacks_key = False
    # Whether nothing lies behind what was set aside.
    at_end = True
    try:
        while True:
            now = store.clock.now()
            made = attempt(now)
            if made is None or not (made.messages or made.exhausted):
                break
            messages, lacks = ctx.cipher.readable(made.messages, queue.scope)
            lacks_key |= lacks
            lacks_key |= ctx.cipher.readable(made.exhausted, queue.scope)[1]
            if messages:
                at_end = False
                shown = dataclasses.replace(
                    made, messages=messages, exhausted=()
                )
                return Claimed(shown, now)
            aside.append(made.id)
            if len(made.messages) < size:
                break
            if len(aside) == ROUNDS:
                at_end = False
                break
    finally:
        _let_go(store, queue.qid, aside, at_end)
    if lacks_key:
        raise KeyMissing('Messages could not be decrypted.')
    return None


def _let_go(
    store: MessageStore, qid: str, claims: Sequence[str], at_end: bool
) -> None:
    for claim_id in claims:
        now = store.clock.now()
        # What fails ends with the claim.
        with suppress(StoreUnavailable):
            if at_end:
                store.release(qid, claim_id, now=now)
            else:
                store.renew(qid, claim_id, now=now, ttl=HOLD, grace=0)
