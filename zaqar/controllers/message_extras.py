# SPDX-License-Identifier: Apache-2.0
"""Extras of messages: what controllers store beside the body.

Stores take it for bytes. Members that are absent take no space, and a message
without any has none at all, as almost all have.
"""

from collections.abc import Callable, Mapping

import msgspec
from msgspec import structs


class Attribute(msgspec.Struct, frozen=True):
    """A message attribute.

    :ivar type: ``String``, ``Number`` or ``Binary``, perhaps with a label
        behind a point
    """

    type: str
    value: str


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

    :ivar attributes: encoded by :func:`encode_attributes`, and encrypted
        where the body is
    :ivar dedup_id: by which duplicates of a message of a FIFO queue are
        recognized
    """

    attributes: bytes | None = None
    dead_letter: DeadLetter | None = None
    dedup_id: str | None = None


_ENCODER = msgspec.msgpack.Encoder()
_EXTRAS = msgspec.msgpack.Decoder(Extras)
_ATTRIBUTES = msgspec.msgpack.Decoder(dict[str, dict[str, str]])

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


def encode_attributes(attributes: Mapping[str, Attribute]) -> bytes:
    """Return attributes in the clear."""
    return _ENCODER.encode(attributes)


def read_attributes(data: bytes) -> Mapping[str, Mapping[str, str]]:
    """Return attributes in the clear, by name; none for damaged ones."""
    try:
        return _ATTRIBUTES.decode(data)
    except msgspec.MsgspecError:
        return {}
