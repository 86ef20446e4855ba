# SPDX-License-Identifier: Apache-2.0
"""A server and its stores, measured part by part."""

from __future__ import annotations

import contextlib
import pathlib
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from benchmarks import (
    client_scripts,
    databases,
    load,
    machine,
    requests,
    target,
)
from benchmarks.client_scripts import Operation, Queue
from benchmarks.load import Connection, Step
from zaqar.tests.servers.zaqar import Zaqar

#: The parts of a deployment, and who asks.
API, STORE, NOTIFIER, SOCKETS, CLIENT = (
    'API worker',
    'store',
    'notifier',
    'WebSocket server',
    'client',
)

#: Queues that share the load, so that they spread over pools.
QUEUES = 24

_POOLED = 'admin_mode = True\npooling = True\nunreliable = True'

_STARTED = re.compile(r'Started (.+?)(?: \d+)? as process (\d+)')


def difference(
    now: Mapping[str, float], before: Mapping[str, float], count: float
) -> Mapping[str, float]:
    """Return what has been spent for each of some operations, by part."""
    return {part: (now[part] - before[part]) / count for part in now}


@dataclass
class Slice:
    """A measured slice.

    :ivar rate: requests per second
    :ivar cpu: seconds of processor time of a request, by part
    :ivar others: cores that other work of the machine took
    """

    rate: float
    cpu: Mapping[str, float]
    others: float


class Deployment:
    """A server, its stores, and queues that are asked for something.

    :param stores: of which the first one holds records, too; several of them
        are pools
    :param rest: further lines of its configuration
    """

    def __init__(
        self,
        folder: pathlib.Path,
        stores: Sequence[databases.Source],
        *,
        workers: int = 1,
        url: str = '',
        transport: str = 'wsgi',
        rest: str = '',
    ) -> None:
        folder.mkdir()
        self.stores = stores
        url = url or stores[0].database()
        is_pooled = len(stores) > 1
        self.server = Zaqar(
            folder,
            general=_POOLED if is_pooled else '',
            rest=target.settings(url, transport=transport) + rest,
            socket='max_connections = 0\n',
            workers=workers,
        )
        target.create_tables(self.server, url)
        self.server.start()
        for number, store in enumerate(stores if is_pooled else ()):
            self._add_pool(f'pool-{number}', store.database())
        self.project = f'bench-{folder.name}'
        self.queues = [
            Queue(self.server.port, self.project, f'q{number}')
            for number in range(QUEUES)
        ]

    def pids(self, part: str) -> list[int]:
        """Return the processes of a part."""
        if part == STORE:
            return [pid for one in self.stores for pid in one.processes()]
        started = _STARTED.findall(self.server.log.read_text())
        return [int(pid) for name, pid in started if name == part]

    def cpu(self) -> Mapping[str, float]:
        """Return the seconds of processor time that each part has used."""
        spent = {
            part: machine.cpu_seconds(*self.pids(part))
            for part in (API, STORE, NOTIFIER, SOCKETS)
        }
        return {**spent, CLIENT: time.process_time()}

    def turn(
        self, operation: Operation, connections: int, seconds: float
    ) -> Slice:
        """Measure a slice of an operation."""
        work = client_scripts.prepared(
            operation, self.queues, connections, seconds
        )
        return self.run(self.server.port, work, seconds)

    def run(
        self,
        port: int,
        work: Sequence[load.Script],
        seconds: float,
        connect: Callable[[int], Connection] = Connection,
    ) -> Slice:
        """Run scripts on connections to a port."""
        spent, busy, began = self.cpu(), machine.busy(), time.monotonic()
        samples = load.run(port, work, seconds, connect)
        elapsed = time.monotonic() - began
        total = (machine.busy() - busy) / elapsed
        ours = difference(self.cpu(), spent, 1)
        # Those that came too late to be counted took time as well.
        each = max(1.0, samples.rate * elapsed)
        return Slice(
            samples.rate,
            {part: value / each for part, value in ours.items()},
            max(0.0, total - sum(ours.values()) / elapsed),
        )

    def ask(self, step: Step) -> bytes:
        """Send a request and return the body of its answer."""
        connection = Connection(self.server.port)
        try:
            return connection.exchange(step)
        finally:
            connection.close()

    def _add_pool(self, name: str, url: str) -> None:
        body = msgspec.json.encode({'uri': url, 'weight': 100})
        path = f'/v2/pools/{name}'
        role = 'X-Roles: admin\r\n'
        data = requests.request('admin', 'PUT', path, body, headers=role)
        self.ask(Step(data, 201))


@contextlib.contextmanager
def deployed(
    folder: pathlib.Path,
    stores: Sequence[databases.Source],
    *,
    workers: int = 1,
    url: str = '',
    transport: str = 'wsgi',
    rest: str = '',
) -> Iterator[Deployment]:
    """Give a deployment that ends afterwards; see :class:`Deployment`."""
    deployment = Deployment(
        folder,
        stores,
        workers=workers,
        url=url,
        transport=transport,
        rest=rest,
    )
    try:
        yield deployment
    finally:
        deployment.server.stop()
