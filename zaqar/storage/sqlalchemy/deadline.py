# SPDX-License-Identifier: Apache-2.0
"""An end to the wait for a server that has gone silent.

A frozen server keeps its connections open: nothing but a clock of our own
tells that it will not answer.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Generator
from typing import Any

#: Shortest wait, in seconds; PyMySQL takes 0 for "for ever".
SHORTEST = 0.1


def watched(dbapi: Any) -> Any:
    """Return psycopg's class of connections with an end to their waits."""
    return _watched(dbapi.Connection, dbapi.OperationalError)


@functools.cache
def _watched(connection_class: Any, error_class: Any) -> Any:
    class SilentError(error_class):  # type: ignore[misc]
        # "Connection failure".
        sqlstate = '08006'

    class Connection(connection_class):  # type: ignore[misc]
        #: By the monotonic clock.
        deadline = math.inf

        def wait(self, steps: Any, *args: Any, **kwargs: Any) -> Any:
            limited = _limited(steps, self.deadline, SilentError)
            return super().wait(limited, *args, **kwargs)

    return Connection


def _limited(
    steps: Generator[Any, Any, Any], deadline: float, error: Any
) -> Generator[Any, Any, Any]:
    """Pass on what psycopg waits for, until the deadline.

    Every tenth of a second without an answer it is told that nothing is
    ready.
    """
    try:
        wanted = next(steps)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() >= deadline:
                raise error('no answer in time')
            wanted = steps.send(ready)
    except StopIteration as end:
        return end.value


def limit(connection: Any, dialect: str, deadline: float) -> None:
    """Let a driver's connection wait no longer than to a moment."""
    if dialect == 'postgresql':
        connection.deadline = deadline
        return
    # PyMySQL offers these for new connections only.
    left = max(deadline - time.monotonic(), SHORTEST)
    connection._read_timeout = left
    connection._write_timeout = left
