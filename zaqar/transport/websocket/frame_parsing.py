# SPDX-License-Identifier: Apache-2.0
"""Parsing of frames: their headers, and the operations that they request.

:source: reference/websocket, "Frames"
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from zaqar.api import microversion_negotiation, websocket_frame_arguments
from zaqar.api.operation import Operation
from zaqar.errors import InvalidRequest
from zaqar.identity import Identity
from zaqar.microversion_constants import Version
from zaqar.transport.websocket import answer_envelope
from zaqar.transport.websocket.frame_codecs import FrameCodec

_VERSION = microversion_negotiation.HEADER.lower()


@dataclass(slots=True)
class Headers:
    """Headers of a frame, cached since clients send the same ones repeatedly.

    :ivar raw: as received
    :ivar is_binary: their encoding
    :ivar values: by their names in lower case
    :ivar shown: as answers repeat them
    :ivar version: of the request
    :ivar requested: the one that they or the session name, None if none
    :ivar named: headers of answers, besides the status
    :ivar identity: None until the first frame is authenticated
    """

    raw: bytes
    is_binary: bool
    values: Mapping[str, Any]
    shown: Mapping[str, Any]
    version: Version
    requested: Version | None = None
    named: Mapping[str, Any] = field(default_factory=dict)
    identity: Identity | None = None

    def is_same(self, raw: bytes, is_binary: bool) -> bool:
        """Tell whether the same headers were received again."""
        return self.raw == raw and self.is_binary is is_binary


@dataclass(slots=True)
class ParsedFrame:
    """A decoded frame; the one that begins a session has no ``row``."""

    row: Operation | None
    headers: Headers
    body: websocket_frame_arguments.Members


def opened(
    data: bytes, encoding: FrameCodec
) -> tuple[websocket_frame_arguments.Members, Any]:
    """Return the members of a frame, and its action, None if it has none.

    :raises InvalidRequest: it is malformed
    """
    members = encoding.members(data)
    raw = members.get('action')
    return members, None if raw is None else encoding.value(raw)


def parse(
    taken: tuple[websocket_frame_arguments.Members, Any],
    encoding: FrameCodec,
    echo: answer_envelope.Echo,
    cached: Headers | None,
    default: Version | None = None,
) -> ParsedFrame:
    """Decode a frame, and note what its answer repeats.

    :param taken: its members and action
    :param cached: the headers of the frame before
    :param default: the version if they name none
    :raises InvalidRequest: it is malformed
    :raises NotAcceptable: its version is not supported
    """
    members, action = taken
    echo.action = answer_envelope.action_shown(action)
    if 'headers' not in members:
        raise InvalidRequest('The frame has no headers.')
    headers = _parse_headers(
        members['headers'], encoding, echo, cached, default
    )
    body: websocket_frame_arguments.Members = {}
    if 'body' in members:
        body = encoding.members(members['body'])
        echo.body = members['body']
    if headers.values.get('prefer') == 'return=minimal':
        echo.body = answer_envelope.OMITTED
    if action == websocket_frame_arguments.AUTHENTICATE:
        return ParsedFrame(None, headers, body)
    row = websocket_frame_arguments.operation(action, headers.version)
    return ParsedFrame(row, headers, body)


def _parse_headers(
    raw: msgspec.Raw,
    encoding: FrameCodec,
    echo: answer_envelope.Echo,
    cached: Headers | None,
    default: Version | None,
) -> Headers:
    text = bytes(raw)
    if cached is not None and cached.is_same(text, encoding.is_binary):
        echo.headers, echo.named = cached.shown, cached.named
        return cached
    headers = encoding.value(raw)
    values = websocket_frame_arguments.headers(headers)
    shown = echo.headers = answer_envelope.headers_shown(headers)
    version = (
        microversion_negotiation.requested(values.get(_VERSION, '')) or default
    )
    named = echo.named = answer_envelope.headers_named(version, values)
    return Headers(
        text,
        encoding.is_binary,
        values,
        shown,
        version or microversion_negotiation.MIN,
        version,
        named,
    )
