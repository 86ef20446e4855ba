# SPDX-License-Identifier: Apache-2.0
"""A Horizon, a Keystone, a service with pools, and a browser."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from zaqar.tests.functional.horizon.visitor import Visitor
from zaqar.tests.servers.chromium import chromium
from zaqar.tests.servers.horizon import Horizon, environment
from zaqar.tests.servers.keystone import Keystone
from zaqar.tests.servers.zaqar import Zaqar

_GENERAL = """
auth_strategy = keystone
admin_mode = true
pooling = true
"""

_REST = """
[drivers]
transport = wsgi
[pooling:catalog]
enable_virtual_pool = true
[signed_url]
secret_key = a key that only the tests know
[oslo_policy]
enforce_new_defaults = true
"""


@pytest.fixture(scope='session')
def keystone() -> Iterator[Keystone]:
    """A Keystone."""
    environment()
    server = Keystone()
    yield server
    server.stop()


@pytest.fixture(scope='session')
def zaqar(
    keystone: Keystone, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Zaqar]:
    """A service with pools, which is in the catalogue."""
    server = Zaqar(
        tmp_path_factory.mktemp('zaqar'),
        general=_GENERAL,
        rest=f'{_REST}\n{keystone.authtoken_section()}',
    )
    server.start()
    with keystone.published('messaging', server.url):
        yield server
    server.stop()


@pytest.fixture(scope='session')
def horizon(keystone: Keystone, zaqar: Zaqar) -> Iterator[Horizon]:
    """A Horizon with our panels."""
    server = Horizon(keystone)
    yield server
    server.stop()


@pytest.fixture(scope='session')
def visitor(horizon: Horizon) -> Iterator[Visitor]:
    """A browser."""
    with chromium('--window-size=1280,900') as chrome:
        yield Visitor(chrome, horizon.url)
