# SPDX-License-Identifier: Apache-2.0
"""Encode and decode extras, what controllers store beside a message's body.

Stores take it for bytes. Members that are absent take no space, and a message
without any has none at all, as almost all have.
"""

from collections.abc import Callable

import msgspec
from msgspec import structs


class DeadLetter(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a dead letter comes from.

    :ivar queue: name of its queue
    :ivar claim_count: how often it was handed out there
    :ivar at: when it was moved, in milliseconds
    :ivar ttl: that of its own post in seconds, if it has another one now
    :ivar is_topic: whether the queue is a topic
    """

    queue: str
    reason: str
    claim_count: int
    at: int
    ttl: int | None = None
    is_topic: bool = False


class Extras(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is stored beside a body.

    :ivar attributes: encoded by
        :func:`zaqar.controllers.message_attribute_codec.encode_attributes`,
        and encrypted where the body is
    :ivar dedup_id: by which duplicates of a message of a FIFO queue are
        recognized
    """

    attributes: bytes | None = None
    dead_letter: DeadLetter | None = None
    dedup_id: str | None = None


_ENCODER = msgspec.msgpack.Encoder()
_EXTRAS = msgspec.msgpack.Decoder(Extras)

_NONE = Extras()


def encode(extras: Extras) -> bytes | None:
    """Return extras as they are stored, None for empty ones."""
    return None if extras == _NONE else _ENCODER.encode(extras)


def decode(data: bytes | None) -> Extras:
    """Return the extras of a message.

    :raises msgspec.DecodeError: they are damaged
    """
    return _NONE if data is None else _EXTRAS.decode(data)


def read(data: bytes | None) -> Extras:
    """Return the extras of a message, none for damaged ones."""
    try:
        return decode(data)
    except msgspec.MsgspecError:
        return _NONE


def with_attributes(
    data: bytes | None, change: Callable[[bytes], bytes]
) -> bytes | None:
    """Return stored extras with other attributes, if they have any.

    Those that say nothing else, and damaged ones, are left as they are.

    :param change: encrypts or decrypts attributes
    """
    extras = read(data)
    if extras.attributes is None:
        return data
    changed = change(extras.attributes)
    return encode(structs.replace(extras, attributes=changed))
