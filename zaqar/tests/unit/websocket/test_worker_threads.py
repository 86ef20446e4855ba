# SPDX-License-Identifier: Apache-2.0
"""Threads that wait for stores, so that the loop need not."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any

import pytest

from zaqar import request_deadline
from zaqar.transport.websocket.worker_threads import MOMENT, Workers

PATIENCE = 60.0


def _with(
    count: int, test: Callable[[Workers, list[Any]], Any]
) -> tuple[Any, list[Any]]:
    """Run something beside a number of threads; return what ended."""
    ended: list[Any] = []

    async def run() -> Any:
        workers = Workers(count, asyncio.get_running_loop())
        try:
            async with asyncio.timeout(PATIENCE):
                return await test(workers, ended)
        finally:
            await asyncio.to_thread(workers.close, PATIENCE)

    return asyncio.run(run()), ended


async def _until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def test_everything_asked_for_is_done() -> None:
    async def test(workers: Workers, ended: list[Any]) -> None:
        for number in range(1000):
            workers.submit(lambda number=number: number, ended.append)
        await _until(lambda: len(ended) == 1000)

    _, ended = _with(4, test)
    assert sorted(ended) == list(range(1000))


def test_results_are_given_on_the_loop() -> None:
    async def test(workers: Workers, ended: list[Any]) -> None:
        def done(result: Any) -> None:
            ended.append(threading.current_thread())

        workers.submit(int, done)
        await _until(lambda: bool(ended))

    _, ended = _with(2, test)
    assert ended == [threading.main_thread()]


@pytest.mark.parametrize('count', [1, 3, 16])
def test_so_many_wait_at_a_time_and_no_more(count: int) -> None:
    async def test(workers: Workers, ended: list[Any]) -> int:
        go_on = threading.Event()
        begun: list[int] = []

        def wait() -> None:
            begun.append(1)
            go_on.wait(PATIENCE)

        for _ in range(count + 5):
            workers.submit(wait, ended.append)
        await _until(lambda: len(begun) >= count)
        # More would have begun by now: it takes a moment for each.
        await asyncio.sleep(0.1)
        number = len(begun)
        go_on.set()
        await _until(lambda: len(ended) == count + 5)
        return number

    assert _with(count, test)[0] == count


def test_one_that_waits_holds_up_nobody() -> None:
    async def test(workers: Workers, ended: list[Any]) -> None:
        go_on = threading.Event()
        for _ in range(8):
            workers.submit(lambda: go_on.wait(PATIENCE))
        for _ in range(100):
            workers.submit(int, ended.append)
        await _until(lambda: len(ended) == 100)
        go_on.set()

    _with(10, test)


def test_a_result_is_not_kept_back_by_work_that_waits() -> None:
    async def test(workers: Workers, ended: list[Any]) -> None:
        go_on = threading.Event()
        workers.submit(lambda: threading.Event().wait(0.01), ended.append)
        workers.submit(lambda: go_on.wait(PATIENCE))
        await _until(lambda: bool(ended))
        go_on.set()

    _with(1, test)


def test_a_failure_ends_alone() -> None:
    async def test(workers: Workers, ended: list[Any]) -> None:
        workers.submit(lambda: 1 / 0, ended.append)
        workers.submit(int, ended.append)
        await _until(lambda: bool(ended))
        with pytest.raises(ZeroDivisionError):
            await workers.run(lambda: 1 / 0)
        assert await workers.run(lambda: 5) == 5

    assert _with(1, test)[1] == [0]


def test_what_was_asked_for_is_done_before_the_end() -> None:
    done: list[int] = []

    async def test(workers: Workers, ended: list[Any]) -> None:
        for _ in range(200):
            workers.submit(lambda: done.append(1))

    _with(3, test)
    assert len(done) == 200


def test_owners_of_work_take_turns() -> None:
    async def test(workers: Workers, ended: list[Any]) -> None:
        go_on = threading.Event()
        workers.submit(lambda: go_on.wait(PATIENCE), owner='first')
        for number in range(50):
            for _ in range(3):
                workers.submit(lambda: 'many', ended.append, 'many')
            workers.submit(lambda n=number: n, ended.append, f'one {number}')
        go_on.set()
        await _until(lambda: len(ended) == 200)

    _, ended = _with(1, test)
    # Each had its turn before the second round of the one with many.
    assert ended[:51] == ['many', *range(50)]
    assert ended[51:] == ['many'] * 149


def test_no_thread_is_called_for_an_owner_that_has_its_share(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    called: list[int] = []

    class Calls(queue.SimpleQueue[bool]):
        def put(self, *arguments: Any, **options: Any) -> None:
            called.append(1)
            super().put(*arguments, **options)

    monkeypatch.setattr(queue, 'SimpleQueue', Calls)

    async def test(workers: Workers, ended: list[Any]) -> None:
        go_on = threading.Event()
        begun: list[int] = []

        def wait() -> None:
            begun.append(1)
            go_on.wait(PATIENCE)

        for _ in range(20):
            workers.submit(wait, ended.append, 'many')
        await _until(lambda: len(begun) == 6)
        before = len(called)
        for _ in range(3):
            workers.submit(wait, ended.append, 'many')
            # Meanwhile it has looked who waits, more than once.
            await asyncio.sleep(4 * MOMENT)
        assert len(called) == before
        workers.submit(int, ended.append, 'one')
        await _until(lambda: bool(ended))
        go_on.set()
        await _until(lambda: len(ended) == 24)

    _with(8, test)


def test_no_owner_has_all_threads() -> None:
    async def test(workers: Workers, ended: list[Any]) -> None:
        go_on = threading.Event()
        for _ in range(20):
            workers.submit(lambda: go_on.wait(PATIENCE), ended.append, 'many')
        # Done while all that the others may have is waiting.
        for _ in range(100):
            workers.submit(int, ended.append, 'one')
        await _until(lambda: len(ended) == 100)
        go_on.set()
        await _until(lambda: len(ended) == 120)

    _with(8, test)


def test_the_time_that_work_waits_is_part_of_its_deadline() -> None:
    async def test(workers: Workers, ended: list[Any]) -> None:
        may_end = threading.Event()
        workers.submit(lambda: may_end.wait(PATIENCE))
        workers.submit(_time_left, ended.append)
        await asyncio.sleep(0.1)
        may_end.set()
        workers.submit(_time_left, ended.append)
        await _until(lambda: len(ended) == 2)

    _, (late, timely) = _with(1, test)
    assert late < request_deadline.REQUEST - 0.1
    assert late < timely


def _time_left() -> float:
    token = request_deadline.begin()
    try:
        return request_deadline.left(100.0)
    finally:
        request_deadline.end(token)
