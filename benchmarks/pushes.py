# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.pushes``: messages to a thousand sockets.

A server and its notifier have one core, the sockets another one. With
``--against`` another build takes turns with this one.
"""

from __future__ import annotations

import argparse
import contextlib
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from benchmarks import (
    builds,
    load,
    machine,
    program_options,
    report,
    requests,
    target,
    websocket_connections,
)
from benchmarks.builds import Server
from benchmarks.load import Step
from benchmarks.websocket_connections import Socket
from zaqar.tests.servers.redis import Redis

SECTION = 'Pushes'

_LIMITS = 'max_connections = 0\n'

#: A post that is not counted, to warm up.
WARM = 1

_HEAD = ('build', 'frames', 'of', 'frames/s', 'CPU µs/frame', 'store µs/frame')


@dataclass
class Side:
    """A build, and what was measured in each turn.

    :ivar cpu: seconds of processor time of the service, for each frame
    :ivar store: the same of Redis
    """

    name: str
    root: pathlib.Path
    arrived: int = 0
    rates: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    store: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Return the frames per second of the middle turn."""
        return statistics.median(self.rates)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = _options(arguments)
    facts = {
        **machine.description(options.against),
        'Load average': machine.load(),
    }
    print(report.facts(facts))
    new = Side('new', builds.THIS)
    sides = [new]
    if options.against is not None:
        sides.insert(0, Side('base', options.against))
    for _ in range(options.turns):
        for side in sides:
            _measure(side, options)
    wanted = options.turns * options.sockets * options.messages
    table = report.Table(
        f'Pushes to {options.sockets:,} sockets of {options.messages} '
        f'messages of {options.size} bytes posted one by one over HTTP, '
        f'{options.store}',
        _HEAD,
    )
    for side in sides:
        table.rows.append(
            (
                side.name,
                f'{side.arrived:,}',
                f'{wanted:,}',
                f'{side.rate:,.0f}',
                f'{statistics.median(side.cpu) * 1e6:.1f}',
                f'{statistics.median(side.store) * 1e6:.1f}',
            )
        )
    if len(sides) > 1:
        base = sides[0]
        ratios = [
            report.ratio(getattr(base, name), getattr(new, name))
            for name in ('rates', 'cpu', 'store')
        ]
        table.rows.append(('ratio', '', '', *ratios))
    print(table.text())
    report.write_section(
        options.markdown, SECTION, report.facts(facts), table.markdown()
    )
    return 0 if all(side.arrived == wanted for side in sides) else 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = program_options.parser('pushes', __doc__)
    add = parser.add_argument
    program_options.add_other_build(parser)
    add('--sockets', type=int, default=1000, help='that are pushed to (1000)')
    add('--messages', type=int, default=50, help='for each of them (50)')
    add('--size', type=int, default=100, help='bytes of a body (100)')
    add('--turns', type=int, default=3, help='of each build (3)')
    add('--store', default='redis', choices=('redis', 'sqlite'))
    return parser.parse_args(arguments)


@contextlib.contextmanager
def _running(side: Side, store: str) -> Iterator[tuple[Server, Sequence[int]]]:
    """Run a server of a build; yield it, and the processes of its store."""
    cores = machine.cores()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(
            tempfile.TemporaryDirectory(prefix='zaqar-pushes-')
        )
        rest, others = '', []
        with machine.pinned(cores and cores[0]):
            if store == 'redis':
                redis = Redis()
                stack.callback(redis.stop)
                rest, others = (
                    target.stores(redis.url),
                    [redis.process.child.pid],
                )
            server = Server(pathlib.Path(folder), rest=rest, socket=_LIMITS)
            server.root = side.root
            server.start()
        stack.callback(server.stop)
        stack.enter_context(machine.pinned(cores and cores[1]))
        yield server, others


def _measure(side: Side, options: argparse.Namespace) -> None:
    project, queue = 'bench', 'news'
    filler = 'x' * max(0, options.size - len('""'))
    body = b'{"messages":[{"ttl":%d,"body":"%b"}]}' % (
        target.TTL,
        filler.encode(),
    )
    post = Step(
        requests.request(
            project,
            'POST',
            f'/v2/queues/{queue}/messages',
            body,
            client=target.POSTER,
        ),
        201,
    )
    subscribe = Step(
        websocket_connections.request(
            project, 'subscription_create', {'queue_name': queue}
        ),
        201,
    )
    with _running(side, options.store) as (server, others):
        opened = []
        for _ in range(options.sockets):
            opened.append(Socket(server.socket_port))
            opened[-1].exchange(subscribe)
        http = load.Connection(server.port)
        for _ in range(WARM):
            http.exchange(post)
        websocket_connections.counted(opened, WARM * options.sockets, 0.0)
        before = (
            machine.cpu_seconds(*server.workers()),
            machine.cpu_seconds(*others),
        )
        began = time.perf_counter()
        for _ in range(options.messages):
            http.exchange(post)
        wanted = options.messages * options.sockets
        elapsed, arrived = websocket_connections.counted(opened, wanted, began)
        side.arrived += arrived
        side.rates.append(arrived / elapsed)
        side.cpu.append(
            (machine.cpu_seconds(*server.workers()) - before[0]) / wanted
        )
        side.store.append((machine.cpu_seconds(*others) - before[1]) / wanted)
        for connection in (*opened, http):
            connection.close()


if __name__ == '__main__':
    sys.exit(main())
