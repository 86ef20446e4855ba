# SPDX-License-Identifier: Apache-2.0
"""What is due to one subscriber, as it waits in a store.

A due holds the messages of one post, which a subscriber gets one after the
other. One that fails goes on as a due of its own.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

import msgspec

from zaqar.controllers.encryption import Cipher
from zaqar.controllers.notices import (
    Asked,
    Payload,
    decoded,
    message,
    scope_of,
)
from zaqar.models import Message, NewMessage, Scope

_PORTS = {'http': 80, 'https': 443}


class Due(msgspec.Struct, omit_defaults=True):
    """Messages, or a question, for one subscriber.

    :ivar id: of the notice, then of the subscription
    :ivar version: of the subscription when its message was seen: what is
        remembered from before will not do
    :ivar host: where it goes, for fairness only
    :ivar first: which message of the post the first one is
    :ivar attempt: the number of the next one
    :ivar first_at: when it was first due, in milliseconds
    :ivar parks: how often it had to wait because of others
    """

    id: str
    project: str
    queue: str
    subscription: str
    host: str
    first_at: int
    messages: list[Payload] = []
    kind: str = 'queue'
    first: int = 0
    attempt: int = 1
    parks: int = 0
    version: int = 0
    sealed: bool = False
    ask: Asked | None = None

    @property
    def scope(self) -> Scope:
        """The queue or topic."""
        return scope_of(self)


_DECODER = msgspec.json.Decoder(Due)
_ENCODER = msgspec.json.Encoder()


def kept(cipher: Cipher, due: Due, *, ttl: int, delay: int = 0) -> NewMessage:
    """Return a due as it is kept; sealed if its messages were.

    :param delay: whole seconds
    """
    return message(
        cipher if due.sealed else None, due, ttl=ttl + delay, delay=delay
    )


def read(cipher: Cipher, found: Message) -> Due:
    """Return the due that a message is.

    :raises Unreadable: it is none, or its key is not here
    """
    return decoded(cipher, found, _DECODER)


def payload(due: Due, item: Payload) -> bytes:
    """Return the JSON text of a notification: exactly these keys."""
    found: dict[str, Any] = {
        'body': item.body,
        'ttl': item.ttl,
        'queue_name': due.queue,
        'Message_Type': 'Notification',
    }
    if item.delay is not None:
        found['delay'] = item.delay
    return _ENCODER.encode(found)


def host_of(subscriber: str) -> str:
    """Return what deliveries of a subscriber have in common with others'."""
    scheme = subscriber.partition(':')[0].lower()
    if scheme == 'mailto':
        # One way out for all of them.
        return scheme
    if scheme == 'websocket':
        # Each connection for itself: one that takes nothing is no fault of
        # the server's, nor of the others there.
        return subscriber
    parts = urlsplit(subscriber.removeprefix('trust+'))
    try:
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        port = 0
    return f'{parts.hostname or ""}:{port}'.lower()
