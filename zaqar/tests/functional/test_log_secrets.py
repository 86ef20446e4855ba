# SPDX-License-Identifier: Apache-2.0
"""Nothing that is secret is logged, at any level.

A service at DEBUG does everything once, with words planted wherever something
secret can stand; then its whole log is searched for them.
"""

from __future__ import annotations

import base64
import http.server
import json
import pathlib
import secrets
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import websocket

from zaqar.tests.servers import process
from zaqar.tests.servers.zaqar import Zaqar

#: By what it is; each a word that stands nowhere else.
PLANTED = {
    name: f'{name}{secrets.token_hex(12)}'
    for name in (
        *('body', 'later', 'pushed', 'option', 'token', 'metadata'),
        *('signing', 'encryption', 'webhook', 'password', 'trustee'),
    )
}

_GENERAL = """
debug = True
admin_mode = True
pooling = True
"""

_REST = """
[drivers:transport:websocket]
port = {websocket}
[signed_url]
secret_key = {signing}
[transport]
message_encryption_key = {encryption}
[notification]
allowed_networks = 127.0.0.0/8
encrypted_over_http = True
[keystone_authtoken]
password = {password}
[trustee]
password = {trustee}
"""

_HEADERS = {
    'Client-ID': '3381af92-2b9e-11e3-b191-71861300734c',
    'X-Project-ID': 'logged',
    'X-Roles': 'admin',
    'X-Auth-Token': PLANTED['token'],
}


class _Refusing(http.server.BaseHTTPRequestHandler):
    """A receiver that fails, so that there is something to log."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers['Content-Length']))
        self.server.arrived.set()  # type: ignore[attr-defined]
        self.send_error(404)

    def log_message(self, *args: object) -> None:
        """Keep quiet."""


@pytest.fixture(scope='module')
def receiver() -> Iterator[http.server.ThreadingHTTPServer]:
    server = http.server.ThreadingHTTPServer(('127.0.0.1', 0), _Refusing)
    server.arrived = threading.Event()  # type: ignore[attr-defined]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


class _Asker:
    """Asks over HTTP and notes what of the answers is secret, too."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.secret: list[str] = []

    def __call__(
        self, method: str, path: str, document: Any = None, **headers: str
    ) -> Any:
        answer = requests.request(
            method,
            f'{self._url}{path}',
            json=document,
            headers=_HEADERS | headers,
            timeout=30,
        )
        assert answer.status_code < 500, answer.text
        return answer.json() if answer.content else None


def _over_http(ask: _Asker, folder: pathlib.Path, receiver: str) -> None:
    queue = '/v2/queues/logged'
    password = PLANTED['password']
    ask('PUT', '/v2/pools/own', {'weight': 1, 'uri': f'sqlite:///{folder}/p'})
    ask(
        'PUT',
        '/v2/pools/far',
        {'weight': 0, 'uri': f'redis://u:{password}@127.0.0.1:1/0'},
    )
    ask('GET', '/v2/pools?detailed=true')
    ask('GET', '/v2/health')
    ask(
        'PUT',
        queue,
        {'_enable_encrypt_messages': True, 'note': PLANTED['metadata']},
    )
    ask(
        'POST',
        f'{queue}/subscriptions',
        {
            'subscriber': receiver,
            'ttl': 300,
            'options': {'post_headers': {'X-Key': PLANTED['option']}},
        },
    )
    ask('POST', f'{queue}/messages', {'messages': [{'body': PLANTED['body']}]})
    # Bad in many ways: what is refused is not repeated either.
    ask('POST', f'{queue}/messages', {'messages': [PLANTED['later']]})
    ask('POST', f'{queue}/messages', {'bodies': PLANTED['later']})
    ask('GET', f'{queue}/messages?echo=true')
    ask('POST', f'{queue}/claims', {'ttl': 60, 'grace': 60})
    shared = ask('POST', f'{queue}/share', {})
    ask.secret.append(shared['signature'])
    ask(
        'GET',
        f'{queue}/messages',
        **{
            'URL-Signature': shared['signature'],
            'URL-Expires': shared['expires'],
            'URL-Methods': ','.join(shared['methods']),
            'URL-Paths': ','.join(shared['paths']),
        },
    )


def _over_websocket(port: int) -> None:
    connection = websocket.create_connection(
        f'ws://127.0.0.1:{port}', timeout=30
    )

    def ask(action: str, **body: Any) -> None:
        frame = {'action': action, 'headers': _HEADERS, 'body': body}
        connection.send(json.dumps(frame))
        connection.recv()

    ask('authenticate')
    ask('subscription_create', queue_name='talked')
    ask(
        'message_post',
        queue_name='talked',
        messages=[{'body': PLANTED['pushed'], 'ttl': 60}],
    )
    ask('message_list', queue_name='talked', echo=True)
    connection.send('{"broken": "' + PLANTED['later'])
    connection.recv()
    connection.close()


@pytest.fixture(scope='module')
def logged(
    tmp_path_factory: pytest.TempPathFactory,
    receiver: http.server.ThreadingHTTPServer,
) -> tuple[str, list[str]]:
    """The whole log of a service that did everything, and all secrets."""
    folder = tmp_path_factory.mktemp('logged')
    port = process.free_port()
    rest = _REST.format(websocket=port, **PLANTED)
    server = Zaqar(folder, general=_GENERAL, rest=rest).start()
    server.process.wait_until(lambda: process.accepts(port))
    ask = _Asker(server.url)
    url = f'http://127.0.0.1:{receiver.server_port}/{PLANTED["webhook"]}'
    _over_http(ask, folder, url)
    _over_websocket(port)
    arrived = receiver.arrived  # type: ignore[attr-defined]
    assert arrived.wait(60)
    server.process.wait_until(lambda: 'is given up' in server.log.read_text())
    assert server.stop() == 0
    hidden = [
        word for name, word in PLANTED.items() if name not in ('metadata',)
    ]
    return server.log.read_text(), [*hidden, *ask.secret]


def test_the_log_is_at_debug_and_tells_what_was_asked(
    logged: tuple[str, list[str]],
) -> None:
    text, _ = logged

    for action in ('message_post', 'claim_create', 'subscription_create'):
        assert f'{action} ' in text


def test_no_secret_is_in_the_log(logged: tuple[str, list[str]]) -> None:
    text, hidden = logged

    for word in hidden:
        lines = [line for line in text.splitlines() if word in line]
        assert not lines, lines[0][:300]


def test_no_secret_is_in_the_log_in_disguise(
    logged: tuple[str, list[str]],
) -> None:
    """Encoded for a header or a bytes literal, say."""
    text, hidden = logged

    for word in hidden:
        assert base64.b64encode(word.encode()).decode() not in text
        assert word.encode().hex() not in text
