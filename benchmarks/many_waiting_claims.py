# SPDX-License-Identifier: Apache-2.0
"""Claims that wait by the thousand, and what they cost the server."""

from __future__ import annotations

import collections
import contextlib
import pathlib
import re
import secrets
import select
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence

from benchmarks import databases, load, machine, requests, target
from benchmarks.load import Step, WrongAnswerError
from zaqar.tests.servers import process
from zaqar.tests.servers.zaqar import Zaqar

#: Seconds for which claims wait: longer than any run.
WAIT = 3600

_REST = """
[notification]
embedded = False
[transport]
max_wait = {wait}
[metrics]
port = {metrics}
"""

_VERSION = 'OpenStack-API-Version: messaging 2.1\r\n'


#: A server is idle that uses less than this part of a core for so long.
_IDLE = 0.1
_IDLE_FOR = 0.25

_SERIES = re.compile(
    r'zaqar_store_call_seconds_count\{([^}]*)\} (\S+)', re.MULTILINE
)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


class Server:
    """A service with one API worker and the asynchronous server.

    :ivar project: whose queues are used
    """

    def __init__(self, folder: pathlib.Path, url: str, socket: str) -> None:
        self._metrics = process.free_port()
        rest = _REST.format(wait=WAIT, metrics=self._metrics)
        self._zaqar = Zaqar(
            folder,
            rest=target.settings(url, transport='') + rest,
            socket=socket,
        )
        target.create_tables(self._zaqar, url)
        cores = machine.cores()
        with machine.pinned(cores and cores[0]):
            self._zaqar.start()
        self.project = secrets.token_hex(8)

    @property
    def api(self) -> int:
        """Port of the API worker."""
        return self._zaqar.port

    @property
    def asynchronous(self) -> int:
        """Port of the asynchronous server."""
        return self._zaqar.socket_port

    def pid(self, port: int) -> int:
        """Return the process that answers on a port."""
        name = 'API worker' if port == self.api else 'WebSocket server'
        log = self._zaqar.log.read_text()
        (pid,) = re.findall(rf'Started {name}.* as process (\d+)', log)
        return int(pid)

    def store_calls(self) -> collections.Counter[str]:
        """Return how often stores have been called, by plane and call."""
        url = f'http://127.0.0.1:{self._metrics}/metrics'
        with urllib.request.urlopen(url, timeout=load.PATIENCE) as answer:
            text = answer.read().decode()
        counts: collections.Counter[str] = collections.Counter()
        for labels, count in _SERIES.findall(text):
            label = dict(_LABEL.findall(labels))
            counts[f'{label["plane"]}.{label["call"]}'] += int(float(count))
        return counts

    def settle(self, port: int) -> None:
        """Return when what has been sent to a port is done."""
        pid = self.pid(port)
        end = time.monotonic() + load.PATIENCE
        before = machine.cpu_seconds(pid)
        while time.monotonic() < end:
            time.sleep(_IDLE_FOR)
            now = machine.cpu_seconds(pid)
            if now - before < _IDLE * _IDLE_FOR:
                return
            before = now
        raise WrongAnswerError(f'process {pid} is still busy')

    def stop(self) -> None:
        self._zaqar.stop()


@contextlib.contextmanager
def serving(store: str, socket: str = '') -> Iterator[tuple[str, Server]]:
    """Give the title of a store, and a service on it.

    :param socket: settings of the asynchronous server
    """
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(databases.OWN[store]())
        folder = stack.enter_context(
            tempfile.TemporaryDirectory(prefix='zaqar-bench-')
        )
        server = Server(pathlib.Path(folder), source.database(), socket)
        stack.callback(server.stop)
        yield source.title, server


def claim(project: str, queue: str, wait: int = WAIT) -> Step:
    """Return a claim of one message that waits."""
    path = f'/v2/queues/{queue}/claims?limit=1&wait={wait}'
    data = requests.request(project, 'POST', path, headers=_VERSION)
    return Step(data, 201)


@contextlib.contextmanager
def waiting(
    port: int,
    steps: Sequence[Step],
    sent: Callable[[], object] = lambda: None,
) -> Iterator[Sequence[load.Connection]]:
    """Have a claim wait on each of many connections.

    :param sent: called after each of them has been sent
    """
    opened: list[load.Connection] = []
    try:
        for step in steps:
            opened.append(load.Connection(port))
            opened[-1].send(step)
            sent()
        yield opened
    finally:
        for connection in opened:
            connection.close()


def answered(connections: Sequence[load.Connection]) -> int:
    """Return on how many connections something has come."""
    with select.epoll() as poll:
        for connection in connections:
            poll.register(connection, select.EPOLLIN)
        return len(poll.poll(0, len(connections)))
