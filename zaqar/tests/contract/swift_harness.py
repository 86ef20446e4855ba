# SPDX-License-Identifier: Apache-2.0
"""Swift in the contract suite, with the rows in PostgreSQL.

Its URIs say all that a configuration would: how to log in, and the database of
the management store.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib import parse

from zaqar.storage.abstract_stores import ManagementStore, MessageStore
from zaqar.storage.sqlalchemy.driver_declaration import DRIVER as SQL
from zaqar.storage.swift.driver_declaration import DRIVER as SWIFT
from zaqar.tests.contract import harnesses
from zaqar.tests.servers import swift

_NUMBERS = ('inline', 'timeout')


def open_messages(uri: str, options: Mapping[str, Any]) -> MessageStore:
    """Open the message store of a place."""
    # Its client is imported by those who use it only.
    from zaqar.storage.swift import store_factory

    query = _asked(uri)
    return store_factory.open_messages(
        uri.partition('?')[0],
        {
            'auth_url': query.get('auth_url', 'http://127.0.0.1:1/v3'),
            'management': (query.get('rows'), {}),
            **options,
        },
        **{name: int(query[name]) for name in _NUMBERS if name in query},
    )


def open_management(uri: str, options: Mapping[str, Any]) -> ManagementStore:
    """Open the management store of a place, which is none of Swift's."""
    query = _asked(uri)
    if 'rows' not in query:
        return SWIFT.open_management(uri, options)
    return SQL.open_management(query['rows'], {})


class Swift(harnesses.PostgreSQL):
    """Swift beside PostgreSQL.

    :cvar more: arguments of the opening of message stores, of ``_NUMBERS``
    """

    name = 'swift'
    core = frozenset(
        {
            'test_bodies',
            'test_duplicates',
            'test_extending',
            'test_message_fields',
            'test_popping',
            'test_settling',
            'test_stale_metadata',
        }
    )
    driver = dataclasses.replace(
        SWIFT, open_messages=open_messages, open_management=open_management
    )
    more: ClassVar[Mapping[str, int]] = {}

    def start(self) -> None:
        self.swift = swift.Swift()
        try:
            super().start()
        except BaseException:
            self.swift.stop()
            raise

    def stop(self) -> None:
        super().stop()
        self.swift.stop()

    def server(self) -> str:
        return f'{swift.version()}, {super().server()}'

    def database(self) -> str:
        return self._uri(super().database())

    def endpoint(self, uri: str) -> tuple[str, int]:
        return super().endpoint(_asked(uri)['rows'])

    def via(self, uri: str, port: int) -> str:
        return self._uri(super().via(_asked(uri)['rows'], port))

    def faulty(self) -> Mapping[str, str]:
        query = parse.urlencode({'auth_url': self.swift.auth_url})
        return {
            'malformed URI': 'swift:tester:testing@/zaqar',
            'no password': 'swift://tester@/zaqar',
            'no project': 'swift://tester:testing@/',
            'a host': 'swift://tester:testing@127.0.0.1/zaqar',
            'refused password': f'swift://tester:wrong@/zaqar?{query}',
            'unknown project': f'swift://tester:testing@/nothing?{query}',
        }

    def _uri(self, rows: str) -> str:
        query = {'auth_url': self.swift.auth_url, 'rows': rows, **self.more}
        return f'{self.swift.uri}?{parse.urlencode(query)}'

    def _ask(self, uri: str, question: str) -> int:
        return super()._ask(_asked(uri)['rows'], question)


harnesses.register(Swift)


def _asked(uri: str) -> dict[str, str]:
    return dict(parse.parse_qsl(uri.partition('?')[2]))
