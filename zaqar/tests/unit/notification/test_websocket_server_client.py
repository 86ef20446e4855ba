# SPDX-License-Identifier: Apache-2.0
"""Requests to a WebSocket server, and whatever may come back.

The other end is one that says what a real one does not.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Sequence

import pytest

from zaqar.notification.senders.websocket_server_client import InternalClient

PATIENCE = 30.0

KEPT = b'HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n\r\n'
LAST = (
    b'HTTP/1.1 413 Content Too Large\r\nConnection: close\r\n'
    b'Content-Length: 0\r\n\r\n'
)


class End:
    """Says what it is given, for each connection a list of answers."""

    def __init__(self) -> None:
        self.heard: list[list[bytes]] = []
        self.left = threading.Event()
        self._server = socket.create_server(('127.0.0.1', 0))
        self._thread: threading.Thread | None = None
        self.client = InternalClient(
            f'http://127.0.0.1:{self._server.getsockname()[1]}'
        )

    def says(self, *connections: Sequence[bytes]) -> None:
        """Answer from now on."""
        self._thread = threading.Thread(target=self._live, args=[connections])
        self._thread.start()

    def post(self, body: bytes = b'{}') -> int:
        """Hand something over."""
        return self.client.post('here', {'X-Time': '1'}, body)

    def stop(self) -> None:
        """End."""
        self.client.close()
        if self._thread is not None:
            self._thread.join(PATIENCE)
        self._server.close()

    def _live(self, connections: Sequence[Sequence[bytes]]) -> None:
        for answers in connections:
            taken, _ = self._server.accept()
            taken.settimeout(PATIENCE)
            heard: list[bytes] = []
            self.heard.append(heard)
            with taken:
                for answer in answers:
                    heard.append(taken.recv(65536))
                    taken.sendall(answer)
            self.left.set()


@pytest.fixture
def end() -> Iterator[End]:
    server = End()
    yield server
    server.stop()


def test_a_connection_is_kept(end: End) -> None:
    end.says([KEPT, KEPT])
    assert [end.post(b'"a"'), end.post(b'"b"')] == [204, 204]
    (heard,) = end.heard
    first, second = heard
    assert first.startswith(b'POST /here HTTP/1.1\r\nHost: 127.0.0.1:')
    assert b'\r\nX-Time: 1\r\nContent-Length: 3\r\n\r\n"a"' in first
    assert second.endswith(b'\r\n\r\n"b"')


def test_another_is_made_where_the_end_says_so(end: End) -> None:
    end.says([LAST], [KEPT])
    assert [end.post(), end.post()] == [413, 204]
    assert len(end.heard) == 2


def test_another_is_made_where_the_end_has_left(end: End) -> None:
    end.says([KEPT], [KEPT])
    assert end.post() == 204
    assert end.left.wait(PATIENCE)
    assert end.post() == 204
    assert len(end.heard) == 2


def test_nothing_is_read_that_belongs_to_no_request(end: End) -> None:
    # Whatever has been said unasked is not the next one's answer.
    end.says([KEPT + LAST], [KEPT])
    with pytest.raises(OSError):
        end.post()
    assert end.post() == 204


@pytest.mark.parametrize(
    'answer',
    [
        b'',
        b'HTTP/1.1 204 No Content\r\n',
        b'\r\n\r\n',
        b'HTTP/1.1\r\n\r\n',
        b'HTTP/1.1 many\r\n\r\n',
        b'SSH-2.0-other 204\r\n\r\n',
        b'HTTP/1.1 204 ' + b'x' * 40000,
    ],
)
def test_what_is_no_answer_is_an_error(end: End, answer: bytes) -> None:
    end.says([answer])
    with pytest.raises(OSError):
        end.post()


def test_nobody_there_is_an_error(end: End) -> None:
    end.stop()
    with pytest.raises(OSError):
        end.post()
