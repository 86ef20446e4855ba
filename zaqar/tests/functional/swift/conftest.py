# SPDX-License-Identifier: Apache-2.0
"""Stores on a Swift of our own, with the rows in SQLite files."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Iterator

import pytest

from zaqar.storage.abstract_stores import MessageStore
from zaqar.storage.swift import store_factory
from zaqar.storage.swift.connections import DEADLINE
from zaqar.tests.contract.probe import Hand, Probe
from zaqar.tests.functional.swift.objects import Objects
from zaqar.tests.servers.swift import Swift

#: Opens a store with these options.
Open = Callable[..., MessageStore]


@pytest.fixture(scope='session')
def swift() -> Iterator[Swift]:
    """A Swift."""
    server = Swift()
    yield server
    server.stop()


@pytest.fixture
def rows(tmp_path: pathlib.Path) -> str:
    """A database of a management store."""
    return f'sqlite:///{tmp_path}/zaqar.sqlite'


@pytest.fixture
def opened(swift: Swift, rows: str) -> Iterator[Open]:
    """Open stores that are closed with the test."""
    stores: list[MessageStore] = []

    def open_one(
        *, timeout: float = DEADLINE, **options: object
    ) -> MessageStore:
        settings = {
            'auth_url': swift.auth_url,
            'management': (rows, {}),
            **options,
        }
        store = store_factory.open_messages(
            swift.uri, settings, timeout=timeout
        )
        stores.append(store)
        return store

    yield open_one
    for store in stores:
        store.close()


@pytest.fixture
def store(opened: Open) -> MessageStore:
    """A store."""
    return opened()


@pytest.fixture
def hand() -> Hand:
    """A clock that is moved by hand."""
    return Hand()


@pytest.fixture
def queue(store: MessageStore, hand: Hand) -> Probe:
    """A new queue."""
    return Probe(store, hand)


@pytest.fixture
def objects(swift: Swift, queue: Probe) -> Objects:
    """What Swift has of the queue, and was asked about it."""
    return Objects(swift, queue.qid)
