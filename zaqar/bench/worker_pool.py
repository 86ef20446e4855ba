# SPDX-License-Identifier: Apache-2.0
"""The pool of workers of a run: its processes and threads.

The measurement starts when all workers are connected and warmed up, so the
figures do not include their start.
"""

import itertools
import multiprocessing
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from zaqar.bench.client_interface import TIMEOUT, BenchClient, CallFailed
from zaqar.bench.credentials import SqsKeys
from zaqar.bench.http_client import HttpBenchClient
from zaqar.bench.sqs_client import SqsBenchClient
from zaqar.bench.websocket_client import WebSocketBenchClient
from zaqar.bench.worker_roles import (
    ROLES,
    CallStatistics,
    Consumer,
    Worker,
    Workload,
)
from zaqar.errors import ConfigurationError, ZaqarError

# A forked child would share the sockets of its parent.
_CONTEXT = multiprocessing.get_context('spawn')

#: Seconds for processes to start and workers to connect.
START_TIMEOUT = 60.0


class RunFailed(ZaqarError):
    """The load could not be put on."""


@dataclass(frozen=True)
class Plan:
    """The parameters of a run.

    :ivar processes: role and number of workers of each process
    :ivar seconds: length of the measurement
    :ivar warm_up: seconds of load before it
    :ivar sqs: by which requests in the protocol of Amazon SQS are signed, None
        for our own API
    """

    url: str
    headers: Mapping[str, str]
    processes: Sequence[tuple[str, int]]
    workload: Workload
    seconds: float
    warm_up: float
    sqs: SqsKeys | None = None

    @property
    def workers(self) -> int:
        return sum(count for _, count in self.processes)


@dataclass(frozen=True)
class WorkerResult:
    """The result of one worker.

    :ivar seconds: from the start of the measurement to its last answer
    :ivar fault: why it could not start; '' if it did
    """

    role: str
    seconds: float
    statistics: CallStatistics = field(default_factory=CallStatistics)
    fault: str = ''


def run(plan: Plan, progress: Callable[[float], None]) -> list[WorkerResult]:
    """Put the load on and return the results of all workers.

    :param progress: called about ten times a second with the elapsed seconds
    :raises RunFailed: a worker could not connect
    """
    gate = _CONTEXT.Barrier(plan.workers + 1)
    results: Any = _CONTEXT.Queue()
    processes = [
        _CONTEXT.Process(
            target=_process, args=(plan, role, shares, gate, results)
        )
        for role, shares in worker_queues(plan)
    ]
    for process in processes:
        process.start()
    try:
        _measure(plan, gate, progress)
        answers = [
            results.get(timeout=START_TIMEOUT + TIMEOUT)
            for _ in range(plan.workers)
        ]
    finally:
        for process in processes:
            process.join(timeout=5)
            process.kill()
    faults = {item.fault for item in answers if item.fault}
    if faults:
        raise RunFailed('; '.join(sorted(faults)))
    return answers


def _measure(plan: Plan, gate: Any, progress: Callable[[float], None]) -> None:
    """Start the warm-up and the measurement, and wait for its end."""
    try:
        gate.wait(START_TIMEOUT)
        gate.wait(START_TIMEOUT + plan.warm_up)
    except threading.BrokenBarrierError:
        return
    began = time.monotonic()
    while (elapsed := time.monotonic() - began) < plan.seconds:
        progress(elapsed)
        time.sleep(min(0.1, plan.seconds - elapsed))
    progress(plan.seconds)


def worker_queues(plan: Plan) -> Iterator[tuple[str, Sequence[Sequence[str]]]]:
    """Yield the role of each process with the queues of each worker.

    A consumer that waits has queues of its own, if there are enough, since it
    would not hear of a message in another one.
    """
    queues = plan.workload.queues
    consumers = sum(n for role, n in plan.processes if role == Consumer.role)
    numbers = itertools.count()
    for role, count in plan.processes:
        if role == Consumer.role and plan.workload.wait:
            firsts = (next(numbers) % len(queues) for _ in range(count))
            yield role, [queues[first::consumers] for first in firsts]
        else:
            yield role, [queues] * count


def _process(
    plan: Plan,
    role: str,
    shares: Sequence[Sequence[str]],
    gate: Any,
    results: Any,
) -> None:
    threads = [
        threading.Thread(
            target=_worker, args=(plan, role, queues, gate, results)
        )
        for queues in shares
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _worker(
    plan: Plan, role: str, queues: Sequence[str], gate: Any, results: Any
) -> None:
    try:
        client = connect(plan)
        client.connect()
        worker = ROLES[role](client, plan.workload, queues)
        result = _work(plan, worker, gate)
        client.close()
    except threading.BrokenBarrierError:
        result = WorkerResult(role, 0)
    except (CallFailed, ZaqarError) as error:
        gate.abort()
        result = WorkerResult(role, 0, fault=f'{plan.url}: {error}')
    results.put(result)


def connect(plan: Plan) -> BenchClient:
    """Return a client with a ``Client-ID`` of its own, not yet connected."""
    url, own = plan.url, {**plan.headers, 'Client-ID': str(uuid.uuid4())}
    scheme = urlsplit(url).scheme
    if plan.sqs is not None:
        if scheme not in ('http', 'https'):
            raise ConfigurationError(
                f'--server_url {url}: must begin with http or https for --sqs'
            )
        return SqsBenchClient(url, plan.sqs)
    if scheme in ('http', 'https'):
        return HttpBenchClient(url, own)
    if scheme in ('ws', 'wss'):
        return WebSocketBenchClient(url, own)
    raise ConfigurationError(
        f'--server_url {url}: must begin with http, https, ws or wss'
    )


def _work(plan: Plan, worker: Worker, gate: Any) -> WorkerResult:
    gate.wait(START_TIMEOUT)
    worker.run(time.monotonic() + plan.warm_up)
    gate.wait(START_TIMEOUT + plan.warm_up)
    began = time.monotonic()
    statistics = worker.run(began + plan.seconds)
    return WorkerResult(worker.role, statistics.ended - began, statistics)
