# SPDX-License-Identifier: Apache-2.0
"""Servers and the stores on them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from zaqar.storage.abstract_stores import ManagementStore, MessageStore
from zaqar.storage.redis.driver_declaration import DRIVER
from zaqar.tests.contract.probe import Hand, Probe
from zaqar.tests.servers import redis

Open = Callable[..., MessageStore]
OpenRecords = Callable[..., ManagementStore]

#: What a server needs to keep every acknowledged change.
DURABLE = {'appendonly': 'yes', 'appendfsync': 'always'}


@pytest.fixture(scope='session')
def server() -> Iterator[redis.Redis]:
    """A server that all tests share; none ends it."""
    started = redis.Redis()
    yield started
    started.stop()


@pytest.fixture
def own_server() -> Iterator[Callable[..., redis.Redis]]:
    """Start servers that the test may do anything to."""
    with contextlib.ExitStack() as stack:

        def start(**settings: Any) -> redis.Redis:
            started = redis.Redis(
                {
                    name.replace('_', '-'): value
                    for name, value in settings.items()
                }
            )
            stack.callback(started.stop)
            return started

        yield start


@pytest.fixture(scope='module')
def cluster() -> Iterator[redis.Cluster]:
    """Three masters."""
    started = redis.Cluster()
    yield started
    started.stop()


@pytest.fixture
def opened() -> Iterator[Open]:
    """Open message stores."""
    with contextlib.ExitStack() as stack:

        def open_(uri: str, **options: Any) -> MessageStore:
            store = DRIVER.open_messages(uri, options)
            stack.callback(store.close)
            return store

        yield open_


@pytest.fixture
def records() -> Iterator[OpenRecords]:
    """Open management stores."""
    with contextlib.ExitStack() as stack:

        def open_(uri: str, **options: Any) -> ManagementStore:
            store = DRIVER.open_management(uri, options)
            stack.callback(store.close)
            return store

        yield open_


@pytest.fixture
def store(opened: Open, server: redis.Redis) -> MessageStore:
    """A message store on the shared server."""
    return opened(server.url)


@pytest.fixture
def hand() -> Hand:
    """A clock that the test moves."""
    return Hand()


@pytest.fixture
def queue(store: MessageStore, hand: Hand) -> Probe:
    """A new queue."""
    return Probe(store, hand)
