# SPDX-License-Identifier: Apache-2.0
"""The application under other WSGI servers, and on real connections."""

from __future__ import annotations

import contextlib
import pathlib
import socket
import sys
from collections.abc import Iterator

import pytest
import requests

from zaqar.tests.functional.server.conftest import MakeServer
from zaqar.tests.functional.server.server_requests import (
    HEADERS,
    post,
)
from zaqar.tests.servers import process
from zaqar.tests.servers.zaqar import Zaqar

# Other WSGI servers.

_WSGI = """
import sys
from wsgiref.simple_server import make_server
from zaqar.transport.wsgi.app import application
make_server('127.0.0.1', int(sys.argv[1]), application).serve_forever()
"""


def _wsgi(server: Zaqar, **env: str) -> process.Process:
    return process.Process(
        [sys.executable, '-c', _WSGI, str(server.port)], server.log, env=env
    )


def test_any_wsgi_server_can_load_the_application(
    make_server: MakeServer,
) -> None:
    server = make_server()
    running = _wsgi(server, OS_ZAQAR_CONFIG_FILES=str(server.conf))
    try:
        running.wait_until(server.answers)
        assert post(server, 1).status_code == 201
        assert (server.folder / 'zaqar.sqlite').exists()
    finally:
        running.stop()


def test_a_wsgi_server_is_told_what_is_wrong(make_server: MakeServer) -> None:
    server = make_server(general='auth_strategy = x')
    running = _wsgi(server, OS_ZAQAR_CONFIG_FILES=str(server.conf))
    assert running.child.wait(60) == 1
    (line,) = server.log.read_text().strip().splitlines()
    assert line.startswith('zaqar-queues: [DEFAULT] auth_strategy = x')


# What only a real connection can show.


def _raw(server: Zaqar, request: bytes) -> bytes:
    with socket.create_connection(('127.0.0.1', server.port), 60) as peer:
        peer.sendall(request)
        answer = b''
        while part := peer.recv(65536):
            answer += part
    return answer


def test_chunked_bodies_percent_encoding_and_head_on_the_wire(
    make_server: MakeServer,
) -> None:
    server = make_server().start()
    head = (
        'Host: x\r\nConnection: close\r\n'
        f'Client-ID: {HEADERS["Client-ID"]}\r\nX-Project-ID: p\r\n'
    ).encode()
    chunked = _raw(
        server,
        b'POST /v2/queues/a%2Eb/messages HTTP/1.1\r\n'
        + head
        + b'Transfer-Encoding: chunked\r\n\r\n'
        b'10\r\n{"messages": [{"\r\n0d\r\nbody": "x"}]}\r\n0\r\n\r\n',
    )
    assert chunked.startswith(b'HTTP/1.1 201')
    listed = _raw(server, b'GET /v2/queues HTTP/1.1\r\n' + head + b'\r\n')
    assert b'"name":"a.b"' in listed
    ping = _raw(server, b'HEAD /v2/ping HTTP/1.1\r\n' + head + b'\r\n')
    assert ping.startswith(b'HTTP/1.1 204')
    assert ping.endswith(b'\r\n\r\n')
    slash = _raw(server, b'GET /v2/queues/a%2Fb HTTP/1.1\r\n' + head + b'\r\n')
    assert slash.startswith(b'HTTP/1.1 404')


def test_variables_of_the_process_are_no_headers(
    make_server: MakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('HTTP_X_PROJECT_ID', 'forged')
    server = make_server().start()
    only = {'Client-ID': HEADERS['Client-ID']}
    answer = requests.get(f'{server.url}/v2/queues', headers=only, timeout=60)
    assert answer.status_code == 400
    assert answer.json()['title'] == 'Project-Id Missing'


@contextlib.contextmanager
def _uwsgi(server: Zaqar, option: str = 'http-socket') -> Iterator[None]:
    """Run our sample of uWSGI's configuration.

    :param option: how it listens
    """
    program = pathlib.Path(sys.executable).parent / 'uwsgi'
    if not program.exists():
        process.missing('uWSGI is not installed')
    sample = pathlib.Path(__file__).parents[4] / 'etc/zaqar/uwsgi.ini'
    text = sample.read_text()
    line = '\nhttp-socket = 127.0.0.1:8888\n'
    assert line in text
    text = text.replace(line, f'\n{option} = 127.0.0.1:{server.port}\n')
    text = text.replace('processes = 4', 'processes = 1')
    path = server.folder / 'uwsgi.ini'
    path.write_text(text)
    running = process.Process(
        [str(program), '--ini', str(path)],
        server.log,
        env={'OS_ZAQAR_CONFIG_FILES': str(server.conf)},
    )
    try:
        running.wait_until(server.answers)
        yield
    finally:
        running.stop()


def _put_in_chunks(server: Zaqar, *chunks: bytes) -> requests.Response:
    return requests.put(
        f'{server.url}/v2/queues/chunked',
        data=iter(chunks),
        headers=HEADERS,
        timeout=60,
    )


@pytest.mark.parametrize(
    'option',
    ['http-socket', 'http-chunked-input = true\nhttp'],
    ids=['socket', 'router'],
)
def test_a_chunked_body_arrives_under_uwsgi(
    make_server: MakeServer, option: str
) -> None:
    server = make_server()
    url = f'{server.url}/v2/queues/chunked'
    with _uwsgi(server, option):
        assert _put_in_chunks(server, b'{"colour"', b': 1}').status_code == 201
        shown = requests.get(url, headers=HEADERS, timeout=60).json()
        assert shown['colour'] == 1
        # Without a length too, what is too long is noticed.
        long = _put_in_chunks(server, b'{"a": "', *[b'x' * 20_000] * 5, b'"}')
        assert long.status_code == 400
        empty = _put_in_chunks(server)
        assert empty.status_code == 204


def test_a_chunked_body_is_refused_where_it_would_be_lost(
    make_server: MakeServer,
) -> None:
    server = make_server()
    running = _wsgi(server, OS_ZAQAR_CONFIG_FILES=str(server.conf))
    try:
        running.wait_until(server.answers)
        assert _put_in_chunks(server, b'{}').status_code == 411
    finally:
        running.stop()
    with _uwsgi(server, 'http'):
        assert _put_in_chunks(server, b'{}').status_code == 411


def test_a_chunked_body_arrives(make_server: MakeServer) -> None:
    server = make_server().start()
    assert _put_in_chunks(server, b'{"colour"', b': 1}').status_code == 201
    shown = requests.get(
        f'{server.url}/v2/queues/chunked', headers=HEADERS, timeout=60
    ).json()
    assert shown['colour'] == 1
