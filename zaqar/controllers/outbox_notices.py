# SPDX-License-Identifier: Apache-2.0
"""Notices: records in the outbox that notifiers make deliveries of.

A post leaves one, and so does a request for confirmation, in the store that
holds the messages of the queue. Subscriptions are read by the notifier, so a
notice costs a post no more than one further message in the same step.

:source: reference/delivery, "Outbox and deliveries"
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec

from zaqar.controllers import surrogate_tolerant_json
from zaqar.controllers.body_encryption import UNREADABLE, Cipher
from zaqar.identity import Identity
from zaqar.objects import Kind, Message, NewMessage, Scope
from zaqar.random_bytes import token_hex
from zaqar.storage.base import OUTBOX, MessageStore

#: Seconds after which notices and pending deliveries expire.
LIFETIME = 30 * 86_400

#: Client id of all records in the outbox.
CLIENT = '00000000-0000-0000-0000-000000000000'

#: Scope that encrypted records are bound to.
PLACE = Scope('', OUTBOX)


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

T = TypeVar('T')

#: Seconds after which a record that could not be read is retried: its key may
#: be configured by then, or a release run that knows its form.
REQUEUE_SECONDS = 600

_DECODER: msgspec.json.Decoder[Notice] = msgspec.json.Decoder(Notice)
_ENCODER = msgspec.json.Encoder()


class Unreadable(Exception):
    """A record of the outbox is malformed, or its key is not configured."""


def encode(
    cipher: Cipher | None, record: msgspec.Struct, **fields: Any
) -> NewMessage:
    """Return a record as a message for the store.

    :param cipher: encrypts it; None to leave it readable
    :param fields: values of other members of the message
    """
    rnd = token_hex(8)
    body = _ENCODER.encode(record)
    if cipher is not None:
        body = cipher.encrypt(body, PLACE, rnd)
    fields.setdefault('ttl', LIFETIME)
    return NewMessage(body=body, rnd=rnd, client=CLIENT, **fields)


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


def read_all(
    messages: Iterable[Message], read_one: Callable[[Message], T]
) -> tuple[list[tuple[Message, T]], list[Message]]:
    """Return messages with their records, and those that are unreadable."""
    readable, unreadable = [], []
    for message in messages:
        try:
            readable.append((message, read_one(message)))
        except Unreadable:
            unreadable.append(message)
    return readable, unreadable


def decode(
    cipher: Cipher, message: Message, read_text: Callable[[Any], T]
) -> T:
    """Return the record that a message of the outbox holds.

    :param read_text: decodes JSON
    :raises Unreadable: it is malformed, or its key is not configured
    """
    try:
        text = cipher.decrypt(message.body, PLACE, message.id)
        try:
            return read_text(text)
        except msgspec.DecodeError:
            # Perhaps a body with a lone surrogate.
            return surrogate_tolerant_json.decode(text, read_text)
    except (
        msgspec.MsgspecError,
        ValueError,
        LookupError,
        RecursionError,
        *UNREADABLE,
    ) as error:
        raise Unreadable(str(error)) from error


def pages(
    store: MessageStore, qid: str, limit: int
) -> Iterator[Sequence[Message]]:
    """Yield all records of the outbox, or of pending deliveries, by pages."""
    marker: str | None = None
    while True:
        page = store.list(
            qid,
            now=store.clock.now(),
            limit=limit,
            marker=marker,
            include_claimed=True,
            include_delayed=True,
        )
        yield page.messages
        marker = page.resume
        if marker is None:
            return


def requeued(message: Message, now: int) -> NewMessage | None:
    """Return an unreadable record for a later attempt; None once expired."""
    left = (message.expires_at - now) // 1000
    if left <= 0:
        return None
    delay = min(REQUEUE_SECONDS, left)
    return message.to_post(now, id=None, ttl=left, delay=delay)


def service_identity(project: str) -> Identity:
    """Return the identity under which notifiers work for a project."""
    return Identity(project, CLIENT)


def scope_of(notice: Any) -> Scope:
    return Scope(notice.project, notice.queue, Kind(notice.kind))
