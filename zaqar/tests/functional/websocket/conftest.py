# SPDX-License-Identifier: Apache-2.0
"""The whole service, and connections to it."""

from __future__ import annotations

import pathlib
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from zaqar.tests.functional.websocket.client import Talk
from zaqar.tests.servers.zaqar import Zaqar

#: Signs URLs.
KEY = 'a key of enough length'

SIGNED = f'[signed_url]\nsecret_key = {KEY}\n'

_POOLED = '[pooling:catalog]\nenable_virtual_pool = true\n'

#: Makes a connection.
Connect = Callable[..., Talk]

MakeServer = Callable[..., Zaqar]


@pytest.fixture(scope='session')
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zaqar]:
    """A server with all there is."""
    folder: pathlib.Path = tmp_path_factory.mktemp('zaqar-websocket')
    zaqar = Zaqar(
        folder,
        general='admin_mode = true\npooling = true\n',
        rest=SIGNED + _POOLED,
    ).start()
    yield zaqar
    assert zaqar.stop() == 0


@pytest.fixture
def make_server(tmp_path: pathlib.Path) -> Iterator[MakeServer]:
    """A function that starts servers, which end with the test."""
    servers: list[Zaqar] = []

    def make(**settings: Any) -> Zaqar:
        folder = tmp_path / str(len(servers))
        folder.mkdir()
        servers.append(Zaqar(folder, **settings))
        return servers[-1].start()

    yield make
    for running in servers:
        running.stop(signal.SIGKILL)


@pytest.fixture
def connect(server: Zaqar, project: str) -> Iterator[Connect]:
    """A function that connects to the server; all ends with the test."""
    talks: list[Talk] = []

    def connected(**options: Any) -> Talk:
        url = options.pop('url', server.socket_url)
        options.setdefault('project', project)
        talks.append(Talk(url, **options))
        return talks[-1]

    yield connected
    for talk in talks:
        talk.cut()


@pytest.fixture(params=[False, True], ids=['json', 'msgpack'])
def talk(request: pytest.FixtureRequest, connect: Connect) -> Talk:
    """A connection, in each encoding."""
    return connect(is_binary=request.param)
