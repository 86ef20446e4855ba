# SPDX-License-Identifier: Apache-2.0
"""A service that serves clients of Amazon SQS, and clients."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from zaqar.tests.functional.sqs.clients import Form, Native, sqs
from zaqar.tests.servers import fixtures, redis
from zaqar.tests.servers.zaqar import Zaqar, with_database

postgresql = fixtures.postgresql

ENABLED = '[drivers:transport:sqs]\nenabled = true\n'

_REDIS = """
[drivers]
message_store = redis
[drivers:message_store:redis]
uri = {uri}
"""

_STORES = [
    name
    for name in ('sqlite', 'postgresql', 'redis')
    if os.environ.get('ZAQAR_TEST_ENGINE', name) == name
]


@contextlib.contextmanager
def _server(
    request: pytest.FixtureRequest,
    factory: pytest.TempPathFactory,
    store: str,
) -> Iterator[Zaqar]:
    rest = ENABLED
    with contextlib.ExitStack() as stack:
        if store == 'redis':
            started = redis.start()
            stack.callback(started.stop)
            rest += _REDIS.format(uri=started.url)
        elif store == 'postgresql':
            server = request.getfixturevalue('postgresql')
            rest += with_database(server.database())
        zaqar = Zaqar(factory.mktemp(f'sqs-{store}'), rest=rest, workers=2)
        if store == 'postgresql':
            done = zaqar.run('upgrade', 'head', program='manage')
            assert done.returncode == 0, done.stderr
        zaqar.start()
        yield zaqar
        assert zaqar.stop() == 0


@pytest.fixture(scope='session')
def zaqar(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Zaqar]:
    """A service on SQLite."""
    with _server(request, tmp_path_factory, 'sqlite') as server:
        yield server


@pytest.fixture(scope='session', params=_STORES)
def stored(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Zaqar]:
    """A service on each of some stores."""
    if request.param == 'sqlite':
        yield request.getfixturevalue('zaqar')
        return
    with _server(request, tmp_path_factory, request.param) as server:
        yield server


@pytest.fixture
def project() -> str:
    """A project that nobody else has, which is its access key, too."""
    return secrets.token_hex(16)


@pytest.fixture
def client(zaqar: Zaqar, project: str) -> Any:
    """A client of boto3."""
    return sqs(zaqar.url, project)


@pytest.fixture
def url(client: Any) -> str:
    """The URL of a queue."""
    return str(client.create_queue(QueueName='jobs')['QueueUrl'])


@pytest.fixture
def native(zaqar: Zaqar, project: str) -> Native:
    """A client of our own API, in the same project."""
    return Native(zaqar.url, project)


@pytest.fixture
def form(zaqar: Zaqar, project: str) -> Form:
    """A client of the Query protocol, in the same project."""
    return Form(zaqar.url, project)
