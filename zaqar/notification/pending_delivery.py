# SPDX-License-Identifier: Apache-2.0
"""Pending deliveries as they are stored, one per post and subscriber.

A subscriber gets the messages of a post one after the other. One that fails
goes on as a pending delivery of its own. Connections of one WebSocket server
share a pending delivery.

Messages of more than a few bytes are not repeated in each of them: those refer
to the notice of the post, which stays in the outbox meanwhile; see
:mod:`.referenced_notices`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import msgspec

from zaqar.controllers import (
    delivery_attempt_history,
    outbox_notices,
    outbox_records,
)
from zaqar.controllers.message_encryption import Cipher
from zaqar.controllers.outbox_notices import ConfirmationRequest, Payload
from zaqar.controllers.outbox_records import LIFETIME
from zaqar.controllers.subscription_validation import SOCKET
from zaqar.objects import Message, NewMessage, Scope, Subscription
from zaqar.storage.abstract_stores import PENDING, MessageStore
from zaqar.webhook_client.receiver_address_guard import port_of

#: Pending deliveries that are read at a time.
_PAGE = 500

_ENCODER = msgspec.json.Encoder()


class Socket(msgspec.Struct, array_like=True, frozen=True):
    """A connection of a WebSocket server, and its subscription."""

    connection: str
    subscription: str
    version: int


class PendingDelivery(
    msgspec.Struct,
    # For what is computed once.
    dict=True,
    omit_defaults=True,
    # As stored by all releases.
    rename={'offset': 'first', 'deferrals': 'parks', 'confirmation': 'ask'},
):
    """Messages, or a request for confirmation, for one subscriber.

    :ivar id: see :func:`delivery_id`; that of the notice with ``sockets``
    :ivar subscription: its id, '' for those of ``sockets``
    :ivar version: that of the subscription at the fan-out; an older copy of
        it is out of date
    :ivar host: where it goes, for fairness only
    :ivar offset: index of the first message within the post
    :ivar attempt: the number of the next attempt
    :ivar first_at: when it was first due, in milliseconds
    :ivar deferrals: how often its host had no room for it
    :ivar source: id of the notice that has its messages, '' if they are its
        own
    :ivar places: their indexes within the source
    :ivar sockets: connections of one server that get the messages
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
    source: str = ''
    places: list[int] = []
    sockets: list[Socket] = []

    @property
    def scope(self) -> Scope:
        return outbox_notices.scope_of(self)

    @functools.cached_property
    def key(self) -> tuple[Scope, str]:
        return self.scope, self.subscription

    @property
    def name(self) -> str:
        """A text that no other delivery of its notice has."""
        first = self.sockets[0].subscription if self.sockets else ''
        return f'{self.id} {self.offset} {first}'

    @property
    def size(self) -> int:
        """The bytes of its messages, for each connection that gets them."""
        size = sum(one.size for one in self.messages)
        return size * max(len(self.sockets), 1)

    @classmethod
    def read(cls, cipher: Cipher, message: Message) -> PendingDelivery:
        """Decode a stored one, without the messages of a source.

        :raises Unreadable: the message is none, or its key is not configured
        """
        return outbox_records.decode(cipher, message, _decode)

    def to_store(
        self,
        cipher: Cipher,
        *,
        ttl: int = LIFETIME,
        delay: int = 0,
        now: int = 0,
    ) -> NewMessage:
        """Encode it, delayed by seconds; encrypted if its messages were.

        :param now: in milliseconds; its source may expire long after that
        """
        record: msgspec.Struct = self
        if now + delay * 1000 > self.first_at + LIFETIME * 500:
            record = self = self.alone()
        if self.source or self.sockets:
            own = [] if self.source else self.messages
            record = _Shared(self.copy(messages=[]), own)
        return outbox_records.encode(
            cipher if self.sealed else None,
            record,
            ttl=ttl + delay,
            delay=delay,
        )

    def copy(self, **changes: Any) -> PendingDelivery:
        """Return a copy with other values."""
        return msgspec.structs.replace(self, **changes)

    def part(self, start: int, end: int | None = None) -> PendingDelivery:
        """Return a copy with some of its messages."""
        return self.copy(
            messages=self.messages[start:end],
            places=self.places[start:end],
            offset=self.offset + start,
        )

    def alone(self) -> PendingDelivery:
        """Return a copy that has its messages itself."""
        return self.copy(source='', places=[])

    def take(self, messages: list[Payload]) -> None:
        """Take those that it refers to out of the messages of the source."""
        self.messages = [messages[place] for place in self.places]

    def singles(self) -> Iterator[PendingDelivery]:
        """Yield a pending delivery for each subscription."""
        if not self.sockets:
            yield self
        for socket in self.sockets:
            yield self.copy(
                id=delivery_id(self.scope, socket.subscription, self.id),
                subscription=socket.subscription,
                version=socket.version,
                host=f'{self.host}/{socket.connection}',
                attempt=1,
                deferrals=0,
                sockets=[],
            )

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


class _Shared(msgspec.Struct, omit_defaults=True):
    """A pending delivery of a form that earlier releases cannot decode.

    They leave such a record for later, and a notifier of this release takes
    it.

    :ivar messages: those of ``pending``, unless its source has them
    """

    pending: PendingDelivery
    messages: list[Payload] = []


_DECODER = msgspec.json.Decoder(PendingDelivery)
_SHARED = msgspec.json.Decoder(_Shared)
_UNKNOWN = Payload(msgspec.Raw(b'null'), 0)


def _decode(text: bytes) -> PendingDelivery:
    if not text.startswith(outbox_notices.SHARED):
        return _DECODER.decode(text)
    shared = _SHARED.decode(text)
    pending = shared.pending
    pending.messages = shared.messages or [_UNKNOWN] * len(pending.places)
    return pending


#: The scheme of mails, which is their host, too.
MAIL = 'mailto'


def delivery_id(scope: Scope, subscription_id: str, notice_id: str) -> str:
    """Return the id of what a notice makes for a subscription.

    Receivers get it with the index of the message behind it.
    """
    return (
        delivery_attempt_history.prefix((scope, subscription_id)) + notice_id
    )


def of(
    subscription: Subscription, notice: Message, **content: Any
) -> PendingDelivery:
    """Return what a notice makes for a subscription.

    :param content: what it is to be sent
    """
    scope = subscription.scope
    return PendingDelivery(
        id=delivery_id(scope, subscription.id, notice.id),
        project=scope.project,
        queue=scope.name,
        kind=str(scope.kind),
        subscription=subscription.id,
        version=subscription.version,
        host=host_of(subscription.subscriber),
        first_at=notice.created_at,
        **content,
    )


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


def is_socket(host: str) -> bool:
    """Tell whether a host is a WebSocket server, or a connection of one.

    With the slashes: the host of a webhook may begin in the same way.
    """
    return host.startswith(f'{SOCKET}://')


def stored_messages(
    store: MessageStore, pause: Callable[[], None] = lambda: None
) -> Iterator[Message]:
    """Yield all pending deliveries of a store, as messages.

    :param pause: called now and then, for work that cannot wait
    """
    for page in outbox_records.pages(store, PENDING, _PAGE):
        yield from page
        pause()
