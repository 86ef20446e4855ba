# SPDX-License-Identifier: Apache-2.0
"""Caches have room for so much and no more."""

from __future__ import annotations

import threading

from zaqar.bounded_cache import BoundedCache


def test_the_oldest_entry_makes_way() -> None:
    cache: BoundedCache[str, int] = BoundedCache(2)
    cache['a'] = 1
    cache['b'] = 2
    cache['a'] = 3
    assert dict(cache) == {'a': 3, 'b': 2}
    cache['c'] = 4
    assert dict(cache) == {'b': 2, 'c': 4}
    assert cache.pop('b', None) == 2
    cache['d'] = 5
    assert dict(cache) == {'c': 4, 'd': 5}


def test_threads_share_a_cache_without_a_lock() -> None:
    cache: BoundedCache[tuple[int, int], int] = BoundedCache(50)
    errors: list[Exception] = []

    def work(number: int) -> None:
        try:
            for count in range(2000):
                cache[number, count] = count
                cache.get((number, count - 1))
                cache.pop((number, count - 2), None)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=[n]) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(cache) <= 50
