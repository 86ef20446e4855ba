# SPDX-License-Identifier: Apache-2.0
"""Records of the outbox and of pending deliveries: codec, pages, retries."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec

from zaqar.controllers import surrogate_tolerant_json
from zaqar.controllers.message_encryption import UNREADABLE, Cipher
from zaqar.identity import SERVICE_CLIENT
from zaqar.objects import Message, NewMessage, Scope
from zaqar.random_bytes import token_hex
from zaqar.storage.abstract_stores import OUTBOX, MessageStore

T = TypeVar('T')

#: Seconds after which notices and pending deliveries expire.
LIFETIME = 30 * 86_400

#: Scope that encrypted records are bound to.
PLACE = Scope('', OUTBOX)

_ENCODER = msgspec.json.Encoder()

#: Seconds after which a record that could not be read is retried: its key may
#: be configured by then, or a release run that knows its form.
REQUEUE_SECONDS = 600


class Unreadable(Exception):
    """A record of the outbox is malformed, or its key is not configured."""


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
    return NewMessage(body=body, rnd=rnd, client=SERVICE_CLIENT, **fields)


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
