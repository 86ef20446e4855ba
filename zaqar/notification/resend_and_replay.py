# SPDX-License-Identifier: Apache-2.0
"""Deliveries that owners of subscriptions request anew.

Requests are notices in the outbox like those of posts, so that they survive
any process, and are repeated without harm if one dies between two writes.

:source: reference/delivery, "Resend and replay"
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from zaqar.controllers import message_encryption
from zaqar.controllers.body_filter import Filter
from zaqar.controllers.caller_and_services import Context
from zaqar.controllers.outbox_notices import (
    Payload,
    ReplayRequest,
    ResendRequest,
)
from zaqar.controllers.outbox_records import Unreadable
from zaqar.controllers.reserved_metadata import default_delay
from zaqar.controllers.subscription_filters import Bodies
from zaqar.errors import StoreUnavailable
from zaqar.notification import pending_delivery
from zaqar.notification.pending_delivery import PendingDelivery
from zaqar.objects import Message, Page, Queue, Subscription
from zaqar.storage.abstract_stores import GIVEN_UP, MessageStore

#: Messages that a step of a replay reads at most, and bytes of a delivery.
PAGE = 50
MAX_BYTES = 256 * 1024

#: Bytes of steps that are done together; the rest waits for the next time.
MAX_TOGETHER = 4 << 20

#: Seconds until a step is repeated whose store does not respond.
PAUSE = 5

Request = ResendRequest | ReplayRequest


@dataclass(slots=True)
class Step:
    """What follows from a request.

    :ivar rest: the request for what is left, with the seconds until then
    :ivar resent: ids of records, to be deleted once their deliveries are
        stored
    :ivar excluded: messages that the filter excludes
    :ivar contents: differs where a repetition would send others, since the
        store has lost some meanwhile: what was stored first is none of them
    """

    deliveries: list[PendingDelivery] = field(default_factory=list)
    rest: tuple[Request, int] | None = None
    resent: list[str] = field(default_factory=list)
    excluded: int = 0
    contents: str = ''

    @property
    def size(self) -> int:
        return sum(pending.size for pending in self.deliveries)


def step(
    ctx: Context,
    store: MessageStore,
    request: Request,
    notice: Message,
    subscription: Subscription,
    condition: Filter | None,
    spend: Callable[[int], None] = lambda cost: None,
) -> Step:
    """Return the next step of a request.

    :param store: that of the request
    :param notice: that holds the request
    :param condition: the filter of the subscription
    :param spend: see :class:`~zaqar.controllers.subscription_filters.Bodies`
    """
    first = pending_delivery.of(subscription, notice)
    if isinstance(request, ResendRequest):
        return _resend(ctx, store, request, first, Step())

    def read(messages: MessageStore, queue: Queue) -> Step:
        page = messages.list(
            queue.qid,
            now=messages.clock.now(),
            limit=PAGE,
            marker=request.marker,
            include_claimed=True,
            include_delayed=True,
        )
        done = Step()
        _replay(ctx, queue, request, page, first, condition, spend, done)
        return done

    try:
        return ctx.catalogue.run(subscription.scope, read, Step())
    except StoreUnavailable:
        # Another one than that of the request, which must not wait for it.
        return Step(rest=(request, PAUSE))


def _resend(
    ctx: Context,
    store: MessageStore,
    request: ResendRequest,
    first: PendingDelivery,
    done: Step,
) -> Step:
    ids = [request.delivery]
    for message in store.get(GIVEN_UP, ids, now=store.clock.now()):
        with contextlib.suppress(Unreadable):
            pending = PendingDelivery.read(ctx.cipher, message)
            if pending.key == first.key:
                done.resent.append(message.id)
                done.deliveries.append(
                    first.copy(
                        id=pending.id,
                        messages=pending.messages,
                        offset=pending.offset,
                        sealed=pending.sealed,
                    )
                )
    return done


def _replay(
    ctx: Context,
    queue: Queue,
    request: ReplayRequest,
    page: Page,
    first: PendingDelivery,
    condition: Filter | None,
    spend: Callable[[int], None],
    done: Step,
) -> None:
    readable, _ = ctx.cipher.decrypt_readable(page.messages, queue.scope)
    messages = [
        message
        for message in readable
        if request.since <= message.created_at <= request.until
    ]
    if condition is not None:
        texts = [msgspec.Raw(message.body) for message in messages]
        bodies = Bodies(texts, spend)
        places = bodies.matching(condition)
        done.excluded = len(messages) - len(places)
        messages = [messages[place] for place in places]
    messages = messages[: request.left]
    done.contents = ' '.join(message.id for message in messages)
    first.sealed = bool(queue.metadata.get('_enable_encrypt_messages')) or any(
        message_encryption.is_encrypted(message.body)
        for message in page.messages
    )
    delays = bool(default_delay(queue.metadata, ctx.limits))
    done.deliveries.extend(
        _deliveries(first, [_payload(message, delays) for message in messages])
    )
    left = request.left - len(messages)
    is_over = page.messages and page.messages[-1].created_at > request.until
    if left and page.resume is not None and not is_over:
        rest = msgspec.structs.replace(request, left=left, marker=page.resume)
        done.rest = rest, 0


def _deliveries(
    first: PendingDelivery, payloads: Sequence[Payload]
) -> Iterator[PendingDelivery]:
    """Yield deliveries of a bounded size."""
    start = size = 0
    for end, payload in enumerate(payloads):
        if size and size + payload.size > MAX_BYTES:
            yield first.copy(offset=start, messages=list(payloads[start:end]))
            start, size = end, 0
        size += payload.size
    if start < len(payloads):
        yield first.copy(offset=start, messages=list(payloads[start:]))


def _payload(message: Message, delays: bool) -> Payload:
    delay = 0
    if message.visible_at is not None:
        delay = -((message.created_at - message.visible_at) // 1000)
    return Payload(
        msgspec.Raw(message.body), message.ttl, delay if delays else None
    )
