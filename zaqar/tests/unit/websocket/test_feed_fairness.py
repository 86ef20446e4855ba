# SPDX-License-Identifier: Apache-2.0
"""What feeds of queues share: the loop, and memory for pages."""

from __future__ import annotations

import collections
from collections.abc import Callable

import pytest

from zaqar.transport.websocket import feed_fairness
from zaqar.transport.websocket.feed_fairness import (
    MOST_READ,
    TURN,
    LoopTurns,
    PageReads,
)


class Loop:
    """Calls what is wanted by then, turn by turn."""

    def __init__(self) -> None:
        self._calls: collections.deque[Callable[[], object]] = (
            collections.deque()
        )

    def call_soon(self, call: Callable[[], object]) -> None:
        self._calls.append(call)

    def turn(self) -> None:
        for _ in range(len(self._calls)):
            self._calls.popleft()()


@pytest.mark.parametrize('cost', [TURN // 4, 3 * TURN])
def test_others_have_their_turn_in_between(cost: int) -> None:
    loop = Loop()
    turns = LoopTurns(loop)
    served: list[int] = []

    def serve(number: int) -> Callable[[], int]:
        def serve_one() -> int:
            served.append(number)
            return cost

        return serve_one

    for number in range(100):
        turns.add(serve(number))
    while len(served) < 100:
        before = len(served)
        loop.turn()
        assert 0 < (len(served) - before) * cost <= max(TURN, cost)
    assert served == list(range(100))
    loop.turn()
    assert len(served) == 100


def test_what_fails_does_not_keep_others_from_their_turn() -> None:
    loop = Loop()
    turns = LoopTurns(loop)
    served: list[str] = []

    def fail() -> int:
        raise RuntimeError

    def serve() -> int:
        served.append('x')
        return 1

    turns.add(fail)
    turns.add(serve)
    loop.turn()
    turns.add(serve)
    loop.turn()
    assert served == ['x', 'x']


def test_what_is_served_again_comes_behind_others() -> None:
    loop = Loop()
    turns = LoopTurns(loop)
    served: list[str] = []

    def again(name: str) -> Callable[[], int]:
        def serve() -> int:
            served.append(name)
            if len(served) < 20:
                turns.add(again(name))
            return TURN // 2

        return serve

    turns.add(again('a'))
    turns.add(again('b'))
    for _ in range(10):
        loop.turn()
    assert served[:6] == ['a', 'b', 'a', 'b', 'a', 'b']


def test_pages_that_are_read_have_a_bounded_size() -> None:
    reads = PageReads()
    begun: list[str] = []
    size = MOST_READ // 4
    for number in range(6):
        name = f'a{number}'
        reads.begin('a', size, lambda name=name: begun.append(name))  # type: ignore[misc]
    reads.begin('b', size, lambda: begun.append('b0'))
    assert begun == ['a0', 'a1', 'a2', 'a3']
    reads.end(size)
    reads.end(size)
    # Projects take turns.
    assert sorted(begun[4:]) == ['a4', 'b0']
    reads.end(size)
    assert begun[6:] == ['a5']


def test_a_page_that_is_too_large_is_read_alone() -> None:
    reads = PageReads()
    begun: list[int] = []
    for number in range(3):
        reads.begin(
            'a',
            2 * MOST_READ,
            lambda number=number: begun.append(number),  # type: ignore[misc]
        )
    assert begun == [0]
    for _ in range(2):
        reads.end(2 * MOST_READ)
    assert begun == [0, 1, 2]


def test_a_read_may_end_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_fairness, 'MOST_READ', 10)
    reads = PageReads()
    begun: list[int] = []

    def read(number: int) -> Callable[[], None]:
        def begin() -> None:
            begun.append(number)
            reads.end(10)

        return begin

    for number in range(5):
        reads.begin('a', 10, read(number))
    assert begun == list(range(5))
