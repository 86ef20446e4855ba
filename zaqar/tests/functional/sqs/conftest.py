# SPDX-License-Identifier: Apache-2.0
"""A service that serves clients of Amazon SQS, and clients.

It is on SQLite, and for some tests on PostgreSQL and Redis, too; all tests run
on the store that ``ZAQAR_TEST_ENGINE`` names.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from typing import Any

import pytest

from zaqar.tests.functional.sqs.clients import Form, Native, sqs
from zaqar.tests.servers import fixtures, mongodb, redis, swift
from zaqar.tests.servers.zaqar import Zaqar, with_database

postgresql = fixtures.postgresql
mariadb = fixtures.mariadb

ENABLED = '[drivers:transport:sqs]\nenabled = true\n'

_REDIS = """
[drivers]
message_store = redis
[drivers:message_store:redis]
uri = {uri}
"""

_MONGODB = """
[drivers]
message_store = {name}
management_store = mongodb
[drivers:message_store:mongodb]
uri = {uri}
[drivers:management_store:mongodb]
uri = {uri}
"""

_SWIFT = """
[drivers]
message_store = swift
management_store = sqlalchemy
[drivers:message_store:swift]
uri = {uri}
auth_url = {auth_url}
"""

_DEFAULT = ('sqlite', 'postgresql', 'redis')
_SQL = ('postgresql', 'mariadb')
_KNOWN = (*_DEFAULT, 'mariadb', 'mongodb', 'mongodb.fifo', 'swift')

_CHOSEN = [
    name
    for name in os.environ.get('ZAQAR_TEST_ENGINE', '').split(',')
    if name in _KNOWN
]
_STORES = _CHOSEN if 'ZAQAR_TEST_ENGINE' in os.environ else _DEFAULT
_FIRST = (*_CHOSEN, 'sqlite')[0]


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
        elif store in _SQL:
            server = request.getfixturevalue(store)
            rest += with_database(server.database())
        elif store.startswith('mongodb'):
            documents = mongodb.MongoDB()
            stack.callback(documents.stop)
            rest += _MONGODB.format(name=store, uri=documents.uri)
        elif store == 'swift':
            objects = swift.Swift()
            stack.callback(objects.stop)
            rest += _SWIFT.format(uri=objects.uri, auth_url=objects.auth_url)
        zaqar = Zaqar(
            factory.mktemp(f'sqs-{store}'),
            # One server of MongoDB is not a replica set of three.
            general='unreliable = True',
            rest=rest,
            workers=2,
        )
        if store in _SQL:
            done = zaqar.run('upgrade', 'head', program='sql_db_manage')
            assert done.returncode == 0, done.stderr
        zaqar.start()
        yield zaqar
        assert zaqar.stop() == 0


@pytest.fixture(scope='session')
def zaqar(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Zaqar]:
    """A service on one store."""
    with _server(request, tmp_path_factory, _FIRST) as server:
        yield server


@pytest.fixture(scope='session', params=_STORES)
def stored(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Zaqar]:
    """A service on each of some stores."""
    if request.param == _FIRST:
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
