# SPDX-License-Identifier: Apache-2.0
"""Requests over plain HTTP to the port of WebSockets, which may wait."""

from __future__ import annotations

import concurrent.futures
import contextlib
import signal
import socket
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests

from zaqar.tests.functional.websocket.conftest import MakeServer
from zaqar.tests.servers.zaqar import Zaqar

#: Seconds for what is to happen at once.
PATIENCE = 60


class Caller:
    """Requests of a project to both ports."""

    def __init__(self, server: Zaqar, project: str) -> None:
        self.server = server
        self.waiting_url = server.socket_url.replace('ws:', 'http:')
        self.url = f'http://127.0.0.1:{server.port}'
        self.headers = {
            'Client-ID': str(uuid.uuid4()),
            'X-Project-ID': project,
            'OpenStack-API-Version': 'messaging 2.1',
        }

    def call(
        self, method: str, path: str, **options: Any
    ) -> requests.Response:
        """Send a request to the port of WebSockets."""
        headers = self.headers | options.pop('headers', {})
        return requests.request(
            method,
            self.waiting_url + path,
            headers=headers,
            timeout=2 * PATIENCE,
            **options,
        )

    def post(self, *bodies: Any, queue: str = 'q') -> None:
        messages = [{'body': body, 'ttl': 300} for body in bodies]
        answer = requests.post(
            f'{self.url}/v2/queues/{queue}/messages',
            json={'messages': messages},
            headers=self.headers,
            timeout=PATIENCE,
        )
        assert answer.status_code == 201

    def claim(self, wait: int = 0) -> requests.Response:
        return self.call('POST', f'/v2/queues/q/claims?wait={wait}&limit=1')

    def raw_claim(self, wait: int) -> socket.socket:
        """Send a claim, and return its connection."""
        lines = [
            f'POST /v2/queues/q/claims?limit=1&wait={wait} HTTP/1.1',
            'Host: x',
        ]
        lines += [f'{name}: {value}' for name, value in self.headers.items()]
        lines += ['Content-Length: 0', '', '']
        url = self.waiting_url.removeprefix('http://').rstrip('/')
        host, _, port = url.partition(':')
        connection = socket.create_connection((host, int(port)), PATIENCE)
        connection.sendall('\r\n'.join(lines).encode())
        return connection


@pytest.fixture
def caller(server: Zaqar, project: str) -> Caller:
    return Caller(server, project)


@contextlib.contextmanager
def later(call: Callable[[], Any]) -> Iterator[Any]:
    """Run a call in a thread; end when it has a result."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        yield pool.submit(call)


@pytest.mark.parametrize(
    ('method', 'path', 'key'),
    [
        ('POST', '/v2/queues/q/claims?wait=20', 'messages'),
        ('GET', '/v2/queues/q/messages?wait=20&echo=true', 'messages'),
        ('DELETE', '/v2/queues/q/messages?pop=1&wait=20', 'messages'),
    ],
)
def test_a_request_waits_for_a_message(
    caller: Caller, method: str, path: str, key: str
) -> None:
    caller.post('first')
    assert caller.call('DELETE', '/v2/queues/q/messages?pop=1').ok
    with later(lambda: caller.call(method, path)) as answer:
        with pytest.raises(TimeoutError):
            answer.result(0.3)
        began = time.monotonic()
        caller.post('second')
        response = answer.result(PATIENCE)
        assert time.monotonic() - began < PATIENCE / 2
    bodies = [one['body'] for one in response.json()[key]]
    assert bodies == ['second']
    assert response.headers['OpenStack-API-Version'] == 'messaging 2.1'


def test_a_wait_that_is_over_has_the_answer_of_no_wait(
    caller: Caller,
) -> None:
    caller.post('x')
    caller.claim()
    now, waited = caller.claim(), caller.claim(1)
    assert now.status_code == waited.status_code == 204
    path = '/v2/queues/q/messages?wait=1'
    assert caller.call('GET', path).json()['messages'] == []


@pytest.mark.parametrize('wait', ['-1', '61', 'x', '1.5'])
def test_a_wait_out_of_bounds_is_refused(caller: Caller, wait: str) -> None:
    path = f'/v2/queues/q/claims?wait={wait}'
    assert caller.call('POST', path).status_code == 400
    # Version 2.0 knows no such parameter.
    old = {'OpenStack-API-Version': 'messaging 2.0'}
    assert caller.call('POST', path, headers=old).status_code == 204


def test_only_what_may_wait_is_answered_there(caller: Caller) -> None:
    body = {'messages': [{'body': 1, 'ttl': 300}]}
    path = '/v2/queues/q/messages'
    assert caller.call('POST', path, json=body).status_code == 405
    assert caller.call('GET', '/v2/queues').status_code == 404
    assert caller.call('PUT', '/v2/queues/q').status_code == 404
    assert caller.call('GET', '/').status_code == 426


def test_nothing_is_claimed_for_a_client_that_has_gone(
    caller: Caller,
) -> None:
    caller.post('x')
    caller.claim()
    for _ in range(5):
        caller.raw_claim(20).close()
    # In line behind those, which have come and gone when its time is over.
    assert caller.claim(1).status_code == 204
    with later(lambda: caller.claim(20)) as answer:
        caller.post('y')
        response = answer.result(PATIENCE)
    assert [one['body'] for one in response.json()['messages']] == ['y']


def test_many_wait_and_each_message_is_answered_once(caller: Caller) -> None:
    count = 100
    connections = [caller.raw_claim(60) for _ in range(count)]
    try:
        for number in range(count):
            caller.post(number)
        answers = [connection.recv(1 << 16) for connection in connections]
    finally:
        for connection in connections:
            connection.close()
    assert all(answer.startswith(b'HTTP/1.1 201') for answer in answers)
    assert caller.claim().status_code == 204


def test_requests_that_wait_are_answered_when_the_server_stops(
    make_server: MakeServer,
) -> None:
    server = make_server()
    caller = Caller(server, 'p')
    caller.post('x')
    caller.claim()
    with caller.raw_claim(60) as connection:
        # In line behind it.
        assert caller.claim(1).status_code == 204
        server.process.child.send_signal(signal.SIGTERM)
        assert connection.recv(64).startswith(b'HTTP/1.1 204 ')
    assert server.stop() == 0


def test_requests_one_after_another_over_a_connection(caller: Caller) -> None:
    caller.post(1, 2, 3)
    with requests.Session() as session:
        for _ in range(3):
            answer = session.post(
                f'{caller.waiting_url}/v2/queues/q/claims?limit=1',
                headers=caller.headers,
                timeout=PATIENCE,
            )
            assert answer.status_code == 201


def test_who_waits_holds_nobody_up(caller: Caller) -> None:
    connections = [caller.raw_claim(30) for _ in range(50)]
    try:
        results: list[int] = []

        def call() -> None:
            path = '/v2/queues/other/messages'
            results.append(caller.call('GET', path).status_code)

        threads = [threading.Thread(target=call) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert results == [200] * 8
    finally:
        for connection in connections:
            connection.close()


def test_an_unread_body_is_refused_in_the_version_of_the_request(
    caller: Caller,
) -> None:
    parts = (b' ' for _ in range(2000))
    answer = caller.call('POST', '/v2/queues/q/claims', data=parts)
    assert answer.status_code == 400
    assert 'small parts' in answer.json()['description']
    assert answer.headers['Connection'] == 'close'
    assert answer.headers['OpenStack-API-Version'] == 'messaging 2.1'
