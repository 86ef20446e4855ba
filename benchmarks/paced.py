# SPDX-License-Identifier: Apache-2.0
"""Clients that ask at a modest pace, and how long they wait for answers."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Sequence

from benchmarks import load, report
from benchmarks.load import Step


class Client(threading.Thread):
    """Sends some requests in turns, at a pace, until stopped.

    :param pace: seconds between two requests
    :param delay: seconds before the first one
    :ivar latencies: seconds of each request
    :ivar failures: requests without the answer they should have had
    """

    def __init__(
        self,
        port: int,
        steps: Sequence[Step],
        *,
        pace: float,
        delay: float,
        connect: type[load.Connection] = load.Connection,
    ) -> None:
        super().__init__()
        self.latencies: list[float] = []
        self.failures = 0
        self._port = port
        self._steps = itertools.cycle(steps)
        self._pace = pace
        self._delay = delay
        self._connect = connect
        self._stopped = threading.Event()

    def run(self) -> None:
        """Ask until stopped; a connection that failed is made anew."""
        due = time.monotonic() + self._delay
        connection: load.Connection | None = None
        while not self._stopped.wait(max(0.0, due - time.monotonic())):
            began = time.perf_counter()
            try:
                if connection is None:
                    connection = self._connect(self._port)
                connection.exchange(next(self._steps))
            except (OSError, load.WrongAnswerError):
                self.failures += 1
                if connection is not None:
                    connection.close()
                connection = None
            self.latencies.append(time.perf_counter() - began)
            due = max(due + self._pace, time.monotonic())
        if connection is not None:
            connection.close()

    def stop(self) -> None:
        """Return when its last request has been answered."""
        self._stopped.set()
        self.join()


def run(clients: Sequence[Client], seconds: float) -> None:
    """Have clients ask for some time."""
    for client in clients:
        client.start()
    time.sleep(seconds)
    for client in clients:
        client.stop()


def latencies(clients: Sequence[Client]) -> list[float]:
    """Return the seconds of all requests, the shortest first."""
    return sorted(one for client in clients for one in client.latencies)


def p99(clients: Sequence[Client]) -> float:
    """Return the seconds that 99 of 100 requests stay below."""
    return report.quantile(latencies(clients), 0.99)


def cells(clients: Sequence[Client]) -> list[str]:
    """Return how many requests there were and failed, p50 and p99 in ms."""
    seconds = latencies(clients)
    return [
        str(len(seconds)),
        str(sum(client.failures for client in clients)),
        f'{seconds[len(seconds) // 2] * 1e3:.1f}',
        f'{p99(clients) * 1e3:.1f}',
    ]
