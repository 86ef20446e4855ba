# SPDX-License-Identifier: Apache-2.0
"""Attributes of messages: what they are, and how they are stored."""

from collections.abc import Mapping

import msgspec

_ENCODER = msgspec.msgpack.Encoder()
_ATTRIBUTES = msgspec.msgpack.Decoder(dict[str, dict[str, str]])


class Attribute(msgspec.Struct, frozen=True):
    """A message attribute.

    :ivar type: ``String``, ``Number`` or ``Binary``, perhaps with a label
        behind a point
    """

    type: str
    value: str


def encode_attributes(attributes: Mapping[str, Attribute]) -> bytes:
    """Return attributes in the clear."""
    return _ENCODER.encode(attributes)


def read_attributes(data: bytes) -> Mapping[str, Mapping[str, str]]:
    """Return attributes in the clear, by name; none for damaged ones."""
    try:
        return _ATTRIBUTES.decode(data)
    except msgspec.MsgspecError:
        return {}
