# SPDX-License-Identifier: Apache-2.0
"""Tokens that a process remembers."""

from __future__ import annotations

import pytest

from zaqar.transport import local_token_cache
from zaqar.transport.local_token_cache import LocalTokenCache

DATA = {'token': {'project': {'id': 'p'}}}


class Rig:
    """A cache with a timer of its own."""

    def __init__(self, seconds: int) -> None:
        self.now = 7.0
        self.cache = LocalTokenCache(seconds, lambda: self.now)


def test_a_token_is_known_for_so_long_since_it_was_validated() -> None:
    rig = Rig(300)
    assert rig.cache.get('t') is None
    rig.cache.set('t', DATA)
    rig.now += 299.9
    # To look at it makes it no younger, and nobody can change it.
    rig.cache.get('t').clear()
    assert rig.cache.get('t') == DATA
    assert rig.cache.get('u') is None
    rig.now += 0.1
    assert rig.cache.get('t') is None


@pytest.mark.parametrize(('seconds', 'known'), [(-1, None), (0, DATA)])
def test_never_and_for_ever(seconds: int, known: object) -> None:
    rig = Rig(seconds)
    rig.cache.set('t', DATA)
    rig.now += 1e9
    assert rig.cache.get('t') == known


def test_the_oldest_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_token_cache, 'CACHED', 2)
    rig = Rig(300)
    for token in 'abac':
        rig.cache.set(token, DATA)
    assert [rig.cache.get(token) for token in 'abc'] == [DATA, None, DATA]
