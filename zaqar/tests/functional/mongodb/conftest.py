# SPDX-License-Identifier: Apache-2.0
"""Servers and the stores on them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from zaqar.storage.abstract_stores import ManagementStore, MessageStore
from zaqar.storage.mongodb import driver_declaration
from zaqar.tests.contract.probe import Hand, Probe
from zaqar.tests.servers import mongodb

Open = Callable[..., MessageStore]
OpenRecords = Callable[..., ManagementStore]


@pytest.fixture(scope='session')
def server() -> Iterator[mongodb.MongoDB]:
    """A server that all tests share; none ends it."""
    mongo = mongodb.MongoDB('--enable-test-commands')
    yield mongo
    mongo.stop()


@pytest.fixture
def own_server() -> Iterator[Callable[..., mongodb.MongoDB]]:
    """Start servers that the test may do anything to."""
    with contextlib.ExitStack() as stack:

        def start(*arguments: str, **client: Any) -> mongodb.MongoDB:
            mongo = mongodb.MongoDB(*arguments, **client)
            stack.callback(mongo.stop)
            return mongo

        yield start


@pytest.fixture
def opened() -> Iterator[Open]:
    """Open message stores."""
    with contextlib.ExitStack() as stack:

        def open_one(uri: str, **options: Any) -> MessageStore:
            fifo = options.pop('fifo', False)
            opening = (
                driver_declaration.FIFO if fifo else driver_declaration.DRIVER
            ).open_messages
            store = opening(uri, {'unreliable': True, **options})
            stack.callback(store.close)
            return store

        yield open_one


@pytest.fixture
def opened_records() -> Iterator[OpenRecords]:
    """Open management stores."""
    with contextlib.ExitStack() as stack:

        def open_one(uri: str, **options: Any) -> ManagementStore:
            store = driver_declaration.DRIVER.open_management(
                uri, {'unreliable': True, **options}
            )
            stack.callback(store.close)
            return store

        yield open_one


@pytest.fixture
def store(server: mongodb.MongoDB, opened: Open) -> MessageStore:
    """A message store."""
    return opened(server.uri)


@pytest.fixture
def queue(store: MessageStore) -> Probe:
    """A new queue."""
    return Probe(store, Hand())
