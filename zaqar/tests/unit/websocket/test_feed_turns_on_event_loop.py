# SPDX-License-Identifier: Apache-2.0
"""Turns of feeds on the loop that they share."""

from __future__ import annotations

import collections
from collections.abc import Callable

import pytest

from zaqar.transport.websocket.feed_turns_on_event_loop import TURN, LoopTurns


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
