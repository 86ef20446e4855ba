# SPDX-License-Identifier: Apache-2.0
"""Notices: records in the outbox that notifiers make deliveries of.

A post leaves one in the store that holds the messages of the queue, and so do
requests for confirmation, to resend and to replay. Subscriptions are read by
the notifier, so a notice costs a post no more than one further message in the
same step.

:source: reference/delivery, "Outbox and deliveries"
"""

from typing import Any

import msgspec

from zaqar.controllers.message_encryption import Cipher
from zaqar.controllers.outbox_records import decode, encode
from zaqar.objects import Kind, Message, Scope
from zaqar.random_bytes import token_hex
from zaqar.storage.abstract_stores import OUTBOX, MessageStore


class Payload(msgspec.Struct, omit_defaults=True):
    """A message as its subscribers see it.

    :ivar delay: seconds, only on queues with a default delay
    """

    body: msgspec.Raw
    ttl: int
    delay: int | None = None

    @property
    def size(self) -> int:
        """The bytes of its body."""
        return len(memoryview(self.body))


class PostNotice(msgspec.Struct, tag='post', omit_defaults=True):
    """Messages were posted.

    :ivar qid: the incarnation of the queue, whose mark may be cleared
    :ivar sealed: the messages of the queue are encrypted at rest
    """

    project: str
    queue: str
    qid: str
    messages: list[Payload]
    kind: str = 'queue'
    sealed: bool = False


class ConfirmationRequest(msgspec.Struct, tag='ask', omit_defaults=True):
    """A subscriber is to confirm its subscription, or that it has ended.

    :ivar wanted: False after an unsubscription
    :ivar expires: when its signature expires, as it is signed and shown
    """

    project: str
    queue: str
    subscription: str
    expires: str
    wanted: bool = True
    kind: str = 'queue'


class ResendRequest(msgspec.Struct, tag='resend', omit_defaults=True):
    """A delivery that was given up is to be attempted again.

    :ivar delivery: the id of its record among those that were given up, in the
        same store
    """

    project: str
    queue: str
    subscription: str
    delivery: str
    kind: str = 'queue'


class ReplayRequest(msgspec.Struct, tag='replay', omit_defaults=True):
    """What a queue still holds is to be sent to a subscriber again.

    It is worked off page by page; each step leaves a request for the rest.

    :ivar until: messages posted later are not sent, in milliseconds by the
        clock of their store
    :ivar left: how many may still be sent
    :ivar marker: place in the queue behind what was dealt with
    :ivar since: nor are those posted before, in milliseconds
    """

    project: str
    queue: str
    subscription: str
    until: int
    left: int
    marker: str | None = None
    since: int = 0
    kind: str = 'queue'


Notice = PostNotice | ConfirmationRequest | ResendRequest | ReplayRequest

#: Reason of notices that were fanned out, and stay for their messages.
FANNED_OUT = 'fanned out'

#: How pending deliveries begin that earlier releases cannot decode.
SHARED = b'{"pending":'

_DECODER: msgspec.json.Decoder[Notice] = msgspec.json.Decoder(Notice)


def put(store: MessageStore, request: msgspec.Struct) -> None:
    """Leave a request to notifiers, in the outbox of a store."""
    store.post(
        OUTBOX,
        [encode(None, request)],
        now=store.clock.now(),
        token=token_hex(16),
    )


def read(cipher: Cipher, message: Message) -> Notice:
    """Return the notice that a message holds; see :func:`decode`."""
    return decode(cipher, message, _DECODER.decode)


def scope_of(notice: Any) -> Scope:
    return Scope(notice.project, notice.queue, Kind(notice.kind))
