# SPDX-License-Identifier: Apache-2.0
"""Requests and answers as MessagePack, each preceded by its length."""

from __future__ import annotations

import socket
import struct
from typing import Any, TypeVar

import msgspec

T = TypeVar('T')

_LENGTH = struct.Struct('!I')


class Request(msgspec.Struct):
    """A call of a store of a place.

    :ivar id: the same when the request is repeated
    """

    id: str
    place: str
    plane: str
    call: str
    values: dict[str, Any]


class Answer(msgspec.Struct):
    """A result, or the name and text of an error of ``zaqar.errors``."""

    value: Any = None
    error: str = ''
    text: str | None = None


def send(connection: socket.socket, what: Request | Answer) -> None:
    """Send a request or an answer."""
    data = msgspec.msgpack.encode(what)
    connection.sendall(_LENGTH.pack(len(data)) + data)


def receive(connection: socket.socket, kind: type[T]) -> T:
    """Receive a request or an answer.

    :raises EOFError: the connection was closed
    """
    (length,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size))
    return msgspec.msgpack.decode(_exactly(connection, length), type=kind)


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        part = connection.recv(min(count - len(data), 1 << 20))
        if not part:
            raise EOFError
        data += part
    return bytes(data)
