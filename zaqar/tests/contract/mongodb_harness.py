# SPDX-License-Identifier: Apache-2.0
"""MongoDB in the contract suite, under both names.

A place is a set of databases of one server; its URI says which in ``appName``,
where a configuration would have the option ``database``.
"""

from __future__ import annotations

import dataclasses
import os
import secrets
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib import parse

import pymongo
import pytest
from pymongo import monitoring

from zaqar.storage.abstract_stores import ManagementStore, MessageStore
from zaqar.storage.driver_declaration import Driver
from zaqar.storage.mongodb import (
    database_commands_and_transactions,
    driver_declaration,
    message_count_estimate,
    posting,
    sessions_and_abandoned_transactions,
)
from zaqar.tests.contract import harnesses, mongodb_commands
from zaqar.tests.contract.harnesses import Feature
from zaqar.tests.contract.mongodb_commands import OURS
from zaqar.tests.servers import mongodb, process


def at_place(driver: Driver) -> Driver:
    """Return a driver that takes the name of its databases from the URI."""

    def messages(uri: str, options: Mapping[str, Any]) -> MessageStore:
        return driver.open_messages(uri, {**options, 'database': _place(uri)})

    def management(uri: str, options: Mapping[str, Any]) -> ManagementStore:
        return driver.open_management(
            uri, {**options, 'database': _place(uri)}
        )

    return dataclasses.replace(
        driver, open_messages=messages, open_management=management
    )


class _Pools(monitoring.ConnectionPoolListener):
    """Counts the connections that are in use."""

    def __init__(self) -> None:
        self.borrowed: set[tuple[Any, int]] = set()

    def connection_checked_out(self, event: Any) -> None:
        self.borrowed.add((event.address, event.connection_id))

    def connection_checked_in(self, event: Any) -> None:
        self.borrowed.discard((event.address, event.connection_id))

    def pool_created(self, event: Any) -> None: ...
    def pool_ready(self, event: Any) -> None: ...
    def pool_cleared(self, event: Any) -> None: ...
    def pool_closed(self, event: Any) -> None: ...
    def connection_created(self, event: Any) -> None: ...
    def connection_ready(self, event: Any) -> None: ...
    def connection_closed(self, event: Any) -> None: ...
    def connection_check_out_started(self, event: Any) -> None: ...
    def connection_check_out_failed(self, event: Any) -> None: ...


_POOLS = _Pools()
monitoring.register(_POOLS)


