# SPDX-License-Identifier: Apache-2.0
"""Requests and answers as JSON, each preceded by its length.

Bodies of messages are sent as Base64. Ids and reasons come from clients and
may contain lone surrogates, which JSON can escape.
"""

from __future__ import annotations

import json
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
    """A result, or the name of an error of ``zaqar.errors``.

    :ivar arguments: those of the error
    """

    value: Any = None
    error: str = ''
    arguments: list[Any] = []


class Refusal(Exception):
    """A call is answered with an error of ``zaqar.errors``.

    :param kind: its class
    :param arguments: with which the client raises it
    """

    def __init__(self, kind: type[Exception], *arguments: Any) -> None:
        super().__init__(kind, *arguments)
        self.answer = Answer(error=kind.__name__, arguments=[*arguments])


def send(connection: socket.socket, what: Request | Answer) -> None:
    """Send a request or an answer."""
    data = json.dumps(msgspec.to_builtins(what)).encode()
    connection.sendall(_LENGTH.pack(len(data)) + data)


def receive(connection: socket.socket, kind: type[T]) -> T:
    """Receive a request or an answer.

    :raises EOFError: the connection was closed
    """
    (length,) = _LENGTH.unpack(_exactly(connection, _LENGTH.size))
    return msgspec.convert(json.loads(_exactly(connection, length)), kind)


def _exactly(connection: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        part = connection.recv(min(count - len(data), 1 << 20))
        if not part:
            raise EOFError
        data += part
    return bytes(data)
