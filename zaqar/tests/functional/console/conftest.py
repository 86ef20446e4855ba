# SPDX-License-Identifier: Apache-2.0
"""A service without Keystone, and a browser."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator

import pytest

from zaqar.tests.functional.console import services
from zaqar.tests.functional.console.browser import User
from zaqar.tests.functional.console.producer import Producer
from zaqar.tests.servers.chromium import chromium
from zaqar.tests.servers.receivers import Receiver
from zaqar.tests.servers.zaqar import Zaqar

PROJECT = 'demo'


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """A subscriber."""
    server = Receiver()
    yield server
    server.stop()


@pytest.fixture
def server(tmp_path: pathlib.Path) -> Iterator[Zaqar]:
    """A service on SQLite."""
    running = services.service(tmp_path).start()
    yield running
    running.stop()


@pytest.fixture
def producer(server: Zaqar) -> Producer:
    """A program of the owner's project."""
    return Producer(server.url, {'X-Project-ID': PROJECT})


@pytest.fixture
def owner(server: Zaqar, tmp_path: pathlib.Path) -> Iterator[User]:
    """Somebody in front of the console."""
    with chromium() as chrome:
        yield User(chrome, f'{server.url}/console', tmp_path / 'downloads')
