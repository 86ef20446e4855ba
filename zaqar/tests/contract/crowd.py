# SPDX-License-Identifier: Apache-2.0
"""Work done by many threads at once."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Item = TypeVar('Item')
Result = TypeVar('Result')

#: Seconds after which a crowd that is still at work is taken for stuck. The
#: server that stands in for MongoDB takes a tenth of a second for a claim.
PATIENCE = 240.0


def each(
    work: Callable[[Item], Result], items: Iterable[Item]
) -> list[Result]:
    """Start work on all items at the same moment; return the results.

    When all have ended, the first error is raised.
    """
    todo = list(items)
    start = threading.Barrier(len(todo))
    results: dict[int, Result] = {}
    errors: list[Exception] = []

    def run(place: int) -> None:
        start.wait()
        try:
            results[place] = work(todo[place])
        except Exception as error:
            errors.append(error)

    threads = [
        threading.Thread(target=run, args=(place,), daemon=True)
        for place in range(len(todo))
    ]
    for thread in threads:
        thread.start()
    stuck = _stuck(threads)
    if errors:
        raise errors[0]
    assert not stuck, 'threads are stuck'
    return [results[place] for place in range(len(todo))]


def _stuck(threads: Iterable[threading.Thread]) -> bool:
    end = time.monotonic() + PATIENCE
    for thread in threads:
        thread.join(max(0.0, end - time.monotonic()))
    return any(thread.is_alive() for thread in threads)


def timed(work: Callable[[], object]) -> tuple[float, Exception | None]:
    """Return how many seconds a work took, and how it failed."""
    begun = time.monotonic()
    try:
        work()
    except Exception as error:
        return time.monotonic() - begun, error
    return time.monotonic() - begun, None


@contextlib.contextmanager
def starvation() -> Iterator[Callable[[], float]]:
    """Measure for how many seconds we got no processor, beside other work.

    A thread adds up by how much it wakes late. What we have computed
    meanwhile, which delays it too, is taken off: it is no excuse.
    """
    over = threading.Event()
    late = 0.0
    busy = time.process_time()

    def watch() -> None:
        nonlocal late
        due = time.monotonic() + 0.01
        while not over.wait(max(0.0, due - time.monotonic())):
            late += time.monotonic() - due
            due = time.monotonic() + 0.01

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield lambda: max(0.0, late - (time.process_time() - busy))
    finally:
        over.set()
        thread.join()


@contextlib.contextmanager
def ends_within(seconds: float) -> Iterator[None]:
    """Check that something ends in time, but for what other work takes."""
    begun = time.monotonic()
    with starvation() as starved:
        yield
        assert time.monotonic() - begun < seconds + starved()
