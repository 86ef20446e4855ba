# SPDX-License-Identifier: Apache-2.0
"""The settings of servers are read once a minute."""

from __future__ import annotations

from typing import Any

import pytest

from zaqar import store_clock
from zaqar.controllers.server_guarantees_cache import (
    FRESH,
    MAX_QUEUES,
    ServerGuaranteesCache,
)
from zaqar.errors import StoreUnavailable
from zaqar.storage.store_guarantees import Guarantees, Order


class Store:
    """A store whose settings are changed."""

    def __init__(self) -> None:
        self.clock = store_clock.Clock(wall=lambda: 7)
        self.setting: bool | None = True
        self.reads = 0

    def guarantees(self, qid: str) -> Guarantees:
        """Return what the present setting promises."""
        self.reads += 1
        if self.setting is None:
            raise StoreUnavailable
        return Guarantees('store', Order.FIFO, self.setting, False, ['x'])


class Timer:
    """A monotonic clock."""

    now = 100.0

    def __call__(self) -> float:
        """Return the seconds that it shows."""
        return self.now


def test_settings_are_a_minute_old_at_most() -> None:
    timer, store = Timer(), Store()
    cache = ServerGuaranteesCache(timer)
    any_store: Any = store

    def promises() -> object:
        shown = cache.read(any_store, 'q').guarantees
        return shown and shown.store_kill

    assert promises() is True
    store.setting = False
    timer.now += FRESH - 0.1
    assert (promises(), store.reads) == (True, 1)
    timer.now += 0.1
    assert (promises(), store.reads) == (False, 2)
    assert cache.read(any_store, 'q').at == 7
    # Another queue may be on another server.
    assert cache.read(any_store, 'r').guarantees
    assert store.reads == 3


def test_a_failure_is_not_remembered() -> None:
    store = Store()
    cache = ServerGuaranteesCache(Timer())
    any_store: Any = store
    store.setting = None
    with pytest.raises(StoreUnavailable):
        cache.read(any_store, 'q')
    store.setting = True
    assert cache.read(any_store, 'q').guarantees


def test_few_queues_are_remembered() -> None:
    store = Store()
    cache = ServerGuaranteesCache(Timer())
    any_store: Any = store
    for number in range(MAX_QUEUES + 1):
        cache.read(any_store, str(number))
    cache.read(any_store, '0')
    assert store.reads == MAX_QUEUES + 2
