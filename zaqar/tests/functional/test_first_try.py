# SPDX-License-Identifier: Apache-2.0
"""``./dev run``, as somebody uses it who has configured nothing."""

from __future__ import annotations

import hashlib
import pathlib
import shutil
import stat
import sys
from collections.abc import Iterator

import pytest
import requests

from zaqar.tests.servers import process

ROOT = pathlib.Path(__file__).parents[3]

_HEADERS = {
    'Client-ID': '3381af92-2b9e-11e3-b191-71861300734c',
    'X-Project-ID': 'tried',
}


class Clone:
    """A clone of the repository that is set up, and an empty home folder.

    :ivar state: where the service keeps what it makes
    """

    def __init__(self, folder: pathlib.Path) -> None:
        self._folder = folder / 'clone'
        self._home = folder / 'home'
        self.state = self._home / '.local' / 'state' / 'zaqar'
        self._port = process.free_port()
        self.url = f'http://127.0.0.1:{self._port}'
        self._set_up()

    def _set_up(self) -> None:
        venv = self._folder / '.venv'
        venv.mkdir(parents=True)
        self._home.mkdir()
        for path in pathlib.Path(sys.prefix).iterdir():
            (venv / path.name).symlink_to(path)
        needs = b''
        for name in ('dev', 'requirements.txt', 'setup.cfg'):
            shutil.copy(ROOT / name, self._folder)
            needs += b'' if name == 'dev' else (ROOT / name).read_bytes()
        stamp = venv / '.service'
        stamp.unlink(missing_ok=True)
        stamp.write_text(f'{hashlib.sha256(needs).hexdigest()}  -\n')

    def run(self, *arguments: str) -> process.Process:
        """Start the service, and wait until it answers."""
        running = process.Process(
            [str(self._folder / 'dev'), 'run', *arguments],
            self._folder / 'log',
            env={
                'HOME': str(self._home),
                'XDG_STATE_HOME': '',
                'OS_DRIVERS:TRANSPORT:WSGI__PORT': str(self._port),
                'OS_DRIVERS:TRANSPORT:WEBSOCKET__PORT': str(
                    process.free_port()
                ),
            },
        )
        running.wait_until(lambda: process.accepts(self._port))
        return running

    def log(self) -> str:
        """Return what was printed."""
        return (self._folder / 'log').read_text()


@pytest.fixture
def clone(tmp_path: pathlib.Path) -> Iterator[Clone]:
    yield Clone(tmp_path)


def test_a_webhook_of_this_machine_is_told(clone: Clone) -> None:
    port = process.free_port()
    receiver = process.Process(
        [
            *(sys.executable, str(ROOT / 'examples/webhook/receiver.py')),
            *('--port', str(port), '--service', clone.url),
        ],
        clone.state.parents[3] / 'received',
    )
    receiver.wait_until(lambda: process.accepts(port))
    service = clone.run()
    queue = f'{clone.url}/v2/queues/q'
    unsigned = requests.post(f'{clone.url}/sqs', timeout=30)
    assert 'MissingAuthenticationToken' in unsigned.text

    def ask(path: str, document: object) -> requests.Response:
        answer = requests.post(
            f'{queue}/{path}', json=document, headers=_HEADERS, timeout=30
        )
        assert answer.ok, answer.text
        return answer

    uri = f'http://127.0.0.1:{port}/'
    ask('subscriptions', {'subscriber': uri, 'ttl': 300})
    ask('messages', {'messages': [{'body': 'a first message', 'ttl': 60}]})
    shared = ask('share', {'methods': ['GET'], 'paths': ['messages']}).json()
    log = clone.state.parents[3] / 'received'
    receiver.wait_until(lambda: 'a first message' in log.read_text())
    receiver.stop()
    assert service.stop() == 0
    key = clone.state / 'signing-key'
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert stat.S_IMODE(clone.state.stat().st_mode) == 0o700
    assert len(key.read_text().strip()) == 64
    assert key.read_text().strip() not in clone.log()
    (line,) = (
        line for line in clone.log().splitlines() if 'trying out' in line
    )
    assert '127.0.0.0/8' in line
    # What was signed once is good after the next start.
    service = clone.run()
    headers = {
        'Client-ID': _HEADERS['Client-ID'],
        'X-Project-ID': shared['project'],
        'URL-Signature': shared['signature'],
        'URL-Expires': shared['expires'],
        'URL-Methods': ','.join(shared['methods']),
        'URL-Paths': ','.join(shared['paths']),
    }
    answer = requests.get(f'{queue}/messages', headers=headers, timeout=30)
    assert answer.status_code == 200
    assert service.stop() == 0


def test_a_configuration_of_its_own_counts(
    clone: Clone, tmp_path: pathlib.Path
) -> None:
    path = tmp_path / 'own.conf'
    path.write_text(f'[DEFAULT]\nstate_path = {tmp_path}\n')
    service = clone.run('--config-file', str(path))
    answer = requests.post(
        f'{clone.url}/v2/queues/q/share', json={}, headers=_HEADERS, timeout=30
    )
    assert answer.status_code >= 400
    assert requests.post(f'{clone.url}/sqs', timeout=30).status_code == 404
    assert service.stop() == 0
    assert not clone.state.exists()
    assert 'Using your configuration' in clone.log()
