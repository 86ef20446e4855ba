# SPDX-License-Identifier: Apache-2.0
"""The notices of posts, made in the step that stores their messages.

:source: reference/delivery, "Outbox and deliveries"
"""

from collections.abc import Callable, Sequence

import msgspec

from zaqar.controllers import (
    outbox_notices,
    outbox_records,
    subscription_records,
)
from zaqar.controllers.caller_and_services import Context
from zaqar.controllers.reserved_metadata import default_delay
from zaqar.objects import NewMessage, Queue, Scope


def of_post(
    ctx: Context,
    queue: Queue,
    messages: Sequence[NewMessage],
    made: list[NewMessage] | None = None,
) -> Callable[[Sequence[int]], NewMessage] | None:
    """Return a function that makes the notice of a post, if there are any.

    It takes the places of the messages that were stored.

    :param messages: with bodies in the clear
    :param made: takes the last notice that was made, too
    """
    if not ctx.pipeline.notifies:
        return None

    def make(places: Sequence[int]) -> NewMessage:
        sealed = bool(queue.metadata.get('_enable_encrypt_messages'))
        delays = bool(default_delay(queue.metadata, ctx.limits))
        notice = outbox_notices.PostNotice(
            queue.scope.project,
            queue.scope.name,
            queue.qid,
            [
                outbox_notices.Payload(
                    msgspec.Raw(item.body),
                    item.ttl,
                    item.delay if delays else None,
                )
                for item in map(messages.__getitem__, places)
            ],
            str(queue.scope.kind),
            sealed,
        )
        item = outbox_records.encode(ctx.cipher if sealed else None, notice)
        if made is not None:
            made[:] = [item]
        return item

    return make


def are_sent(ctx: Context, scope: Scope) -> bool:
    """Tell whether a queue or topic has subscribers that get its messages."""
    if not ctx.pipeline.notifies:
        return False
    now = ctx.catalogue.management.clock.now()
    return any(
        ctx.pipeline.is_notified(one)
        for one in subscription_records.live(ctx, scope, now)
    )
