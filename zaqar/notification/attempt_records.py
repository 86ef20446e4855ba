# SPDX-License-Identifier: Apache-2.0
"""What is recorded of attempts, and what is kept to be sent again.

:source: reference/delivery, "Attempts", "Resend and replay"
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zaqar.controllers.call_context import Context
from zaqar.controllers.delivery_attempts import Attempt
from zaqar.controllers.delivery_attempts import Outcome as Result
from zaqar.controllers.subscription_validation import SOCKET
from zaqar.notification.claimed_delivery import Attempted, ClaimedDelivery
from zaqar.storage.base import GIVEN_UP, MessageStore


def of(made: Attempted, now: int, result: Result, **more: Any) -> Attempt:
    """Return an attempt that has just ended as it is recorded.

    :param now: milliseconds
    :param more: further members
    """
    spent = int(made.seconds * 1000)
    return Attempt(
        made.delivery.id,
        now - spent,
        made.delivery.attempt,
        result,
        made.outcome.status or None,
        spent,
        made.outcome.reason,
        **more,
    )


def keep(ctx: Context, job: ClaimedDelivery, place: int) -> Mapping[str, str]:
    """Keep a message of a job that is given up, to be sent again.

    :param place: its index
    :returns: where it is; empty if it is not kept: a push is for a connection
        that is gone, and a request for confirmation is made anew
    :raises StoreUnavailable: it may be kept
    """
    pending = job.pending
    if pending.confirmation is not None or pending.host.startswith(SOCKET):
        return {}
    kept = pending.part(place, place + 1).alone()
    kept = kept.copy(attempt=1, deferrals=0)
    message = kept.to_store(ctx.cipher, ttl=ctx.pipeline.attempts_lifetime)
    (kept_id,) = job.store.post(
        GIVEN_UP, [message], now=job.store.clock.now(), token=message.rnd
    )
    return {'pool': job.pool, 'kept_id': kept_id}


def discard(
    outboxes: Mapping[str, Callable[[], MessageStore]],
    pool: str,
    ids: Sequence[str],
) -> None:
    """Delete what was kept of attempts that are recorded no more."""
    opener = outboxes.get(pool)
    if opener is not None:
        store = opener()
        store.delete_many(GIVEN_UP, ids, now=store.clock.now())
