# SPDX-License-Identifier: Apache-2.0
"""So many connections that they are not even told that there are too many."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from zaqar.options_as_dataclass_fields import networks
from zaqar.tests.unit.websocket.bare import Loop
from zaqar.tests.unit.websocket.test_slow_readers import FrameHandler, House
from zaqar.transport.websocket.connection_limits import REFUSED

MOST = 5


@pytest.fixture
def loop() -> Iterator[Loop]:
    started = Loop()
    yield started
    started.close()


@pytest.fixture
def proves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everybody has to authenticate."""
    monkeypatch.setattr(FrameHandler.authenticator, 'proves', True)


def _connected(loop: Loop, **settings: Any) -> int:
    """Return how many of many connections are let in, or told why not."""
    house = House(loop, **settings)
    connections = [house.connect() for _ in range(MOST + REFUSED + 10)]
    return sum(not one.is_cut for one in connections)


def test_there_are_no_more_than_can_be_refused(loop: Loop) -> None:
    assert _connected(loop, max_connections=MOST) == MOST + REFUSED
    assert _connected(loop, max_connections=0) == MOST + REFUSED + 10


def test_nor_of_one_address(loop: Loop, proves: None) -> None:
    limit = {'max_unauthenticated_per_peer': MOST}
    assert _connected(loop, **limit) == MOST + REFUSED
    proxies = networks(['127.0.0.1'])
    assert _connected(loop, **limit, trusted_proxies=proxies) == (
        MOST + REFUSED + 10
    )


def test_an_address_may_have_any_number_where_nobody_proves(
    loop: Loop,
) -> None:
    count = _connected(loop, max_unauthenticated_per_peer=MOST)
    assert count == MOST + REFUSED + 10
