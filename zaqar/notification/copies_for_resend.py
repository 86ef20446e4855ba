# SPDX-License-Identifier: Apache-2.0
"""Copies of messages that were given up, to be sent again.

:source: reference/delivery, "Resend and replay"
"""

from collections.abc import Callable, Iterable, Mapping, Sequence

from zaqar.controllers.caller_and_services import Context
from zaqar.notification.claimed_delivery_and_lease import (
    ClaimedDelivery,
    GivenUp,
)
from zaqar.notification.pending_delivery import is_socket
from zaqar.objects import NewMessage
from zaqar.storage.abstract_stores import GIVEN_UP, MessageStore
from zaqar.storage.splitting_into_posts import batches, token_of


def keep_given_up(
    ctx: Context, store: MessageStore, jobs: Iterable[ClaimedDelivery]
) -> None:
    """Keep the messages that jobs have given up, to be sent again.

    Not pushes, which are for a connection that is gone, nor requests for
    confirmation, which are made anew.

    :raises StoreUnavailable: some may be kept
    """
    given_up = [
        (job, one)
        for job in jobs
        if job.pending.confirmation is None and not is_socket(job.pending.host)
        for one in job.given_up
        if not one.stored_copy
    ]
    places = iter(given_up)
    for batch in batches(
        _copy_to_store(ctx, job, one) for job, one in given_up
    ):
        ids = store.post(
            GIVEN_UP,
            batch,
            now=store.clock.now(),
            token=token_of(batch),
        )
        for copy_id in ids:
            job, one = next(places)
            one.stored_copy = {'pool': job.pool, 'copy_id': copy_id}


def _copy_to_store(
    ctx: Context, job: ClaimedDelivery, one: GivenUp
) -> NewMessage:
    pending = job.pending.part(one.place, one.place + 1).alone()
    pending = pending.copy(attempt=1, deferrals=0)
    return pending.to_store(ctx.cipher, ttl=ctx.pipeline.attempts_lifetime)


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
