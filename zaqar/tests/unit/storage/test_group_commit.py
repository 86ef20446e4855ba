# SPDX-License-Identifier: Apache-2.0
"""Calls that share a commit."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial

import pytest

from zaqar import request_deadline
from zaqar.errors import StoreUnavailable
from zaqar.storage import group_commit
from zaqar.storage.group_commit import (
    MAX_SIZE,
    Batcher,
    Board,
    Sharing,
)

#: Seconds that no test should have to wait.
LONG = 60.0

#: Seconds after which a call is late.
SHORT = 0.05


class Ledger:
    """Work that waits for permission, and remembers its batches."""

    def __init__(
        self,
        timeout: float = LONG,
        size: Callable[[int], int] = lambda item: item,
        owner: Callable[[int], int] = lambda _: 0,
        share: float = group_commit.SHARE,
    ) -> None:
        self.batches: list[list[int]] = []
        self.alone: list[int] = []
        self.begun = threading.Semaphore(0)
        self.permits = threading.Semaphore(0)
        self.failure: Exception | None = None
        self.batcher: Batcher[int, int] = Batcher(
            self._together, self._alone, timeout, size, owner, share=share
        )

    def _together(self, items: Sequence[int]) -> list[int | Sharing]:
        self.batches.append([*items])
        self.begun.release()
        assert self.permits.acquire(timeout=LONG)
        if self.failure is not None:
            raise self.failure
        return [Sharing.DO_ALONE if item < 0 else item * 2 for item in items]

    def _alone(self, item: int) -> int:
        self.alone.append(item)
        if item == -13:
            raise ValueError(item)
        return item * 3


class Caller(threading.Thread):
    """A thread with one item."""

    def __init__(self, call: Callable[[], int]) -> None:
        super().__init__()
        self.result: int | Exception | None = None
        self._call = call
        self.start()

    def run(self) -> None:
        try:
            self.result = self._call()
        except Exception as error:
            self.result = error

    def outcome(self) -> int | Exception | None:
        """Return its result, once there is one."""
        self.join(LONG)
        return self.result


def crowd(
    ledger: Ledger, *items: int, keys: Sequence[str] = ()
) -> list[Caller]:
    """Let a first call begin, and others arrive meanwhile."""
    callers = []
    for place, item in enumerate(items):
        key = keys[place] if keys else None

        def call(item: int = item, key: str | None = key) -> int:
            return ledger.batcher.run(item, key)

        callers.append(Caller(call))
        if place == 0:
            assert ledger.begun.acquire(timeout=LONG)
        else:
            wait_for(ledger.batcher, place + 1)
    return callers


def wait_until(is_reached: Callable[[], bool]) -> None:
    while not is_reached():
        threading.Event().wait(0.001)


def wait_for(batcher: Batcher[int, int], pending: int) -> None:
    wait_until(lambda: batcher.pending >= pending)


def outcomes(callers: Sequence[Caller]) -> list[int | Exception | None]:
    """Return the results of all."""
    return [caller.outcome() for caller in callers]


def test_calls_that_arrive_meanwhile_share_the_next_commit() -> None:
    ledger = Ledger()
    callers = crowd(ledger, 1, 2, 3, 4)
    ledger.permits.release(2)

    assert outcomes(callers) == [2, 4, 6, 8]
    assert ledger.batches == [[1], [2, 3, 4]]
    assert ledger.batcher.pending == 0


@pytest.mark.parametrize(('share', 'count'), [(0.5, 2), (1.0, 3)])
def test_a_batch_waits_for_a_share_of_the_callers(
    monkeypatch: pytest.MonkeyPatch, share: float, count: int
) -> None:
    monkeypatch.setattr(group_commit, 'GATHERING', 0)
    ledger = Ledger(share=share)
    callers = crowd(ledger, 1, 2, 3, 4)
    ledger.permits.release(3)
    assert outcomes(callers) == [2, 4, 6, 8]
    # The last batch had three.
    monkeypatch.setattr(group_commit, 'GATHERING', 1e9)
    items = range(5, 5 + count)
    again = []
    for item in items:
        while ledger.batcher.pending < len(again):
            threading.Event().wait(0.001)
        again.append(Caller(partial(ledger.batcher.run, item)))
    assert outcomes(again) == [item * 2 for item in items]
    assert sorted(ledger.batches.pop()) == [*items]


def test_who_calls_alone_waits_once_at_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ledger = Ledger()
    callers = crowd(ledger, 1, 2, 3)
    ledger.permits.release(4)
    assert outcomes(callers) == [2, 4, 6]
    monkeypatch.setattr(group_commit, 'GATHERING', 0)
    assert ledger.batcher.run(4) == 8
    monkeypatch.setattr(group_commit, 'GATHERING', 1e9)
    begin = time.monotonic()
    assert ledger.batcher.run(5) == 10
    assert time.monotonic() - begin < LONG
    assert ledger.batches[-2:] == [[4], [5]]


def test_keys_do_not_mix_or_wait_for_one_another() -> None:
    ledger = Ledger()
    callers = crowd(ledger, 1, 2, 3, keys=['a', 'b', 'a'])
    ledger.permits.release(3)

    assert outcomes(callers) == [2, 4, 6]
    assert [1] in ledger.batches and [3] in ledger.batches


def test_a_batch_is_limited_in_size() -> None:
    ledger = Ledger()
    half = MAX_SIZE // 2
    callers = crowd(ledger, 1, half, half, 3, 2 * MAX_SIZE, 4)
    ledger.permits.release(5)

    assert None not in outcomes(callers)
    assert ledger.batches == [[1], [half, half], [3], [2 * MAX_SIZE], [4]]


def test_owners_take_turns_where_not_all_fit() -> None:
    ledger = Ledger(
        size=lambda _: MAX_SIZE // 3, owner=lambda item: item // 10
    )
    callers = crowd(ledger, 1, 11, 12, 13, 14, 21, 31)
    ledger.permits.release(3)

    assert None not in outcomes(callers)
    assert ledger.batches == [[1], [11, 21, 31], [12, 13, 14]]


def test_what_cannot_be_shared_is_done_alone() -> None:
    ledger = Ledger()
    callers = crowd(ledger, 1, -13, -2, 4)
    ledger.permits.release(2)

    first, refused, alone, last = outcomes(callers)
    assert (first, alone, last) == (2, -6, 8)
    assert isinstance(refused, ValueError)
    assert sorted(ledger.alone) == [-13, -2]


def test_a_batch_that_fails_is_done_one_by_one() -> None:
    ledger = Ledger()
    ledger.failure = RuntimeError('conflict')
    callers = crowd(ledger, 1, 2, 3)
    ledger.permits.release(2)

    assert outcomes(callers) == [3, 6, 9]


def test_a_store_that_is_away_is_not_tried_again_by_each() -> None:
    ledger = Ledger()
    ledger.failure = StoreUnavailable()
    callers = crowd(ledger, 1, 2, 3)
    ledger.permits.release(2)

    assert {type(result) for result in outcomes(callers)} == {StoreUnavailable}
    assert ledger.alone == []


def test_a_call_does_not_wait_for_a_commit_that_hangs() -> None:
    ledger = Ledger(timeout=0.01)
    first = Caller(lambda: ledger.batcher.run(1))
    assert ledger.begun.acquire(timeout=LONG)
    second = Caller(lambda: ledger.batcher.run(2))
    # It works by itself while the first one hangs.
    assert ledger.begun.acquire(timeout=LONG)
    ledger.permits.release(2)

    assert outcomes([first, second]) == [2, 4]
    assert ledger.batches == [[1], [2]]


@pytest.mark.parametrize('item', [1, 2])
def test_nothing_is_shared_without_a_timeout(item: int) -> None:
    ledger = Ledger(timeout=0)
    ledger.permits.release()

    assert ledger.batcher.run(item) == item * 2
    assert ledger.batches == [[item]]


def test_a_late_call_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_commit, 'LATE', LONG)
    ledger = Ledger()
    first = Caller(lambda: ledger.batcher.run(1))
    assert ledger.begun.acquire(timeout=LONG)

    def late() -> int:
        with request_deadline.within(LONG / 2):
            return ledger.batcher.run(2)

    callers = [Caller(late)]
    for place in (2, 3):
        wait_for(ledger.batcher, place)
        if place == 2:
            callers.append(Caller(lambda: ledger.batcher.run(3)))
    ledger.permits.release()
    assert first.outcome() == 2
    ledger.failure = StoreUnavailable()
    ledger.permits.release()

    lost, alone = outcomes(callers)
    assert isinstance(lost, StoreUnavailable)
    assert alone == 9


def test_a_late_call_has_the_result_of_its_batch() -> None:
    late_at: list[float] = []
    begun = threading.Semaphore(0)

    def in_turn(first: int, board: Board[int]) -> list[int | Sharing]:
        begun.release()
        wait_for(batcher, 2)
        items = board(lambda _: True)
        wait_until(lambda: time.monotonic() > late_at[0] + SHORT)
        return [item * 2 for item in items]

    batcher = Batcher[int, int](
        lambda items: [-1 for _ in items], abs, LONG, in_turn=in_turn
    )

    def late() -> int:
        with request_deadline.within(SHORT):
            late_at.append(request_deadline.cap(math.inf))
            return batcher.run(2)

    first = Caller(lambda: batcher.run(1))
    assert begun.acquire(timeout=LONG)
    assert outcomes([first, Caller(late)]) == [2, 4]


class Ferry(Ledger):
    """A ledger whose first item waits for permission, then takes others."""

    def __init__(self) -> None:
        super().__init__()
        self.batcher = Batcher(
            self._together, self._alone, LONG, in_turn=self._in_turn
        )

    def _in_turn(self, first: int, board: Board[int]) -> list[int | Sharing]:
        self.begun.release()
        assert self.permits.acquire(timeout=LONG)
        if first == -13:
            raise StoreUnavailable
        items = board(lambda item: item < 100)
        # Once: a repetition has the same.
        assert board(lambda _: True) == items
        self.batches.append([*items])
        return [item * 2 for item in items]


def test_who_comes_while_the_first_one_waits_goes_with_it() -> None:
    ferry = Ferry()
    callers = crowd(ferry, 1, 200, 2, 3)
    ferry.permits.release(2)

    assert outcomes(callers) == [2, 400, 4, 6]
    assert ferry.batches == [[1, 2, 3], [200]]


def test_a_first_one_that_waits_in_vain_fails_no_other() -> None:
    ferry = Ferry()
    callers = crowd(ferry, -13, 2, 3)
    ferry.permits.release(2)

    failed, *others = outcomes(callers)
    assert isinstance(failed, StoreUnavailable)
    assert others == [4, 6]
    assert ferry.batches == [[2, 3]]
