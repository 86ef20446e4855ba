# SPDX-License-Identifier: Apache-2.0
"""Pending deliveries as they are stored, one per post and subscriber.

A subscriber gets the messages of a post one after the other. One that fails
goes on as a pending delivery of its own.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import msgspec

from zaqar.controllers import delivery_attempts, outbox_notices
from zaqar.controllers.body_encryption import Cipher
from zaqar.controllers.outbox_notices import ConfirmationRequest, Payload
from zaqar.controllers.subscription_validation import SOCKET
from zaqar.models import Message, NewMessage, Scope
from zaqar.notification.webhook_address_guard import port_of

_ENCODER = msgspec.json.Encoder()


class PendingDelivery(
    msgspec.Struct,
    omit_defaults=True,
    # As stored by all releases.
    rename={'offset': 'first', 'deferrals': 'parks', 'confirmation': 'ask'},
):
    """Messages, or a request for confirmation, for one subscriber.

    :ivar id: see :func:`delivery_id`
    :ivar version: that of the subscription at the fan-out; an older copy of
        it is out of date
    :ivar host: where it goes, for fairness only
    :ivar offset: index of the first message within the post
    :ivar attempt: the number of the next attempt
    :ivar first_at: when it was first due, in milliseconds
    :ivar deferrals: how often its host had no room for it
    """

    id: str
    project: str
    queue: str
    subscription: str
    host: str
    first_at: int
    messages: list[Payload] = []
    kind: str = 'queue'
    offset: int = 0
    attempt: int = 1
    deferrals: int = 0
    version: int = 0
    sealed: bool = False
    confirmation: ConfirmationRequest | None = None

    @property
    def scope(self) -> Scope:
        return outbox_notices.scope_of(self)

    @property
    def key(self) -> tuple[Scope, str]:
        return self.scope, self.subscription

    @classmethod
    def read(cls, cipher: Cipher, message: Message) -> PendingDelivery:
        """Decode a stored one.

        :raises Unreadable: the message is none, or its key is not configured
        """
        return outbox_notices.decode(cipher, message, _DECODER)

    def to_store(
        self, cipher: Cipher, *, ttl: int, delay: int = 0
    ) -> NewMessage:
        """Encode it, delayed by seconds; encrypted if its messages were."""
        return outbox_notices.encode(
            cipher if self.sealed else None, self, ttl=ttl + delay, delay=delay
        )

    def copy(self, **changes: Any) -> PendingDelivery:
        """Return a copy with other values."""
        return msgspec.structs.replace(self, **changes)

    def notification(self, place: int) -> bytes:
        """Return a message as JSON text, with exactly these keys."""
        message = self.messages[place]
        document: dict[str, Any] = {
            'body': message.body,
            'ttl': message.ttl,
            'queue_name': self.queue,
            'Message_Type': 'Notification',
        }
        if message.delay is not None:
            document['delay'] = message.delay
        return _ENCODER.encode(document)


_DECODER = msgspec.json.Decoder(PendingDelivery)

#: The scheme of mails, which is their host, too.
MAIL = 'mailto'


def delivery_id(scope: Scope, subscription_id: str, notice_id: str) -> str:
    """Return the id of what a notice makes for a subscription.

    Receivers get it with the index of the message behind it.
    """
    return delivery_attempts.prefix((scope, subscription_id)) + notice_id


def host_of(subscriber: str) -> str:
    """Return the host, as the scheduler counts them, of a subscriber."""
    scheme = subscriber.partition(':')[0].lower()
    if scheme == MAIL:
        # All mails go by one server.
        return scheme
    if scheme == SOCKET:
        # A connection that takes nothing must not delay others of its server.
        return subscriber
    parts = urlsplit(subscriber.removeprefix('trust+'))
    return f'{parts.hostname or ""}:{port_of(parts)}'.lower()
