# SPDX-License-Identifier: Apache-2.0
"""Connections: how they begin, what they hold, how they end."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator

import pytest
import requests
import websocket

from zaqar.tests.contract.crowd import ends_within
from zaqar.tests.functional.websocket.client import Closed, Talk
from zaqar.tests.functional.websocket.conftest import Connect, MakeServer
from zaqar.tests.servers.zaqar import Zaqar

#: Bytes that no buffer of the system holds.
MUCH = 256 * 1024 * 1024

KEY = 'dGhlIHNhbXBsZSBub25jZQ=='


def _handshake(server: Zaqar, *, line: str = '', **changes: str | None) -> str:
    """Return the status line that a handshake gets, with its headers."""
    headers = {
        'Host': f'127.0.0.1:{server.socket_port}',
        'Upgrade': 'websocket',
        'Connection': 'Upgrade',
        'Sec-WebSocket-Version': '13',
        'Sec-WebSocket-Key': KEY,
        **{name.replace('_', '-'): value for name, value in changes.items()},
    }
    lines = [line or 'GET / HTTP/1.1']
    lines += [f'{name}: {text}' for name, text in headers.items() if text]
    with socket.create_connection(('127.0.0.1', server.socket_port), 30) as s:
        s.sendall('\r\n'.join([*lines, '', '']).encode())
        return s.recv(4096).decode()


def _until(condition: Callable[[], bool], patience: float = 60.0) -> bool:
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize('version', ['13', '8'])
def test_two_versions_are_spoken(server: Zaqar, version: str) -> None:
    said = _handshake(server, Sec_WebSocket_Version=version)
    assert said.startswith('HTTP/1.1 101 ')


@pytest.mark.parametrize('version', ['7', '0', '14', '99'])
def test_others_are_refused(server: Zaqar, version: str) -> None:
    said = _handshake(server, Sec_WebSocket_Version=version)
    assert said.startswith('HTTP/1.1 400 ')
    assert 'Sec-WebSocket-Version: 13,8\r\n' in said


FAULTS: list[tuple[dict[str, str | None], int]] = [
    ({'Sec_WebSocket_Key': None}, 400),
    ({'Sec_WebSocket_Key': 'x'}, 400),
    ({'Sec_WebSocket_Version': None}, 400),
    ({'Host': None}, 400),
    ({'Connection': None}, 400),
    ({'Upgrade': None}, 426),
    ({'Upgrade': 'h2c'}, 400),
    ({'Upgrade': None, 'Connection': None}, 426),
    ({'line': 'POST / HTTP/1.1'}, 405),
    ({'line': 'HEAD / HTTP/1.1'}, 405),
    ({'line': 'GET /?redirect=http://x HTTP/1.1', 'Upgrade': None}, 426),
    ({'line': 'nonsense'}, 400),
]


@pytest.mark.parametrize(('changes', 'status'), FAULTS)
def test_a_faulty_handshake_gets_its_status(
    server: Zaqar, changes: dict[str, str | None], status: int
) -> None:
    line = changes.pop('line', None) or ''
    said = _handshake(server, line=line, **changes)
    assert said.startswith(f'HTTP/1.1 {status} '), said
    assert 'Connection: close\r\n' in said


def test_path_and_query_mean_nothing(connect: Connect, server: Zaqar) -> None:
    talk = connect(url=f'{server.socket_url}/some/where?a=b')
    assert talk.ask('queue_list').status == 200


def test_our_subprotocol_is_taken_if_offered(server: Zaqar) -> None:
    said = _handshake(server, Sec_WebSocket_Protocol='x, zaqar-v2')
    assert 'Sec-WebSocket-Protocol: zaqar-v2\r\n' in said
    said = _handshake(server, Sec_WebSocket_Protocol='x')
    assert said.startswith('HTTP/1.1 101 ')
    assert 'Sec-WebSocket-Protocol' not in said


def test_extensions_are_not_taken(server: Zaqar) -> None:
    said = _handshake(server, Sec_WebSocket_Extensions='permessage-deflate')
    assert said.startswith('HTTP/1.1 101 ')
    assert 'Extensions' not in said


def test_pages_connect_from_our_host_and_where_it_is_allowed(
    server: Zaqar, make_server: MakeServer
) -> None:
    # Whoever connects is believed here: not each page of the world.
    for origin in ('http://example.com', 'null', 'http://127.0.0.1.x'):
        said = _handshake(server, Origin=origin)
        assert said.startswith('HTTP/1.1 403 ')
        said = _handshake(server, Sec_WebSocket_Origin=origin)
        assert said.startswith('HTTP/1.1 403 ')
    assert ' 101 ' in _handshake(server, Origin='http://127.0.0.1:3000')
    assert ' 101 ' in _handshake(server)
    strict = make_server(
        general='[cors]\nallowed_origin = http://good.example\n[DEFAULT]\n',
        socket='external_port = 443\n',
    )
    host = {'Host': 'x:443'}
    good = _handshake(strict, Origin='http://good.example', **host)
    assert ' 101 ' in good
    bad = _handshake(strict, Origin='http://bad.example', **host)
    assert bad.startswith('HTTP/1.1 403 ')
    assert ' 101 ' in _handshake(strict, **host)
    # The port that clients see.
    assert _handshake(strict).startswith('HTTP/1.1 400 ')
    assert _handshake(strict, Host='x').startswith('HTTP/1.1 400 ')


def test_there_are_so_many_connections_and_no_more(
    make_server: MakeServer, connect: Connect
) -> None:
    server = make_server(socket='max_connections = 3\n')
    talks = [connect(url=server.socket_url) for _ in range(3)]
    assert _handshake(server).startswith('HTTP/1.1 503 ')
    assert talks[0].ask('queue_list').status == 200
    talks[0].close()
    assert _until(lambda: ' 101 ' in _handshake(server))


def test_who_does_not_answer_pings_is_dropped(
    make_server: MakeServer, connect: Connect
) -> None:
    server = make_server(socket='ping_interval = 1\nping_timeout = 5\n')
    lively, silent = (connect(url=server.socket_url) for _ in range(2))
    connection = silent.socket.sock
    data = b''
    ended = False
    until = time.monotonic() + 60
    while not ended and time.monotonic() < until:
        # The one answers what it reads; of the other only bytes are read.
        assert lively.ask('ping_node').status == 204
        connection.settimeout(0.1)
        with contextlib.suppress(TimeoutError):
            try:
                part = connection.recv(100)
            except ConnectionResetError:
                part = b''
            ended, data = not part, data + part
    assert ended
    assert data.startswith(b'\x89')
    assert lively.ask('ping_node').status == 204


def test_thousands_of_requests_at_once_are_answered_in_order(
    talk: Talk,
) -> None:
    count = 3000
    sent = threading.Thread(
        target=lambda: [
            talk.send('queue_get', {'queue_name': 'q'}, {'n': str(number)})
            for number in range(count)
        ],
        daemon=True,
    )
    sent.start()
    for number in range(count):
        said = talk.said()
        assert said.status == 200
        assert said.request['headers']['n'] == str(number)
    sent.join()


def test_who_reads_nothing_is_read_no_more_and_holds_up_nobody(
    connect: Connect, server: Zaqar
) -> None:
    deaf, other = connect(), connect()
    deaf.post('q', *(['x' * 10_000] * 20))
    document = json.dumps(
        {
            'action': 'message_list',
            'headers': deaf.headers,
            'body': {'queue_name': 'q', 'limit': 20, 'echo': True},
        }
    ).encode()
    frame = websocket.ABNF.create_frame(document, websocket.ABNF.OPCODE_TEXT)
    block = frame.format() * 5000
    deaf.socket.settimeout(2)
    sent = 0
    with contextlib.suppress(TimeoutError):
        while sent < MUCH:
            sent += deaf.socket.sock.send(block)
    # What fits into the buffers of the system, and little more.
    assert sent < MUCH
    assert other.ask('queue_list').status == 200


def test_who_reads_nothing_for_long_is_left(
    make_server: MakeServer, connect: Connect
) -> None:
    server = make_server(socket='write_timeout = 1\nping_interval = 0\n')
    deaf, other = (connect(url=server.socket_url) for _ in range(2))
    deaf.post('q', *(['x' * 10_000] * 20))
    body = {'queue_name': 'q', 'limit': 20, 'echo': True}
    # More than the buffers of the system hold.
    for _ in range(100):
        deaf.send('message_list', body)
    other.ask('subscription_create', queue_name='r')
    assert _until(lambda: 'takes nothing' in server.log.read_text())
    with pytest.raises((Closed, ConnectionError)):
        while True:
            deaf.receive()
    other.post('r', 'still here')
    assert other.pushed()['body'] == 'still here'


@contextlib.contextmanager
def _locked(server: Zaqar) -> Iterator[None]:
    """Let all writes to the database wait; they give up after 5 seconds."""
    path = server.folder / 'zaqar.sqlite'
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.isolation_level = None
        database.execute('BEGIN IMMEDIATE')
        yield


def test_a_store_that_stalls_one_client_does_not_stall_another(
    connect: Connect, server: Zaqar
) -> None:
    stalled = [connect() for _ in range(4)]
    other = connect()
    message_id = other.post('q', 1)[0]
    with _locked(server):
        for talk in stalled:
            talk.send('message_post', queue_name='q', messages=[{'body': 2}])
        # Before the first of those gives up.
        with ends_within(3):
            for _ in range(20):
                said = other.ask(
                    'message_get', queue_name='q', message_id=message_id
                )
                assert said.status == 200
    for talk in stalled:
        assert talk.said().status in (201, 503)


# The end.


def _alone(make_server: MakeServer) -> Zaqar:
    return make_server(rest='[drivers]\ntransport = websocket\n')


def test_it_runs_alone(
    make_server: MakeServer,
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Zaqar, 'answers', _accepts)
    server = _alone(make_server)
    talk = connect(url=server.socket_url)
    talk.post('q', 1)
    assert talk.bodies('q') == [1]
    with pytest.raises(requests.ConnectionError):
        requests.get(server.url, timeout=5)


def _accepts(server: Zaqar) -> bool:
    with contextlib.suppress(OSError, websocket.WebSocketException):
        websocket.create_connection(server.socket_url, timeout=2).close()
        return True
    return False


def test_at_the_end_connections_are_closed_in_good_order(
    make_server: MakeServer, connect: Connect
) -> None:
    server = make_server()
    idle, busy = (connect(url=server.socket_url) for _ in range(2))
    busy.post('q', 0)
    with _locked(server):
        busy.send('message_post', queue_name='q', messages=[{'body': 1}])
        # Worked on by now, since the one after it is answered.
        for _ in range(3):
            assert idle.ask('queue_get', queue_name='q').status == 200
        server.process.child.send_signal(signal.SIGTERM)
        with pytest.raises(Closed) as closed:
            idle.receive()
        assert closed.value.code == 1012
    assert busy.said().status in (201, 503)
    with pytest.raises(Closed) as closed:
        busy.receive()
    assert closed.value.code == 1012
    assert server.stop() == 0


def test_a_server_that_dies_comes_back(
    make_server: MakeServer, connect: Connect
) -> None:
    server = make_server()
    talk = connect(url=server.socket_url)
    pids = re.findall(
        r'Started WebSocket server as process (\d+)', server.log.read_text()
    )
    os.kill(int(pids[-1]), signal.SIGKILL)
    with pytest.raises((Closed, ConnectionError)):
        talk.ask('queue_list')
    assert _until(lambda: _accepts(server))
