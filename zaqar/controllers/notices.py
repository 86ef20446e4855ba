# SPDX-License-Identifier: Apache-2.0
"""Notices: what a post, or the wish to ask a subscriber, leaves behind.

They lie in the outbox of the store that keeps the queue's messages until a
notifier makes deliveries of them. Nothing is read for them in the request:
who is to be told is looked up later, so that it costs a post one message more
in the same step.

:source: reference/delivery, "Outbox and deliveries"
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import msgspec

from zaqar.controllers import surrogates
from zaqar.controllers.encryption import UNREADABLE, Cipher
from zaqar.models import Identity, Kind, Message, NewMessage, Queue, Scope
from zaqar.randomness import token_hex
from zaqar.storage.base import OUTBOX

#: Seconds that a notice or a delivery waits for a notifier, at most.
LIFETIME = 30 * 86_400

#: Who has posted them.
CLIENT = '00000000-0000-0000-0000-000000000000'

#: What sealed notices are bound to: they say themselves whose they are.
PLACE = Scope('', OUTBOX)


class Payload(msgspec.Struct, omit_defaults=True):
    """A message as its subscribers are told of it.

    :ivar delay: seconds, only on queues that have a default delay
    """

    body: msgspec.Raw
    ttl: int
    delay: int | None = None


class Posted(msgspec.Struct, tag='post', omit_defaults=True):
    """Messages were posted.

    :ivar qid: the incarnation of the queue, whose mark may be cleared
    :ivar sealed: whether the queue's messages are encrypted
    """

    project: str
    queue: str
    qid: str
    messages: list[Payload]
    kind: str = 'queue'
    sealed: bool = False


class Asked(msgspec.Struct, tag='ask', omit_defaults=True):
    """A subscriber is to be asked whether to be told, or told it is over.

    :ivar wanted: False after an unsubscription
    :ivar expires: until when the answer counts, as it is signed and shown
    """

    project: str
    queue: str
    subscription: str
    expires: str
    wanted: bool = True
    kind: str = 'queue'


Notice = Posted | Asked

T = TypeVar('T')

#: Seconds for which a record that cannot be read is put back: its key may be
#: configured by then, or a release run that knows its form.
PUT_BACK = 600

_DECODER: msgspec.json.Decoder[Notice] = msgspec.json.Decoder(Notice)
_ENCODER = msgspec.json.Encoder()


class Unreadable(Exception):
    """A record of the outbox makes no sense, or its key is not here."""


def of_post(
    cipher: Cipher,
    queue: Queue,
    messages: Sequence[tuple[bytes, int, int | None]],
) -> Callable[[], NewMessage]:
    """Return what makes the notice of a post.

    :param messages: body as JSON text, ttl, and the delay that is shown
    """

    def make() -> NewMessage:
        sealed = bool(queue.metadata.get('_enable_encrypt_messages'))
        posted = Posted(
            queue.scope.project,
            queue.scope.name,
            queue.qid,
            [
                Payload(msgspec.Raw(body), ttl, delay)
                for body, ttl, delay in messages
            ],
            str(queue.scope.kind),
            sealed,
        )
        return message(cipher if sealed else None, posted)

    return make


def message(
    cipher: Cipher | None, record: msgspec.Struct, **fields: Any
) -> NewMessage:
    """Return a record as it is kept.

    :param cipher: seals it; None to leave it readable
    :param fields: of the message, other than usual
    """
    rnd = token_hex(8)
    body = _ENCODER.encode(record)
    if cipher is not None:
        body = cipher.seal(body, PLACE, rnd)
    fields.setdefault('ttl', LIFETIME)
    return NewMessage(body=body, rnd=rnd, client=CLIENT, **fields)


def read(cipher: Cipher, found: Message) -> Notice:
    """Return the notice that a message of the outbox is.

    :raises Unreadable: it is none, or its key is not here
    """
    return decoded(cipher, found, _DECODER)


def decoded(
    cipher: Cipher, found: Message, decoder: msgspec.json.Decoder[T]
) -> T:
    """Return the record that a message of the outbox holds.

    :raises Unreadable: it holds none, or its key is not here
    """
    try:
        text = cipher.open(found.body, PLACE, found.id)
        try:
            return decoder.decode(text)
        except msgspec.DecodeError:
            # A body with a surrogate that has no partner, perhaps.
            return surrogates.decode(text, decoder.decode)
    except (
        msgspec.MsgspecError,
        ValueError,
        LookupError,
        RecursionError,
        *UNREADABLE,
    ) as error:
        raise Unreadable(str(error)) from error


def put_back(found: Message, now: int) -> NewMessage | None:
    """Return a record that cannot be read, for later; None once it is old.

    As it is: whoever can read it then makes of it what is due.
    """
    left = (found.expires_at - now) // 1000
    if left <= 0:
        return None
    return found.to_post(now, id=None, ttl=left, delay=min(PUT_BACK, left))


def identity(project: str) -> Identity:
    """Return who works on what is left behind for a project."""
    return Identity(project, CLIENT)


def scope_of(notice: Any) -> Scope:
    """Return the queue or topic that a notice is about."""
    return Scope(notice.project, notice.queue, Kind(notice.kind))
