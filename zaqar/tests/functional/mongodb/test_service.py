# SPDX-License-Identifier: Apache-2.0
"""``zaqar-server`` on MongoDB: it serves, waits, and says what is wrong."""

from __future__ import annotations

import contextlib
import pathlib
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import bson
import pytest
import requests

from zaqar.tests.contract.crowd import ends_within
from zaqar.tests.servers.mongodb import MongoDB
from zaqar.tests.servers.zaqar import Zaqar

Start = Callable[..., MongoDB]
MakeServer = Callable[..., Zaqar]

HEADERS = {
    'Client-ID': '3381af92-2b9e-11e3-b191-71861300734c',
    'X-Project-ID': 'demo',
    'X-Roles': 'admin',
}

STORES = """
[drivers]
transport = wsgi
message_store = mongodb
management_store = mongodb
[drivers:message_store:mongodb]
uri = {uri}
[drivers:management_store:mongodb]
uri = {uri}
"""

#: Seconds for a service to find its store again.
PATIENCE = 60.0

#: Numbers of the wire protocol: an old question and its answer, a message.
_REPLY, _QUERY, _MESSAGE = 1, 2004, 2013


class OldServer:
    """A server that answers everything by saying how old it is.

    No old server is at hand. It calls itself a set of three.
    """

    def __init__(self, wire: int) -> None:
        self._listener = socket.create_server(('127.0.0.1', 0))
        port = self._listener.getsockname()[1]
        self.uri = f'mongodb://127.0.0.1:{port}/?directConnection=true'
        self._hello = bson.encode(
            {
                'ok': 1,
                'helloOk': True,
                'isWritablePrimary': True,
                'ismaster': True,
                'setName': 'old',
                'hosts': ['a:1', 'b:1', 'c:1'],
                'minWireVersion': 0,
                'maxWireVersion': wire,
            }
        )
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        """Take no more questions."""
        self._listener.close()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                there = self._listener.accept()[0]
                threading.Thread(
                    target=self._talk, args=(there,), daemon=True
                ).start()

    def _talk(self, there: socket.socket) -> None:
        with there, contextlib.suppress(OSError):
            while head := there.recv(16, socket.MSG_WAITALL):
                size, name, _, kind = (
                    int.from_bytes(head[place : place + 4], 'little')
                    for place in range(0, 16, 4)
                )
                there.recv(size - 16, socket.MSG_WAITALL)
                there.sendall(self._answer(name, kind))

    def _answer(self, name: int, kind: int) -> bytes:
        if kind == _QUERY:
            # Flags, cursor, first place, number of documents.
            kind, body = _REPLY, bytes(16) + (1).to_bytes(4, 'little')
        else:
            kind, body = _MESSAGE, bytes(5)
        body += self._hello
        numbers = (16 + len(body), 0, name, kind)
        return b''.join(n.to_bytes(4, 'little') for n in numbers) + body


@pytest.fixture
def make_server(tmp_path: pathlib.Path) -> Iterator[MakeServer]:
    """Prepare services; those that were started end with the test."""
    servers: list[Zaqar] = []

    def make(uri: str, general: str = '', rest: str = STORES) -> Zaqar:
        folder = tmp_path / str(len(servers))
        folder.mkdir()
        text = rest.format(uri=uri)
        servers.append(Zaqar(folder, general=general, rest=text))
        return servers[-1]

    yield make
    for server in servers:
        if hasattr(server, 'process'):
            server.stop(signal.SIGKILL)


@pytest.fixture(scope='module')
def wrong(server: MongoDB) -> Iterator[Mapping[str, tuple[str, str]]]:
    """URIs of no use, and what is told of them."""
    with contextlib.ExitStack() as stack:
        ages = {wire: OldServer(wire) for wire in (8, 6)}
        for old in ages.values():
            stack.callback(old.close)
        yield {
            'malformed': ('mongodb:/127.0.0.1', 'malformed'),
            'an option of another driver': (
                'mongodb://127.0.0.1/?wait_replicas=1',
                'unknown option "wait_replicas"',
            ),
            'MongoDB 4.2': (ages[8].uri, 'wire version 8'),
            'MongoDB 3.6': (ages[6].uri, 'wire version 6'),
            'another set': (f'{server.uri}&replicaSet=other', 'replica set'),
            'who is unknown': (
                server.uri.replace('//', '//nobody:hidden@'),
                'uthentication failed',
            ),
            'no set of several': (server.uri, '[DEFAULT] unreliable'),
        }


WRONG = (
    'malformed',
    'an option of another driver',
    'MongoDB 4.2',
    'MongoDB 3.6',
    'another set',
    'who is unknown',
    'no set of several',
)


@pytest.mark.parametrize('fault', WRONG)
def test_what_is_wrong_ends_the_start_with_one_line(
    make_server: MakeServer,
    wrong: Mapping[str, tuple[str, str]],
    fault: str,
) -> None:
    uri, text = wrong[fault]
    done = make_server(uri).run()
    assert done.returncode == 1
    (line,) = done.stderr.strip().splitlines()
    assert line.startswith('zaqar-server: [drivers:')
    assert text in line
    assert 'hidden' not in line


def test_what_is_wrong_makes_no_pool(
    make_server: MakeServer, wrong: Mapping[str, tuple[str, str]]
) -> None:
    general = 'pooling = True\nadmin_mode = True'
    server = make_server('', general, rest='').start()

    def put(uri: str, **options: Any) -> requests.Response:
        document = {'uri': uri, 'weight': 1, 'options': options}
        return ask(server, 'PUT', 'pools/new', document)

    for uri, _ in wrong.values():
        assert put(uri).status_code == 400, uri
    good = wrong['no set of several'][0]
    assert put(good, unreliable=True, wait_replicas=1).status_code == 400
    assert ask(server, 'GET', 'pools/new').status_code == 404


def ask(
    server: Zaqar, method: str, path: str, document: Any = None
) -> requests.Response:
    """Send a request."""
    return requests.request(
        method,
        f'{server.url}/v2/{path}',
        headers=HEADERS,
        json=document,
        timeout=60,
    )


def post(server: Zaqar, body: str) -> requests.Response:
    """Post a message."""
    document = {'messages': [{'body': body}]}
    return ask(server, 'POST', 'queues/orders/messages', document)


def insist(server: Zaqar, body: str) -> None:
    """Post a message to a store that is about to be found again."""
    end = time.monotonic() + PATIENCE
    while (answer := post(server, body)).status_code != 201:
        assert answer.status_code == 503, answer.text
        assert time.monotonic() < end, 'it does not come back'
        time.sleep(0.1)


def claim(server: Zaqar) -> requests.Response:
    """Claim messages."""
    return ask(
        server, 'POST', 'queues/orders/claims', {'ttl': 60, 'grace': 60}
    )


def test_an_outage_is_503_with_retry_after_and_nothing_is_lost(
    own_server: Start, make_server: MakeServer
) -> None:
    mongodb = own_server('--sync-on-commit')
    server = make_server(mongodb.uri, 'unreliable = True').start()
    assert post(server, 'before').status_code == 201
    mongodb.kill()
    for call in (
        lambda: post(server, 'during'),
        lambda: ask(server, 'GET', 'queues/orders/messages?echo=true'),
        lambda: claim(server),
    ):
        with ends_within(5):
            answer = call()
        assert answer.status_code == 503
        assert int(answer.headers['Retry-After']) > 0
    mongodb.start()
    insist(server, 'after')
    bodies = [one['body'] for one in claim(server).json()['messages']]
    assert bodies == ['before', 'after']
    assert server.stop() == 0