class MongoDB(harnesses.Harness):
    """MongoDB, or what ``ZAQAR_TEST_MONGODB_URL`` names."""

    name = 'mongodb'
    core = frozenset(
        {
            'test_availability',
            'test_claims',
            'test_concurrency',
            'test_deleting',
            'test_duplicates',
            'test_extending',
            'test_groups',
            'test_held_bytes',
            'test_message_fields',
            'test_notices',
            'test_popping',
            'test_posting',
            'test_purge_and_drop',
            'test_settling',
            'test_stale_metadata',
        }
    )
    driver = at_place(driver_declaration.DRIVER)
    features = frozenset(
        {
            Feature.ENDPOINT,
            Feature.GROUPS,
            Feature.HELD_BYTES,
            Feature.SERVER_CLOCK,
        }
    )
    # The server of the tests is a replica set of one.
    options: ClassVar[Mapping[str, Any]] = {'unreliable': True}

    def start(self) -> None:
        configured = os.environ.get('ZAQAR_TEST_MONGODB_URL')
        self._server = None if configured else mongodb.MongoDB()
        self.slowness = 1 if configured else 20
        self._uri = configured or str(self._server and self._server.uri)
        self._made: list[str] = []
        self._observer: pymongo.MongoClient[dict[str, Any]]
        self._observer = pymongo.MongoClient(self._uri, appname='observer')

    def stop(self) -> None:
        if self._server is not None:
            self._observer.close()
            self._server.stop()
            return
        for place in self._made:
            for name in self._observer.list_database_names(comment=OURS):
                if name.startswith(place):
                    self._observer.drop_database(name, comment=OURS)
        self._observer.close()

    def server(self) -> str:
        version = self._observer.admin.command('buildInfo', comment=OURS)[
            'version'
        ]
        if self._server is None:
            return f'MongoDB {version}'
        return f'{mongodb.version()}, which speaks as MongoDB {version}'

    def refused(self) -> Sequence[str]:
        return mongodb_commands.RECORDER.faults

    def give_time(self, patch: pytest.MonkeyPatch) -> None:
        if self._server is not None:
            # On a busy machine ours needs seconds for a large update, and
            # longer than a post may count.
            patch.setattr(posting, 'SLOW_COUNT', 10.0)
            patch.setattr(message_count_estimate, 'MAX_DURATION', 20.0)
            patch.setattr(
                database_commands_and_transactions, 'COMMAND_TIMEOUT', 20.0
            )
            patch.setattr(
                database_commands_and_transactions, 'STEP_TIMEOUT', 35.0
            )
            patch.setattr(sessions_and_abandoned_transactions, 'TIMEOUT', 10.0)

    def forget(self, uri: str) -> None:
        if self._server is not None:
            # Whoever counts one queue waits while ours reads those of all.
            for name in self._observer.list_database_names(comment=OURS):
                if name.startswith(_place(uri)):
                    documents = self._observer[name]['message']
                    documents.delete_many({}, comment=OURS)

    def database(self) -> str:
        place = f'zaqar_{secrets.token_hex(6)}'
        self._made.append(place)
        return self._with(appName=place)

    def connections(self, uri: str) -> int:
        operations = self._observer.admin.command(
            {'currentOp': 1, '$all': True, 'comment': OURS}
        )
        return sum(
            item.get('clientMetadata', {}).get('application', {}).get('name')
            == _place(uri)
            for item in operations['inprog']
        )

    def borrowed(self) -> int:
        return len(_POOLS.borrowed)

    def endpoint(self, uri: str) -> tuple[str, int]:
        address = parse.urlsplit(uri)
        return str(address.hostname), int(address.port or 27017)

    def via(self, uri: str, port: int) -> str:
        address = parse.urlsplit(uri)
        user, at, _ = address.netloc.rpartition('@')
        return address._replace(netloc=f'{user}{at}127.0.0.1:{port}').geturl()

    def faulty(self) -> Mapping[str, str]:
        place = self.database()
        unused = f'127.0.0.1:{process.free_port()}'
        return {
            'malformed URI': place.replace('://', ':/'),
            'no host': f'{self.name}://',
            'malformed port': f'{self.name}://127.0.0.1:port/',
            'another engine': 'redis://127.0.0.1/',
            'unknown option': f'{self.name}://{unused}/?socket_timeout=1',
            'malformed option': f'{self.name}://{unused}/?maxPoolSize=x',
            'unknown user': self._with(user='nobody:wrong@', appName='x'),
            'missing file': self._with(tls='true', tlsCAFile='/none.pem'),
            'another set': self._with(replicaSet='another', appName='x'),
        }

    def _with(self, user: str = '', **more: str) -> str:
        parts = parse.urlsplit(self._uri)
        query = {**dict(parse.parse_qsl(parts.query)), **more}
        place = parts.netloc.rpartition('@')[2] if user else parts.netloc
        return parts._replace(
            scheme=self.name,
            netloc=f'{user}{place}',
            query=parse.urlencode(query),
        ).geturl()


class MongoDBFifo(MongoDB):
    """The same, with claims strictly in order."""

    name = 'mongodb.fifo'
    core = frozenset(
        {
            'test_extending',
            'test_message_fields',
            'test_paging',
            'test_settling',
            'test_stale_metadata',
        }
    )
    driver = at_place(driver_declaration.FIFO)


harnesses.register(MongoDB)
harnesses.register(MongoDBFifo)


def _place(uri: str) -> str:
    query = dict(parse.parse_qsl(parse.urlsplit(uri).query))
    return query.get('appName', 'zaqar')
