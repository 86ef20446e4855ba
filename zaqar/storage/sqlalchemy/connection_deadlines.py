# SPDX-License-Identifier: Apache-2.0
"""Deadlines for connections to servers that stop responding.

A frozen server keeps its connections open: only a clock on our side ends the
wait.
"""

import functools
import math
import time
from collections.abc import Callable, Generator
from typing import Any

from zaqar import request_deadline
from zaqar.storage.sqlalchemy.fast_pymysql_results import with_fast_results

#: Shortest wait, in seconds; PyMySQL takes 0 for "for ever".
SHORTEST = 0.1


def psycopg_connection(dbapi: Any) -> Any:
    """Return psycopg's connection class with a deadline for its waits."""
    return _psycopg_connection(dbapi.Connection, dbapi.OperationalError)


@functools.cache
def pymysql_connection(base_class: Any) -> Any:
    """Return PyMySQL's connection class with a deadline for statements."""
    contexts: list[Any] = []

    fast_class: Any = with_fast_results(base_class)

    class DeadlineConnection(fast_class):  # type: ignore[misc]
        #: By the monotonic clock.
        deadline = math.inf

        #: Seconds for the latest answer.
        allowed = math.inf

        def query(self, sql: Any, unbuffered: bool = False) -> Any:
            self._limit()
            return super().query(sql, unbuffered)

        def next_result(self, unbuffered: bool = False) -> Any:
            # The answers to a packet of several statements come one by one.
            self._limit()
            return super().next_result(unbuffered)

        def _create_ssl_ctx(self, sslp: Any) -> Any:
            if sslp:
                return super()._create_ssl_ctx(sslp)
            # For TLS if the server has it, unverified. PyMySQL 1.2 loads all
            # certificates of the system for it, for each connection.
            if not contexts:
                contexts.append(super()._create_ssl_ctx(sslp))
            return contexts[0]

        def _limit(self) -> None:
            if self.deadline == math.inf:
                return
            # There are arguments for these, for new connections only. In
            # steps: the library sets the socket anew for another value.
            left = math.ceil((self.deadline - time.monotonic()) * 8) / 8
            self.allowed = max(left, SHORTEST)
            self._read_timeout = self._write_timeout = self.allowed

    return DeadlineConnection


@functools.cache
def _psycopg_connection(base_class: Any, error_class: Any) -> Any:
    class NoAnswerError(error_class):  # type: ignore[misc]
        # "Connection failure".
        sqlstate = '08006'

    class DeadlineConnection(base_class):  # type: ignore[misc]
        #: By the monotonic clock.
        deadline = math.inf

        #: Seconds for the latest answer.
        allowed = math.inf

        #: Whether another server has taken the place of its own.
        is_superseded: Callable[[], bool] = staticmethod(lambda: False)

        @classmethod
        def _connect_gen(cls, *args: Any, **options: Any) -> Any:
            # The library has a limit for each host, two seconds at least.
            end = request_deadline.cap(math.inf)
            if time.monotonic() >= end:
                raise NoAnswerError('no time is left to connect')
            steps = super()._connect_gen(*args, **options)
            return _limited(
                steps, lambda: time.monotonic() >= end, NoAnswerError
            )

        def wait(self, steps: Any, *args: Any, **kwargs: Any) -> Any:
            self.allowed = self.deadline - time.monotonic()
            limited = _limited(steps, self._is_over, NoAnswerError)
            try:
                return super().wait(limited, *args, **kwargs)
            except NoAnswerError:
                # An open one cannot leave its pipeline while answers are due;
                # psycopg raises that instead, as if the call were at fault.
                self.close()
                raise

        def _is_over(self) -> bool:
            return time.monotonic() >= self.deadline or self.is_superseded()

    return DeadlineConnection


def _limited(
    steps: Generator[Any, Any, Any], is_over: Callable[[], bool], error: Any
) -> Generator[Any, Any, Any]:
    """Yield what psycopg waits for, until its time is over.

    Every tenth of a second without an answer it is resumed with nothing
    ready; psycopg before 3.2 resumes it for answers only.
    """
    try:
        wanted = next(steps)
        while True:
            ready = yield wanted
            if not ready and is_over():
                raise error('no answer in time')
            wanted = steps.send(ready)
    except StopIteration as end:
        return end.value
