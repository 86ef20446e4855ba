# SPDX-License-Identifier: Apache-2.0
"""Clients that send slowly delay nobody but themselves."""

from __future__ import annotations

import contextlib
import pathlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import requests

from zaqar.tests.servers.zaqar import Zaqar

HEADERS = {
    'Client-ID': 'a1b2c3d4-0000-4000-8000-000000000001',
    'X-Project-ID': 'slow',
}

#: What a request begins with whose body never comes.
BEGUN = (
    b'POST /confirm HTTP/1.1\r\nHost: x\r\nContent-Length: 300\r\n\r\nabc',
    b'POST /v2/queues/q/messages HTTP/1.1\r\nHost: x\r\n'
    b'Client-ID: a1b2c3d4-0000-4000-8000-000000000001\r\n'
    b'X-Project-ID: slow\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n',
    b'POST /v2/queues/q/messages HT',
)


#: Lines of the server's configuration: how long it waits for clients.
IMPATIENT = 'header_timeout = 2\nbody_timeout = 2\n'
UNREAD = 'write_timeout = 1\n'


@pytest.fixture
def server(
    request: pytest.FixtureRequest, tmp_path: pathlib.Path
) -> Iterator[Zaqar]:
    """A server, as patient as usual unless a test says otherwise."""
    lines = getattr(request, 'param', '')
    rest = f'[drivers:transport:wsgi]\n{lines}'
    zaqar = Zaqar(tmp_path, rest=rest).start()
    try:
        yield zaqar
    finally:
        zaqar.stop()


@contextlib.contextmanager
def begun(server: Zaqar, count: int) -> Iterator[list[socket.socket]]:
    with contextlib.ExitStack() as stack:
        connections = []
        for number in range(count):
            connection = stack.enter_context(
                socket.create_connection(('127.0.0.1', server.port), 60)
            )
            connection.sendall(BEGUN[number % len(BEGUN)])
            connections.append(connection)
        yield connections


def post(server: Zaqar, text: str = 'x') -> float:
    """Post a message; return the seconds that it took."""
    before = time.monotonic()
    answer = requests.post(
        f'{server.url}/v2/queues/q/messages',
        json={'messages': [{'body': text, 'ttl': 60}]},
        headers=HEADERS,
        timeout=60,
    )
    assert answer.status_code == 201
    return time.monotonic() - before


@pytest.mark.proves('slow bodies')
def test_a_thousand_slow_bodies_delay_no_post(tmp_path: pathlib.Path) -> None:
    server = Zaqar(tmp_path).start()
    try:
        post(server)
        with begun(server, 900) as slow:
            # They would hold all four threads for at least five seconds.
            assert sorted(post(server) for _ in range(20))[10] < 1
            assert all(each.fileno() >= 0 for each in slow)
    finally:
        server.stop()


@pytest.mark.parametrize('server', [UNREAD], indirect=True)
def test_a_client_that_does_not_read_loses_its_connection(
    server: Zaqar,
) -> None:
    for _ in range(20):
        post(server, 'x' * 200_000)
    ask = (
        'GET /v2/queues/q/messages?limit=20&echo=true HTTP/1.1\r\nHost: x\r\n'
        + ''.join(f'{name}: {value}\r\n' for name, value in HEADERS.items())
    )
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(('127.0.0.1', server.port))
        client.sendall(f'{ask}\r\n'.encode())
        port = client.getsockname()[1]
        # The kernel counts the seconds, and nobody can move its clock.
        end = time.monotonic() + 60
        while is_open(server.port, port):
            assert time.monotonic() < end
            time.sleep(0.1)


def is_open(local: int, remote: int) -> bool:
    """Tell whether the system holds a connection between two ports."""
    for line in pathlib.Path('/proc/net/tcp').read_text().splitlines()[1:]:
        ends = [int(end.rpartition(':')[2], 16) for end in line.split()[1:3]]
        if ends == [local, remote]:
            return True
    return False


@pytest.mark.proves('slow bodies')
@pytest.mark.parametrize('server', [IMPATIENT], indirect=True)
def test_a_slow_client_is_answered_in_the_end(server: Zaqar) -> None:
    with begun(server, 3) as (form, chunked, header):
        for each in (form, chunked):
            answer = each.recv(4096)
            assert answer.startswith(b'HTTP/1.1 408 '), answer
            assert b'connection: close' in answer.lower()
            assert b'Request body came too slowly.' in answer
            assert each.recv(4096) == b''
        with contextlib.suppress(ConnectionResetError):
            assert b' 200 ' not in header.recv(4096)


def test_a_body_that_pauses_is_read(server: Zaqar) -> None:
    body = b'{"messages": [{"body": "x", "ttl": 60}]}'
    with socket.create_connection(('127.0.0.1', server.port), 60) as slow:
        head = (
            'POST /v2/queues/q/messages HTTP/1.1\r\nHost: x\r\n'
            f'Content-Length: {len(body)}\r\n'
        )
        for name, value in HEADERS.items():
            head += f'{name}: {value}\r\n'
        slow.sendall(head.encode() + b'\r\n' + body[:10])
        # By then the first part has been read.
        post(server)
        slow.sendall(body[10:])
        assert slow.recv(4096).startswith(b'HTTP/1.1 201 ')


@pytest.mark.proves('header names')
def test_a_header_with_an_underscore_passes_for_no_other(
    server: Zaqar,
) -> None:
    answer = requests.get(
        f'{server.url}/v2/queues',
        headers={'Client-ID': HEADERS['Client-ID'], 'X_Project_ID': 'other'},
        timeout=60,
    )
    assert answer.status_code == 400
    assert 'X-PROJECT-ID' in answer.json()['description']


def test_many_at_once_are_counted_alike(server: Zaqar) -> None:
    """Threads of the server share what they know of bodies."""
    times: list[float] = []

    def run() -> None:
        for _ in range(20):
            times.append(post(server))

    threads = [threading.Thread(target=run) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert len(times) == 160


def test_a_project_may_have_any_text_for_its_name(server: Zaqar) -> None:
    for project in ('プロジェクト', 'Größe', 'x' * 256):
        headers = {**HEADERS, 'X-Project-ID': project.encode()}
        url = f'{server.url}/v2/queues'
        answer = requests.put(f'{url}/q', headers=headers, timeout=60)
        assert answer.status_code == 201
        shown = requests.get(url, headers=headers, timeout=60).json()
        assert [queue['name'] for queue in shown['queues']] == ['q']
