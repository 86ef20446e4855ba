# SPDX-License-Identifier: Apache-2.0
"""The two encodings of frames: JSON in text, MessagePack in binary ones.

Members of a request are looked at only as far as needed: what is echoed, and
the bodies of messages, stay the client's own bytes.

:source: reference/websocket, "Frames"
"""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import msgspec

from zaqar.api import bounded_json
from zaqar.api.dispatch import Received
from zaqar.api.websocket_frame_arguments import Codec, Members
from zaqar.controllers import surrogate_tolerant_json
from zaqar.errors import InvalidRequest

_JSON_FAULTS = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)

_MAX_MSGPACK = 2**64 - 1


class FrameCodec(Codec, Protocol):
    """An encoding in both directions, of binary frames or of text."""

    is_binary: bool

    def members(self, data: bytes | msgspec.Raw) -> Members:
        """Take an object apart.

        :raises InvalidRequest: it is not well-formed, or no object
        """

    def body(self, text: bytes) -> Any:
        """Return what to put into an answer for a body kept as JSON text."""

    def encode(self, value: Any) -> bytes:
        """Return a value as the data of a frame."""


class Json:
    """Text frames."""

    is_binary = False

    def __init__(self) -> None:
        self._members = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
        self.encode: Callable[[Any], bytes] = msgspec.json.Encoder().encode

    def members(self, data: bytes | msgspec.Raw) -> Members:
        try:
            return self._members(data)
        except msgspec.ValidationError:
            raise _no_object() from None
        except _JSON_FAULTS:
            return _with_surrogates(bytes(data))

    def value(self, raw: msgspec.Raw) -> Any:
        try:
            return msgspec.json.decode(raw)
        except _JSON_FAULTS:
            raise _malformed() from None

    def document(self, members: Members) -> Received:
        parts = [
            b'"%b":%b' % (name.encode(), bytes(raw))
            for name, raw in members.items()
        ]
        return _received(b'{%b}' % b','.join(parts))

    def one(self, raw: msgspec.Raw) -> Received:
        return _received(bytes(raw))

    def body(self, text: bytes) -> Any:
        return msgspec.Raw(text)


class MessagePack:
    """Binary frames."""

    is_binary = True

    def __init__(self) -> None:
        # Keys of any kind are let in, and only texts are heard.
        self._members = msgspec.msgpack.Decoder(dict[Any, msgspec.Raw]).decode
        self._encode = msgspec.msgpack.Encoder().encode

    def members(self, data: bytes | msgspec.Raw) -> Members:
        try:
            members = self._members(data)
        except msgspec.ValidationError:
            # What begins like a number may go on like none.
            self._value(data)
            raise _no_object() from None
        except _JSON_FAULTS:
            raise _malformed(binary=True) from None
        return {key: raw for key, raw in members.items() if type(key) is str}

    def value(self, raw: msgspec.Raw) -> Any:
        value = self._value(raw)
        return _whole(value) if type(value) is float else value

    def document(self, members: Members) -> Received:
        values = {name: self._json(raw) for name, raw in members.items()}
        size = sum(
            len(name) + len(memoryview(raw)) + 1
            for name, raw in members.items()
        )
        return Received(msgspec.json.encode(values), size + 1)

    def one(self, raw: msgspec.Raw) -> Received:
        text = msgspec.json.encode(self._json(raw))
        return Received(text, len(memoryview(raw)))

    def body(self, text: bytes) -> Any:
        try:
            return msgspec.Raw(self._encode(msgspec.json.decode(text)))
        except (ValueError, OverflowError):
            # A lone surrogate, or an integer that JSON alone can say.
            return _sendable(json.loads(text))

    def encode(self, value: Any) -> bytes:
        return self._encode(value)

    def _json(self, raw: msgspec.Raw) -> Any:
        value = self.value(raw)
        _check_json(value)
        return value

    def _value(self, raw: bytes | msgspec.Raw) -> Any:
        try:
            return msgspec.msgpack.decode(raw)
        except _JSON_FAULTS:
            raise _malformed(binary=True) from None


JSON: FrameCodec = Json()
MESSAGE_PACK: FrameCodec = MessagePack()


def codec(is_binary: bool) -> FrameCodec:
    return MESSAGE_PACK if is_binary else JSON


def packed(text: bytes) -> bytes:
    """Return JSON text as MessagePack."""
    return MESSAGE_PACK.encode(MESSAGE_PACK.body(text))


def _received(text: bytes) -> Received:
    return Received(text, len(text))


def _with_surrogates(data: bytes) -> Members:
    """Take apart what has an escaped surrogate, which msgspec refuses."""
    if b'\\ud' not in data and b'\\uD' not in data:
        raise _malformed()
    try:
        return {
            name: msgspec.Raw(text)
            for name, text in surrogate_tolerant_json.members(data).items()
        }
    except (ValueError, IndexError, RecursionError):
        raise _malformed() from None


def _whole(value: float) -> float | int:
    """Return a whole number as an integer, if JSON may have it.

    JavaScript knows one kind of numbers. Its libraries encode whole ones from
    2**32 on as floats, where JSON shows them as the integers that they are.
    """
    if (
        value.is_integer()
        and bounded_json.MIN_INT <= value <= bounded_json.MAX_INT
    ):
        return int(value)
    return value


def _check_json(root: Any) -> None:
    """Refuse what MessagePack can say and JSON cannot.

    Whole numbers in it become integers.

    :raises InvalidRequest: it is such
    """
    level = [root]
    depth = 0
    while level:
        depth += 1
        if depth > bounded_json.MAX_DEPTH + 1:
            raise InvalidRequest('The body is nested too deep.')
        following: list[Any] = []
        for value in level:
            kind = type(value)
            if kind is dict:
                if not all(type(key) is str for key in value):
                    raise _unfit('A key that is no string')
                if float in map(type, value.values()):
                    for key, item in value.items():
                        if type(item) is float:
                            value[key] = _whole(item)
                following += value.values()
            elif kind is list:
                if float in map(type, value):
                    value[:] = [
                        _whole(item) if type(item) is float else item
                        for item in value
                    ]
                following += value
            elif kind not in _SCALARS or not _SCALARS[kind](value):
                raise _unfit(f'A value of the type {kind.__name__}')
        level = following


def _always(value: Any) -> bool:
    return True


_SCALARS: Mapping[type, Callable[[Any], bool]] = {
    str: _always,
    bool: _always,
    type(None): _always,
    int: _always,
    float: math.isfinite,
}


def _sendable(value: Any) -> Any:
    """Return a value of JSON as near as MessagePack comes to it."""
    if isinstance(value, dict):
        return {_sendable(key): _sendable(v) for key, v in value.items()}
    if isinstance(value, list):
        return [_sendable(item) for item in value]
    if isinstance(value, str):
        return value.encode(errors='replace').decode()
    if (
        type(value) is int
        and not bounded_json.MIN_INT <= value <= _MAX_MSGPACK
    ):
        return float(value)
    return value


def _malformed(binary: bool = False) -> InvalidRequest:
    if binary:
        # The text that clients know.
        return InvalidRequest("Can't decode binary: it is no MessagePack.")
    return InvalidRequest('The frame could not be parsed.')


def _no_object() -> InvalidRequest:
    return InvalidRequest('A frame and its body must hold an object.')


def _unfit(what: str) -> InvalidRequest:
    return InvalidRequest(f'{what} cannot be kept as JSON.')
