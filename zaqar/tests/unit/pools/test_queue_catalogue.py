# SPDX-License-Identifier: Apache-2.0
"""Queues that a process remembers."""

from __future__ import annotations

import tracemalloc
from typing import Any

import pytest

from zaqar.objects import Record, Scope
from zaqar.pools import queue_record_cache
from zaqar.pools.queue_catalogue import Catalogue


class LargeRecords:
    """A management store of queues with much metadata."""

    def __init__(self) -> None:
        self.read = 0

    def get(self, kind: str, parent: str, name: str) -> Record:
        self.read += 1
        data = {'qid': name, 'metadata': {'a': 'a' * 60_000}}
        return Record(name, data, 1)


def test_what_is_not_fresh_takes_no_memory() -> None:
    records: Any = LargeRecords()
    now = 0.0
    catalogue = Catalogue(records, records, timer=lambda: now)
    first = Scope('p', 'first')
    tracemalloc.start()
    try:
        for number in range(200):
            assert catalogue.find(Scope('p', f'q{number}'))
            # Read again: it stays, and holds up none that came later.
            assert catalogue.find(first)
            now += 0.1
        read = records.read
        assert catalogue.find(first)
        assert records.read == read
        now += queue_record_cache.FRESH
        assert catalogue.find(Scope('p', 'last'))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 2**20


class PingedStore:
    """A store on a server."""

    def __init__(self, server: object) -> None:
        self.server = server
        self.pings = 0

    def ping(self) -> None:
        self.pings += 1


@pytest.mark.parametrize(
    ('one', 'other', 'pings'),
    [('a', 'a', 1), ('a', 'b', 2), (None, None, 2), (None, 'a', 2)],
)
def test_a_server_is_pinged_once(one: Any, other: Any, pings: int) -> None:
    stores: list[Any] = [PingedStore(one), PingedStore(other)]
    Catalogue(*stores).ping()
    assert sum(store.pings for store in stores) == pings
