# SPDX-License-Identifier: Apache-2.0
"""Dead letters of notifications: messages that could not be delivered.

:source: reference/delivery, "Outbox and deliveries"
"""

import contextlib
import logging

import msgspec

from zaqar import identity
from zaqar.controllers import message_extras_codec, posting
from zaqar.controllers.caller_and_services import Context
from zaqar.errors import StoreUnavailable, ZaqarError
from zaqar.notification import notifier_metrics
from zaqar.notification.sender_interface import Delivery
from zaqar.objects import Kind, Scope, Subscription

LOG = logging.getLogger(__name__)


class _Notification(msgspec.Struct):
    ttl: int


_NOTIFICATION = msgspec.json.Decoder(_Notification)

#: Option of a subscription that names the queue.
OPTION = '_dead_letter_queue'


def dead_letter(
    ctx: Context, subscription: Subscription, delivery: Delivery, reason: str
) -> str:
    """Store an undeliverable message in the dead-letter queue, if any.

    Requests for confirmation are not stored.

    :returns: the reason to show to the owner, which says if that failed
    :raises StoreUnavailable: the message is not stored
    """
    if delivery.confirmation:
        return reason
    name = subscription.options.get(OPTION)
    if not name:
        notifier_metrics.record('dead_letters', 1, 'no')
        return reason
    letter = {
        'notification': msgspec.Raw(delivery.body),
        'subscription_id': subscription.id,
        'subscriber': subscription.subscriber,
        'attempts': delivery.attempt,
        'reason': reason,
    }
    body = msgspec.Raw(msgspec.json.encode(letter))
    post = posting.Post(messages=[posting.PostedMessage(body=body)])
    scope = Scope(delivery.project, name)
    try:
        posting.post(
            _without_notifications(ctx, delivery),
            scope=scope,
            document=post,
            encrypts=delivery.sealed,
            is_bounded=False,
            extras=_story(ctx, subscription, delivery, reason),
        )
    except StoreUnavailable:
        raise
    except ZaqarError as error:
        notifier_metrics.record('dead_letters', 1, 'no')
        LOG.warning(
            'Delivery %s cannot be stored in dead-letter queue %s: %s',
            delivery.id,
            name,
            error,
        )
        return f'{reason}; it could not be stored in {name}: {error}'
    notifier_metrics.record('dead_letters', 1, 'yes')
    return reason


def _story(
    ctx: Context, subscription: Subscription, delivery: Delivery, reason: str
) -> bytes | None:
    """Return what the dead letter says of where it comes from."""
    scope = subscription.scope
    ttl: int | None = None
    # A body with a lone surrogate cannot be decoded.
    with contextlib.suppress(msgspec.MsgspecError):
        ttl = _NOTIFICATION.decode(delivery.body).ttl
    letter = message_extras_codec.DeadLetter(
        scope.name,
        reason,
        0,
        ctx.catalogue.management.clock.now(),
        ttl,
        scope.kind is Kind.TOPIC,
    )
    return message_extras_codec.encode(
        message_extras_codec.Extras(dead_letter=letter)
    )


def _without_notifications(ctx: Context, delivery: Delivery) -> Context:
    """Return a context in which posts notify nobody.

    Notifications of dead letters could go round in circles.
    """
    return Context(
        identity.service_identity(delivery.project),
        ctx.catalogue,
        ctx.limits,
        cipher=ctx.cipher,
    )
