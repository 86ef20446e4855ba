# SPDX-License-Identifier: Apache-2.0
"""What is done before the first request."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from zaqar.cmd.warm_up import warm_up
from zaqar.errors import StoreUnavailable


def test_a_pool_that_is_away_does_not_keep_the_others_cold() -> None:
    warm = []

    def away() -> Any:
        raise StoreUnavailable

    def pool(name: str) -> Callable[[], Any]:
        return lambda: SimpleNamespace(ping=lambda: warm.append(name))

    openers = {'a': pool('a'), 'b': away, 'c': pool('c')}
    catalogue = SimpleNamespace(
        management=SimpleNamespace(ping=lambda: warm.append('')),
        openers=lambda: openers,
    )
    service: Any = SimpleNamespace(catalogue=catalogue)
    warm_up(service, lambda *_: [b''])
    assert warm == ['', 'a', 'c']
