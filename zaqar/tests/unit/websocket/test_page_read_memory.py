# SPDX-License-Identifier: Apache-2.0
"""The memory of pages that are read at a time."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from zaqar.transport.websocket import page_read_memory
from zaqar.transport.websocket.page_read_memory import MOST_READ, PageReads


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
    monkeypatch.setattr(page_read_memory, 'MOST_READ', 10)
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
