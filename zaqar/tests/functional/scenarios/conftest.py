# SPDX-License-Identifier: Apache-2.0
"""A service with Keystone, and clients of all kinds in one project."""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from zaqar.tests.functional.keystone.callers import Caller, queue_name
from zaqar.tests.functional.keystone.commands import sit_down
from zaqar.tests.functional.scenarios.new_clients import (
    FrameClient,
    HttpClient,
    NewClient,
)
from zaqar.tests.functional.scenarios.old_clients import (
    CommandClient,
    LibraryClient,
    OldClient,
    PlainClient,
    SdkClient,
)
from zaqar.tests.servers import redis
from zaqar.tests.servers.keystone import Keystone, User
from zaqar.tests.servers.zaqar import Zaqar

_REDIS = """
[drivers]
message_store = redis
[drivers:message_store:redis]
uri = {uri}
"""


@dataclass(frozen=True)
class Cloud:
    """A running service, and somebody who uses it."""

    server: Zaqar
    keystone: Keystone
    user: User
    caller: Caller


@pytest.fixture(scope='session')
def keystone() -> Iterator[Keystone]:
    """A Keystone."""
    server = Keystone()
    yield server
    server.stop()


#: The store of the messages: SQLite unless Redis is chosen. How stores behave
#: is tested by their contract; here clients meet.
_STORES = [
    name
    for name in ('sqlite', 'redis')
    if os.environ.get('ZAQAR_TEST_ENGINE', 'sqlite') == name
]


@pytest.fixture(scope='session', params=_STORES)
def cloud(
    request: pytest.FixtureRequest,
    keystone: Keystone,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Cloud]:
    """A service on one store, the only one in the catalogue."""
    folder: pathlib.Path = tmp_path_factory.mktemp(f'cloud-{request.param}')
    rest = keystone.authtoken_section()
    with contextlib.ExitStack() as stack:
        if request.param == 'redis':
            store = redis.start()
            stack.callback(store.stop)
            rest += _REDIS.format(uri=store.url)
        server = Zaqar(
            folder, general='auth_strategy = keystone\n', rest=rest, workers=2
        ).start()
        stack.callback(server.stop)
        stack.enter_context(keystone.published('messaging', server.url))
        project = keystone.project()
        user = keystone.user(project, 'member')
        caller = Caller(server.url, keystone.token(user, project), project)
        yield Cloud(server, keystone, user, caller)


#: Kinds of clients of 2.1 and of 2.0 that meet. Commands take seconds.
_PAIRS = (
    ('http', 'plain'),
    ('websocket', 'plain'),
    ('http', 'zaqarclient'),
    ('websocket', 'zaqarclient'),
    ('http', 'openstacksdk'),
    ('websocket', 'command'),
)


@pytest.fixture(params=_PAIRS, ids='-'.join)
def pair(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The kinds of the two clients."""
    kinds: tuple[str, str] = request.param
    return kinds


@pytest.fixture
def new(pair: tuple[str, str], cloud: Cloud) -> Iterator[NewClient]:
    """A client of 2.1."""
    if pair[0] == 'http':
        client: NewClient = HttpClient(cloud.caller)
    else:
        client = FrameClient(cloud.caller, cloud.server.socket_url)
    with client:
        yield client


@pytest.fixture
def second(cloud: Cloud) -> Iterator[NewClient]:
    """Another client of 2.1, which may wait beside the first one."""
    with HttpClient(cloud.caller) as client:
        yield client


def _library(cloud: Cloud) -> OldClient:
    return LibraryClient(cloud.keystone, cloud.user, cloud.caller)


def _sdk(cloud: Cloud) -> OldClient:
    return SdkClient(cloud.keystone, cloud.user, cloud.caller)


def _command(cloud: Cloud) -> OldClient:
    shell = sit_down(cloud.keystone, cloud.caller, cloud.user)
    return CommandClient(shell)


_OLD: dict[str, Callable[[Cloud], OldClient]] = {
    'plain': lambda cloud: PlainClient(cloud.caller),
    'zaqarclient': _library,
    'openstacksdk': _sdk,
    'command': _command,
}


@pytest.fixture
def old(pair: tuple[str, str], cloud: Cloud) -> OldClient:
    """A client of 2.0."""
    return _OLD[pair[1]](cloud)


@pytest.fixture
def queue() -> str:
    """A name that no queue has."""
    return queue_name()
