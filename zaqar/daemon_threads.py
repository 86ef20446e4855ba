# SPDX-License-Identifier: Apache-2.0
"""Threads that the end of a process does not wait for.

Look-ups of names, mail servers and Keystone may hang. Python joins the threads
of its own pools at exit, and so would hang as well.
"""

import contextlib
import functools
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, ParamSpec, TypeVar

P = ParamSpec('P')
T = TypeVar('T')

_Work = queue.SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]


class DaemonThreads(Executor):
    """A pool of at most ``count`` threads, for use by one thread."""

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._name = name
        self._started = 0
        self._begin()

    def submit(
        self, function: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs
    ) -> Future[T]:
        """Have a function called in a thread.

        :raises RuntimeError: no thread can be started; it will not be called
        """
        future: Future[T] = Future()
        is_idle = self._idle.acquire(blocking=False)
        if not is_idle and self._started < self._count:
            number: int = self._started + 1
            threading.Thread(
                target=_live,
                args=(self._work, self._idle),
                name=f'{self._name}-{number}',
                daemon=True,
            ).start()
            self._started = number
        self._work.put((future, functools.partial(function, *args, **kwargs)))
        return future

    def shutdown(
        self, wait: bool = False, *, cancel_futures: bool = True
    ) -> None:
        """Cancel what has not begun, and wait for nothing.

        Who is used after that begins anew.
        """
        with contextlib.suppress(queue.Empty):
            while (item := self._work.get_nowait()) is not None:
                item[0].cancel()
        for _ in range(self._started):
            self._work.put(None)
        self._begin()

    def _begin(self) -> None:
        self._work: _Work = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._started = 0


def _live(work: _Work, idle: threading.Semaphore) -> None:
    while (item := work.get()) is not None:
        future, call = item
        if future.set_running_or_notify_cancel():
            try:
                result = call()
            except BaseException as error:
                future.set_exception(error)
            else:
                future.set_result(result)
        idle.release()
