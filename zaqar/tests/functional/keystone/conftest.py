# SPDX-License-Identifier: Apache-2.0
"""A Keystone, a service that trusts it, and those who ask the service."""

from __future__ import annotations

import contextlib
import pathlib
import sys
import tempfile
from collections.abc import Callable, Iterator

import pytest
import requests

from zaqar.tests.functional.keystone.callers import Caller, join, queue_name
from zaqar.tests.servers import process
from zaqar.tests.servers.keystone import Keystone
from zaqar.tests.servers.receivers import Receiver

_POLICY = """
[oslo_policy]
policy_file = {path}
"""

# One worker: each remembers tokens for itself.
_PLACE = """
[drivers:transport:wsgi]
port = {port}
workers = 1
[drivers:transport:websocket]
port = 0
[drivers:management_store:sqlalchemy]
uri = sqlite:///{folder}/zaqar.sqlite
"""

_SERVER = (sys.executable, '-m', 'zaqar.cmd.server')

#: Starts a service with a policy file of this text and returns its origin.
Start = Callable[[str], str]


@pytest.fixture(scope='session')
def keystone() -> Iterator[Keystone]:
    """A Keystone."""
    server = Keystone()
    yield server
    server.stop()


@pytest.fixture
def start(keystone: Keystone, tmp_path: pathlib.Path) -> Iterator[Start]:
    """Start services that end with the test."""
    with contextlib.ExitStack() as running:

        def started(policy: str) -> str:
            folder = pathlib.Path(tempfile.mkdtemp(dir=tmp_path))
            path = folder / 'policy.yaml'
            path.write_text(policy)
            text = configuration(keystone) + _POLICY.format(path=path)
            return running.enter_context(serve(text, folder))

        yield started


@pytest.fixture(scope='session')
def origin(
    keystone: Keystone, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A service as it comes."""
    folder = tmp_path_factory.mktemp('zaqar')
    with serve(configuration(keystone), folder) as url:
        yield url


@pytest.fixture(scope='module')
def project(keystone: Keystone) -> str:
    """A project of the tests of one file."""
    return keystone.project()


@pytest.fixture(scope='module')
def member(keystone: Keystone, origin: str) -> Caller:
    """A member of a project."""
    return join(keystone, origin, keystone.project(), 'member')


@pytest.fixture(scope='module')
def admin(keystone: Keystone, member: Caller) -> Caller:
    """An administrator of the member's project."""
    return join(keystone, member.origin, member.project, 'admin')


@pytest.fixture(scope='module')
def stranger(keystone: Keystone, origin: str) -> Caller:
    """A reader of another project."""
    return join(keystone, origin, keystone.project(), 'reader')


@pytest.fixture
def nobody(origin: str) -> Caller:
    """Somebody without a token."""
    return Caller(origin)


@pytest.fixture
def receiver(keystone: Keystone) -> Iterator[Receiver]:
    """A service of the cloud, at the host that Keystone is at, too."""
    server = Receiver()
    with keystone.published('hooked', f'{server.url}/v1'):
        yield server
    server.stop()


@pytest.fixture
def queue() -> str:
    """A name that no queue has."""
    return queue_name()


def configuration(keystone: Keystone) -> str:
    """Return a configuration file of a service that trusts a Keystone."""
    section = keystone.authtoken_section()
    return f'[DEFAULT]\nauth_strategy = keystone\n{section}'


@contextlib.contextmanager
def serve(text: str, folder: pathlib.Path) -> Iterator[str]:
    """Run the service with a configuration file; yield where it listens.

    :param folder: where it may keep what it needs
    """
    port = process.free_port()
    path = folder / 'zaqar.conf'
    path.write_text(text + _PLACE.format(port=port, folder=folder))
    folders = ('--config-dir', str(folder / 'conf.d'))
    (folder / 'conf.d').mkdir()
    server = process.Process(
        [*_SERVER, '--config-file', str(path), *folders], folder / 'log'
    )
    origin = f'http://127.0.0.1:{port}'
    server.wait_until(lambda: _answers(origin))
    try:
        yield origin
    finally:
        server.stop()


def _answers(origin: str) -> bool:
    # That it accepts connections says nothing of its workers.
    with contextlib.suppress(requests.RequestException):
        return requests.get(origin, timeout=1).status_code == 300
    return False
