# SPDX-License-Identifier: Apache-2.0
"""A client of the WebSocket server that can say what no library would."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import websocket

from zaqar.api.microversion_negotiation import HEADER
from zaqar.microversion_constants import V2_0, V2_1

CLIENT = '3381af92-2b9e-11e3-b191-71861300734c'
OTHER_CLIENT = '9c0d3b52-6f0a-4a64-9d3e-0d3f0f7a3c11'

#: Seconds that an answer may take.
PATIENCE = 60.0

TEXT = websocket.ABNF.OPCODE_TEXT
BINARY = websocket.ABNF.OPCODE_BINARY
PING = websocket.ABNF.OPCODE_PING


@dataclass(frozen=True)
class Said:
    """An answer.

    :ivar request: what it repeats
    :ivar is_binary: the type of its frame
    :ivar headers: the status among them
    """

    status: int
    body: Any
    request: Any
    is_binary: bool
    headers: Mapping[str, Any]

    def is_error(self, status: int, part: str = '') -> bool:
        """Tell whether it is this error, and shaped as errors are."""
        assert self.status == status, self
        assert set(self.body) <= {'error', 'exception'}, self
        assert isinstance(self.body['error'], str)
        assert (
            self.body.get('exception', self.body['error'])
            == (self.body['error'])
        )
        assert part in self.body['error'], self
        return True


class Closed(Exception):
    """The server has closed the connection.

    :param code: of its close frame, None without one
    """

    def __init__(self, code: int | None) -> None:
        super().__init__(code)
        self.code = code


class Talk:
    """One connection.

    :param url: of the server
    :param is_binary: whether to speak MessagePack
    """

    def __init__(
        self,
        url: str,
        project: str = '',
        *,
        client: str = CLIENT,
        is_binary: bool = False,
        **options: Any,
    ) -> None:
        self.url = url
        self.headers: dict[str, Any] = {
            'Client-ID': client,
            'X-Project-ID': project or secrets.token_hex(16),
        }
        self.is_binary = is_binary
        if is_binary:
            # The default, named: all answers have to be the same.
            self.headers[HEADER] = V2_0.header
        self.socket = websocket.create_connection(
            url, timeout=PATIENCE, **options
        )

    def __enter__(self) -> Talk:
        return self

    def __exit__(self, *_: object) -> None:
        self.cut()

    def ask(
        self,
        action: Any,
        body: Any = None,
        headers: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Said:
        """Ask, and return the answer.

        :param headers: beside or instead of our own; None takes one away
        :param more: members of the body
        """
        self.send(action, body, headers, **more)
        return self.said()

    def send(
        self,
        action: Any,
        body: Any = None,
        headers: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> None:
        """Ask, and do not wait."""
        merged = {**self.headers, **(headers or {})}
        document: dict[str, Any] = {
            'action': action,
            'headers': {k: v for k, v in merged.items() if v is not None},
        }
        if body is not None or more:
            document['body'] = {**(body or {}), **more}
        self.send_document(document)

    def send_document(self, document: Any) -> None:
        """Send anything that can be encoded."""
        if self.is_binary:
            self.send_raw(msgspec.msgpack.encode(document), BINARY)
        else:
            self.send_raw(json.dumps(document).encode(), TEXT)

    def send_raw(self, data: bytes, opcode: int = TEXT) -> None:
        """Send a frame as it is."""
        self.socket.send(data, opcode)

    def said(self) -> Said:
        """Return the next answer."""
        frame, is_binary = self.receive()
        assert set(frame) == {'request', 'body', 'headers'}, frame
        headers, request = frame['headers'], frame['request']
        named = headers.get(HEADER)
        assert named in (None, V2_0.header, V2_1.header)
        if named != V2_1.header:
            assert set(headers) - {HEADER} == {'status'}
        assert request['api'] == 'v2'
        return Said(
            headers['status'], frame['body'], request, is_binary, headers
        )

    def receive(self) -> tuple[Any, bool]:
        """Return what the next data frame holds, and its type.

        :raises Closed: a close frame came instead
        """
        end = time.monotonic() + PATIENCE
        opcode = PING
        while opcode == PING:
            try:
                opcode, data = self.socket.recv_data(control_frame=True)
            except websocket.WebSocketConnectionClosedException:
                raise Closed(None) from None
            # The server's pings must not let a test wait for ever.
            assert time.monotonic() < end
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            raise Closed(int.from_bytes(data[:2], 'big') if data else None)
        if opcode == BINARY:
            return msgspec.msgpack.decode(data), True
        return json.loads(data), False

    def pushed(self, patience: float = PATIENCE) -> Any:
        """Return the next push."""
        self.socket.settimeout(patience)
        frame, is_binary = self.receive()
        self.socket.settimeout(PATIENCE)
        assert 'request' not in frame
        assert is_binary is self.is_binary
        return frame

    def post(self, queue: str, *bodies: Any, **fields: Any) -> list[str]:
        """Post messages, and return their ids."""
        said = self.ask(
            'message_post',
            queue_name=queue,
            messages=[{'body': body, **fields} for body in bodies],
        )
        assert said.status == 201, said
        ids: list[str] = said.body['message_ids']
        return ids

    def bodies(self, queue: str, **query: Any) -> list[Any]:
        """Return the bodies that a listing shows."""
        said = self.ask('message_list', queue_name=queue, echo=True, **query)
        assert said.status == 200, said
        return [message['body'] for message in said.body['messages']]

    def close(self) -> None:
        """End it in good order."""
        self.socket.close()

    def cut(self) -> None:
        """End it as a cable does."""
        self.socket.shutdown()
