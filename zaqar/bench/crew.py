# SPDX-License-Identifier: Apache-2.0
"""The processes and threads of a run.

All workers are connected and warm before the clocks start, in the same
moment; what starting them took is in no figure.
"""

from __future__ import annotations

import multiprocessing
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from zaqar.bench.client import TIMEOUT, Client, Failed, HttpClient
from zaqar.bench.roles import ROLES, Load, Tally, Worker
from zaqar.bench.sockets import SocketClient
from zaqar.errors import ConfigurationError, ZaqarError

# Not inherited: a forked child would share the parent's sockets.
_CONTEXT = multiprocessing.get_context('spawn')

#: Seconds for processes to start and workers to connect.
PATIENCE = 60.0


class RunFailed(ZaqarError):
    """The load could not be put on."""


@dataclass(frozen=True)
class Plan:
    """A whole run.

    :ivar crews: workers of each process, with their role
    :ivar seconds: how long is measured
    :ivar warm_up: seconds before that
    """

    url: str
    headers: Mapping[str, str]
    crews: Sequence[tuple[str, int]]
    load: Load
    seconds: float
    warm_up: float

    @property
    def workers(self) -> int:
        """Return how many there are in all."""
        return sum(count for _, count in self.crews)


@dataclass(frozen=True)
class Result:
    """What one worker says at its end.

    :ivar seconds: from the start of the clocks to its last answer
    :ivar trouble: why it could not begin; '' if it did
    """

    role: str
    seconds: float
    tally: Tally
    trouble: str = ''


def run(plan: Plan, tick: Callable[[float], None]) -> Sequence[Result]:
    """Put the load on and return the results of all workers.

    :param tick: called about ten times a second with the seconds gone
    :raises RunFailed: a worker could not connect
    """
    gate = _CONTEXT.Barrier(plan.workers + 1)
    results: Any = _CONTEXT.Queue()
    processes = [
        _CONTEXT.Process(
            target=_process, args=(plan, role, count, gate, results)
        )
        for role, count in plan.crews
    ]
    for process in processes:
        process.start()
    try:
        _conduct(plan, gate, tick)
        answers = [
            results.get(timeout=PATIENCE + TIMEOUT)
            for _ in range(plan.workers)
        ]
    finally:
        for process in processes:
            process.join(timeout=5)
            process.kill()
    trouble = {item.trouble for item in answers if item.trouble}
    if trouble:
        raise RunFailed('; '.join(sorted(trouble)))
    return answers


def _conduct(plan: Plan, gate: Any, tick: Callable[[float], None]) -> None:
    """Open the gate twice, then watch the time."""
    try:
        gate.wait(PATIENCE)
        gate.wait(PATIENCE + plan.warm_up)
    except threading.BrokenBarrierError:
        return
    began = time.monotonic()
    while (gone := time.monotonic() - began) < plan.seconds:
        tick(gone)
        time.sleep(min(0.1, plan.seconds - gone))
    tick(plan.seconds)


def _process(
    plan: Plan, role: str, count: int, gate: Any, results: Any
) -> None:
    threads = [
        threading.Thread(target=_worker, args=(plan, role, gate, results))
        for _ in range(count)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _worker(plan: Plan, role: str, gate: Any, results: Any) -> None:
    try:
        client = connect(plan.url, plan.headers)
        client.connect()
        result = _work(plan, ROLES[role](client, plan.load), gate)
        client.close()
    except threading.BrokenBarrierError:
        result = Result(role, 0, Tally())
    except (Failed, ZaqarError) as error:
        gate.abort()
        result = Result(role, 0, Tally(), f'{plan.url}: {error}')
    results.put(result)


def connect(url: str, headers: Mapping[str, str]) -> Client:
    """Return a client with a ``Client-ID`` of its own, not yet connected.

    :raises ConfigurationError: the URL has another scheme
    """
    own = {**headers, 'Client-ID': str(uuid.uuid4())}
    scheme = urlsplit(url).scheme
    if scheme in ('http', 'https'):
        return HttpClient(url, own)
    if scheme in ('ws', 'wss'):
        return SocketClient(url, own)
    raise ConfigurationError(
        f'--server_url {url}: must begin with http, https, ws or wss'
    )


def _work(plan: Plan, worker: Worker, gate: Any) -> Result:
    gate.wait(PATIENCE)
    worker.run(time.monotonic() + plan.warm_up)
    gate.wait(PATIENCE + plan.warm_up)
    began = time.monotonic()
    tally = worker.run(began + plan.seconds)
    return Result(worker.role, time.monotonic() - began, tally)
