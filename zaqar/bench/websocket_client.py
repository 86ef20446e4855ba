# SPDX-License-Identifier: Apache-2.0
"""A client that makes the calls over a WebSocket."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from zaqar.bench.client_interface import TIMEOUT, CallFailed, ClaimedMessages
from zaqar.bench.http_client import WAITING
from zaqar.errors import ConfigurationError


class WebSocketBenchClient:
    """A client with one frame each way per call."""

    def __init__(self, url: str, headers: Mapping[str, str]) -> None:
        try:
            import websocket
        except ImportError:
            raise ConfigurationError(
                'WebSocket mode needs websocket-client: '
                'pip install websocket-client'
            ) from None
        self._library: Any = websocket
        self._url = url
        self._headers = headers
        self._waiting = {**headers, **WAITING, 'request_id': 'claim'}
        self._socket: Any = None

    def connect(self) -> None:
        try:
            self._socket = self._library.create_connection(
                self._url, timeout=TIMEOUT
            )
        except (OSError, self._library.WebSocketException) as error:
            raise CallFailed(type(error).__name__) from error
        if 'X-Auth-Token' in self._headers:
            self._call('authenticate')

    def delete_queue(self, queue: str) -> None:
        self._call('queue_delete', queue_name=queue)

    def post(self, queue: str, messages: Sequence[Mapping[str, Any]]) -> None:
        self._call('message_post', queue_name=queue, messages=messages)

    def claim(
        self, queue: str, *, ttl: int, grace: int, limit: int, wait: int
    ) -> ClaimedMessages | None:
        answer = self._call(
            'claim_create',
            self._waiting if wait else None,
            queue_name=queue,
            ttl=ttl,
            grace=grace,
            limit=limit,
            **({'wait': wait} if wait else {}),
        )
        messages = answer.get('messages')
        if not messages:
            return None
        return ClaimedMessages(
            answer['claim_id'],
            [item['id'] for item in messages],
            [item['body'] for item in messages],
        )

    def delete(self, queue: str, claim_id: str, message_id: str) -> None:
        self._call(
            'message_delete',
            queue_name=queue,
            message_id=message_id,
            claim_id=claim_id,
        )

    def delete_many(self, queue: str, message_ids: Sequence[str]) -> None:
        self._call(
            'message_delete_many', queue_name=queue, message_ids=message_ids
        )

    def list(self, queue: str, marker: str | None, limit: int) -> str | None:
        place: dict[str, Any] = {'marker': marker} if marker else {}
        answer = self._call(
            'message_list',
            queue_name=queue,
            limit=limit,
            include_claimed=True,
            echo=True,
            **place,
        )
        following: str | None = answer.get('marker')
        return following if answer['messages'] else None

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()

    def _call(
        self,
        action: str,
        headers: Mapping[str, str] | None = None,
        **body: Any,
    ) -> Any:
        frame = {
            'action': action,
            'headers': headers or self._headers,
            'body': body,
        }
        try:
            self._socket.send(msgspec.json.encode(frame).decode())
            answer = msgspec.json.decode(self._socket.recv())
        except (OSError, self._library.WebSocketException) as error:
            raise CallFailed(type(error).__name__) from error
        status = answer['headers']['status']
        if status >= 300:
            raise CallFailed(str(status))
        return answer['body']
