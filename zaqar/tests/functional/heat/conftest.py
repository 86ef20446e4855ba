# SPDX-License-Identifier: Apache-2.0
"""A Heat, a Keystone, a service, and those who make stacks."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Callable, Iterator

import pytest

from zaqar.tests.functional.heat.stacks import User
from zaqar.tests.functional.keystone.callers import join
from zaqar.tests.servers import process
from zaqar.tests.servers.heat import Administrator, Heat, environment
from zaqar.tests.servers.keystone import Keystone
from zaqar.tests.servers.rabbitmq import RabbitMQ
from zaqar.tests.servers.sql import SqlServer
from zaqar.tests.servers.zaqar import Zaqar

_WITH_POOLS = """
admin_mode = true
pooling = true
"""

_REST = """
[pooling:catalog]
enable_virtual_pool = true
[signed_url]
secret_key = a key that only the tests know
[oslo_policy]
enforce_new_defaults = true
[notification]
allowed_networks = 127.0.0.0/8
trust_targets = 127.0.0.1
trust_allow_http = true
[trustee]
auth_type = password
auth_url = {url}
username = {name}
password = {password}
user_domain_id = default
"""

#: Runs the service without pools for the length of a block.
Without = Callable[[], contextlib.AbstractContextManager[None]]


@pytest.fixture(scope='session')
def keystone() -> Iterator[Keystone]:
    """A Keystone with the service in its catalogue, and Mistral's place."""
    environment()
    server = Keystone()
    yield server
    server.stop()


@pytest.fixture(scope='session')
def mistral_port() -> int:
    """A port that the catalogue says Mistral is at."""
    return process.free_port()


@pytest.fixture(scope='session')
def zaqar(
    keystone: Keystone,
    mistral_port: int,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Zaqar]:
    """A service with pools, found in the catalogue."""
    server = _service(keystone, tmp_path_factory.mktemp('zaqar'), _WITH_POOLS)
    admin = Administrator(keystone)
    admin.offer('messaging', server.url, 'zaqar')
    origin = f'http://127.0.0.1:{mistral_port}/v2'
    admin.offer('workflowv2', origin, 'mistral')
    server.start()
    yield server
    server.stop()


@pytest.fixture
def without_pools(
    zaqar: Zaqar, keystone: Keystone, tmp_path: pathlib.Path
) -> Without:
    """Replace the service by one that has no pools."""

    @contextlib.contextmanager
    def replaced() -> Iterator[None]:
        zaqar.stop()
        plain = _service(keystone, tmp_path, '', zaqar.port)
        try:
            plain.start()
            yield
        finally:
            plain.stop()
            zaqar.start()

    return replaced


@pytest.fixture(scope='session')
def heat(
    keystone: Keystone, zaqar: Zaqar, mariadb: SqlServer
) -> Iterator[Heat]:
    """A Heat with our resource types."""
    broker = RabbitMQ()
    database = mariadb.database()
    try:
        server = Heat(keystone, database, broker.url)
        yield server
        server.stop()
    finally:
        broker.stop()
        mariadb.drop(database)


@pytest.fixture(scope='module')
def user(heat: Heat, keystone: Keystone, zaqar: Zaqar) -> User:
    """A member of a project."""
    return _user(heat, keystone, zaqar, 'member')


@pytest.fixture(scope='module')
def admin(heat: Heat, keystone: Keystone, zaqar: Zaqar) -> User:
    """An administrator of a project."""
    return _user(heat, keystone, zaqar, 'admin', 'member')


def _user(heat: Heat, keystone: Keystone, zaqar: Zaqar, *roles: str) -> User:
    caller = join(keystone, zaqar.url, keystone.project(), *roles)
    return User(f'{heat.url}/{caller.project}', caller)


def _service(
    keystone: Keystone,
    folder: pathlib.Path,
    general: str,
    port: int | None = None,
) -> Zaqar:
    trustee = keystone.service
    rest = _REST.format(
        url=keystone.url, name=trustee.name, password=trustee.password
    )
    return Zaqar(
        folder,
        general=f'auth_strategy = keystone\n{general}',
        rest=f'{rest}\n{keystone.authtoken_section()}',
        port=port,
    )
