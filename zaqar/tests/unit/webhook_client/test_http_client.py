# SPDX-License-Identifier: Apache-2.0
"""Requests to receivers, and whatever may come back.

The other end is one that says what a real one does not.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ipaddress
import pathlib
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest
import uvloop

from zaqar.tests.servers.receivers import certificate
from zaqar.webhook_client import http_client
from zaqar.webhook_client.http_client import NoResponse, WebhookClient
from zaqar.webhook_client.http_connection import (
    MAX_HEAD,
    MAX_INTERIM,
    HttpResponse,
)
from zaqar.webhook_client.receiver_address_guard import Guard

PATIENCE = 60.0

OK = b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok'
FAULT = b'HTTP/1.1 500 Fault\r\nContent-Length: 0\r\n\r\n'
NOTHING = b'HTTP/1.1 204 No Content\r\n\r\n'
CHUNKED = (
    b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'
    b'2\r\nok\r\n0\r\n\r\n'
)
INTERIM = (
    b'HTTP/1.1 100 Continue\r\n\r\n',
    b'HTTP/1.1 102 Processing\r\n\r\n',
    b'HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n',
    b'HTTP/1.1 199 Whatever\r\nContent-Length: 0\r\n\r\n',
)


class End:
    """Says what it is given, for each connection a list of answers.

    :param tls: speaks TLS by it
    """

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[int] = []
        self._tls = tls
        self._server = socket.create_server(('127.0.0.1', 0))
        self._port = self._server.getsockname()[1]
        self._thread: threading.Thread | None = None
        self.url = f'{"https" if tls else "http"}://localhost:{self._port}/'

    def says(self, *connections: Sequence[bytes]) -> None:
        """HttpResponse from now on."""
        self._thread = threading.Thread(target=self._live, args=[connections])
        self._thread.start()

    def stop(self) -> None:
        """End."""
        if self._thread is not None:
            self._thread.join(PATIENCE)
        self._server.close()

    def _live(self, connections: Sequence[Sequence[bytes]]) -> None:
        for answers in connections:
            taken, _ = self._server.accept()
            taken.settimeout(PATIENCE)
            if self._tls is not None:
                try:
                    taken = self._tls.wrap_socket(taken, server_side=True)
                except ssl.SSLError:
                    continue
            self.requests.append(0)
            with taken:
                for answer in answers:
                    _read_request(taken)
                    self.requests[-1] += 1
                    taken.sendall(answer)


def _read_request(taken: socket.socket) -> None:
    text = b''
    while not text.endswith(b'\r\n\r\nbody'):
        more = taken.recv(65536)
        assert more, 'no more requests'
        text += more


Statuses = Callable[[int], list[int]]


@pytest.fixture(params=['http', 'https'])
def end(
    request: pytest.FixtureRequest, tmp_path: pathlib.Path
) -> Iterator[End]:
    tls = certificate(tmp_path, 'localhost')
    server = End(tls if request.param == 'https' else None)
    yield server
    server.stop()


class Caller:
    """Makes requests, each on the same event loop."""

    def __init__(
        self,
        *,
        connect: float = PATIENCE,
        total: float = PATIENCE,
        ca_certs: str | None = None,
    ) -> None:
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._client = WebhookClient(
            Guard([ipaddress.ip_network('127.0.0.0/8')]),
            connect=connect,
            total=total,
            ca_certs=ca_certs,
        )

    def post(self, url: str) -> HttpResponse:
        return self._runner.run(self._client.post(url, {}, b'body'))

    def rest_until(self, true: Callable[[], bool]) -> None:
        async def rest() -> None:
            async with asyncio.timeout(PATIENCE):
                while not true():
                    await asyncio.sleep(0.01)

        self._runner.run(rest())

    def close(self) -> None:
        self._client.close()
        self._runner.close()


@pytest.fixture
def statuses(end: End, tmp_path: pathlib.Path) -> Iterator[Statuses]:
    """Makes requests, one after the other; returns their statuses."""
    caller = Caller(ca_certs=str(tmp_path / 'ca.pem'))

    def ask(count: int) -> list[int]:
        return [caller.post(end.url).status for _ in range(count)]

    yield ask
    caller.close()


@pytest.mark.parametrize('answer', [OK, NOTHING, CHUNKED])
def test_a_connection_is_kept(
    end: End, statuses: Statuses, answer: bytes
) -> None:
    end.says([answer, FAULT, answer])
    status = int(answer.split()[1])
    assert statuses(3) == [status, 500, status]
    assert end.requests == [3]


def test_a_connection_is_not_kept_for_ever(
    end: End, statuses: Statuses, monkeypatch: pytest.MonkeyPatch
) -> None:
    end.says([OK, OK], [OK])
    assert statuses(1) == [200]
    monkeypatch.setattr(http_client, 'MAX_AGE', 0)
    # It is used once more, and then it is too old.
    assert statuses(1) == [200]
    assert statuses(1) == [200]
    assert end.requests == [2, 1]


@pytest.mark.parametrize('end', ['http'], indirect=True)
def test_an_idle_connection_is_closed(
    end: End, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_client, 'MAX_IDLE', 0.01)
    closed = threading.Event()
    end.says([OK])
    caller = Caller()
    caller.post(end.url)
    close = http_client.Connection.close

    def note(connection: http_client.Connection) -> None:
        close(connection)
        closed.set()

    monkeypatch.setattr(http_client.Connection, 'close', note)
    caller.rest_until(closed.is_set)
    caller.close()


@pytest.mark.parametrize('interim', INTERIM)
def test_interim_answers_are_read_past(
    end: End, statuses: Statuses, interim: bytes
) -> None:
    end.says([interim + FAULT, interim * 3 + OK, FAULT, OK])
    assert statuses(4) == [500, 200, 500, 200]
    assert end.requests == [4]


def test_no_more_interim_answers_are_read_than_enough(
    end: End, statuses: Statuses
) -> None:
    hint = INTERIM[2]
    end.says([hint * MAX_INTERIM + OK, hint * (MAX_INTERIM + 1) + OK], [OK])
    assert statuses(1) == [200]
    with pytest.raises(NoResponse) as failure:
        statuses(1)
    assert 'interim' in failure.value.detail
    assert statuses(1) == [200]


@pytest.mark.parametrize(
    'line', ['Content-Length: 5', 'Transfer-Encoding: chunked']
)
def test_no_interim_answer_has_a_body(
    end: End, statuses: Statuses, line: str
) -> None:
    hint = f'HTTP/1.1 103 Early Hints\r\n{line}\r\n\r\n'.encode()
    end.says([hint + OK], [OK])
    with pytest.raises(NoResponse) as failure:
        statuses(1)
    assert 'interim' in failure.value.detail
    assert statuses(1) == [200]


def test_interim_answers_do_not_move_the_deadline(
    tmp_path: pathlib.Path,
) -> None:
    with socket.create_server(('127.0.0.1', 0)) as server:
        over = threading.Event()

        def hint() -> None:
            taken, _ = server.accept()
            with taken:
                while not over.wait(0.2):
                    taken.sendall(b'HTTP/1.1 102 Processing\r\nX: y\r\n\r\n')

        thread = threading.Thread(target=hint)
        thread.start()
        caller = Caller(connect=5, total=0.7)
        began = time.monotonic()
        url = f'http://127.0.0.1:{server.getsockname()[1]}/'
        with pytest.raises(NoResponse) as failure:
            caller.post(url)
        assert failure.value.detail == 'within 0.7 s'
        assert time.monotonic() - began < 10
        over.set()
        thread.join(PATIENCE)
        caller.close()


@pytest.mark.parametrize(
    'answer',
    [
        OK + FAULT,
        OK + b'!',
        NOTHING + FAULT,
        CHUNKED + FAULT,
        # Of two lengths, which one is it?
        b'HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok',
        b'HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok',
        CHUNKED.replace(b'\r\n\r\n2', b'\r\nContent-Length: 2\r\n\r\n2'),
    ],
)
def test_nothing_is_asked_after_an_odd_answer(
    end: End, statuses: Statuses, answer: bytes
) -> None:
    end.says([answer], [FAULT, OK])
    assert statuses(3) == [int(answer.split()[1]), 500, 200]
    assert end.requests == [1, 2]


def test_a_protocol_that_nobody_asked_for_is_a_failure(
    end: End, statuses: Statuses
) -> None:
    end.says([b'HTTP/1.1 101 Switching Protocols\r\n\r\n' + OK], [OK])
    with pytest.raises(NoResponse) as failure:
        statuses(1)
    assert 'switched' in failure.value.detail
    assert statuses(1) == [200]


@pytest.mark.proves('no network probing')
@pytest.mark.parametrize('answer', [b'', b'SSH-2.0-other\r\n', b'\r\n\r\n'])
def test_users_cannot_tell_what_is_open_from_what_is_closed(
    end: End, statuses: Statuses, answer: bytes
) -> None:
    end.says([answer])
    with pytest.raises(NoResponse) as speaks:
        statuses(1)
    end.stop()
    with pytest.raises(NoResponse) as closed:
        statuses(1)
    assert str(speaks.value) == str(closed.value) == 'there was no answer'
    # Operators can.
    assert 'refused' in closed.value.detail
    assert speaks.value.detail != closed.value.detail
    assert speaks.value.detail
    assert 'SSH' not in speaks.value.detail


@pytest.mark.parametrize('end', ['https'], indirect=True)
def test_only_a_public_receiver_is_shown_what_its_certificate_lacks(
    end: End, monkeypatch: pytest.MonkeyPatch
) -> None:
    reasons = []
    for public in (True, False):
        monkeypatch.setattr(
            http_client, 'is_public', lambda _address, p=public: p
        )
        end.says([])
        caller = Caller(connect=5, total=5)
        with pytest.raises(NoResponse) as failure:
            caller.post(end.url)
        reasons.append(str(failure.value))
        caller.close()
    assert reasons[0].startswith('its certificate is not valid: ')
    assert reasons[1] == 'there was no answer'


def test_no_more_of_a_head_is_read_than_enough(
    end: End, statuses: Statuses
) -> None:
    line = b'X-Filler: ' + b'x' * 1000 + b'\r\n'
    many = line * (2 * MAX_HEAD // len(line))
    end.says([b'HTTP/1.1 103 Early Hints\r\n' + many + b'\r\n'], [OK])
    with pytest.raises(NoResponse) as failure:
        statuses(1)
    assert failure.value.detail.endswith('too long')
    assert statuses(1) == [200]


class Proxy:
    """Says what it was asked for, and leads to another server if it likes.

    :param target: where it leads to, None to refuse
    """

    def __init__(self, target: tuple[str, int] | None) -> None:
        self.head = b''
        self._target = target
        self._server = socket.create_server(('127.0.0.1', 0))
        self.port = self._server.getsockname()[1]
        self._thread = threading.Thread(target=self._live)
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._thread.join(PATIENCE)
        self._server.close()

    def _live(self) -> None:
        taken, _ = self._server.accept()
        with taken:
            taken.settimeout(PATIENCE)
            while not self.head.endswith(b'\r\n\r\n'):
                self.head += taken.recv(65536)
            if self._target is None:
                taken.sendall(b'HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n')
                return
            with socket.create_connection(self._target) as inner:
                taken.sendall(b'HTTP/1.1 200 Connected\r\n\r\n')
                there = threading.Thread(target=_copy, args=(taken, inner))
                there.start()
                _copy(inner, taken)
                there.join(PATIENCE)


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize('end', ['https'], indirect=True)
def test_a_proxy_leads_to_a_receiver_that_speaks_tls(
    end: End, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = int(end.url.rstrip('/').rpartition(':')[2])
    proxy = Proxy(('127.0.0.1', port))
    monkeypatch.setenv(
        'https_proxy', f'http://user:pass%20word@127.0.0.1:{proxy.port}'
    )
    monkeypatch.setenv('no_proxy', '')
    end.says([OK, FAULT])
    caller = Caller(ca_certs=str(tmp_path / 'ca.pem'))
    # The second one by the same tunnel.
    assert [caller.post(end.url).status for _ in range(2)] == [200, 500]
    caller.close()
    proxy.stop()
    lines = proxy.head.decode().split('\r\n')
    assert lines[0] == f'CONNECT localhost:{port} HTTP/1.1'
    login = base64.b64encode(b'user:pass word').decode()
    assert f'Proxy-Authorization: Basic {login}' in lines


def test_what_a_proxy_refuses_is_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proxy = Proxy(None)
    monkeypatch.setenv('https_proxy', f'http://127.0.0.1:{proxy.port}')
    monkeypatch.setenv('no_proxy', '')
    caller = Caller()
    with pytest.raises(NoResponse) as failure:
        caller.post('https://hooks.example/')
    assert failure.value.detail.endswith('the proxy answered 403')
    caller.close()
    proxy.stop()
