# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.compare``: two builds in turns on one database.

A server of this tree and one of another tree, each with a database of its
own on the same server, are asked for the same in short turns. The ratios are
those of neighbouring turns, so that whatever else the machine does meanwhile
meets both.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import itertools
import os
import pathlib
import secrets
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from benchmarks import (
    builds,
    client_scripts,
    databases,
    load,
    machine,
    program_options,
    report,
    target,
    websocket_connections,
)
from benchmarks.builds import Server
from benchmarks.client_scripts import OPERATIONS
from benchmarks.websocket_connections import JSON, MESSAGE_PACK, Frames

SECTION = 'Two builds'

#: Seconds of a slice that is not counted, to warm up.
ASIDE = 0.5

#: How much more a slice may take than any before. Messages that nobody takes
#: would not fit into the memory of a database server as it is shipped, and the
#: disk would be measured.
MARGIN = 3

#: Status of a claim that gets nothing. There is always something, but an
#: older build may say so, which must not end the comparison.
NOTHING = 204

_HEAD = (
    'operation',
    'base/s',
    'new/s',
    'ratio',
    'base p50 ms',
    'new p50',
    'base p99',
    'new p99',
    'p99 ratio',
    'base CPU µs',
    'new CPU',
    'CPU ratio',
    f'base {NOTHING}s',
    f'new {NOTHING}s',
)


class Way(NamedTuple):
    """How requests reach a server.

    :ivar transport: that is served, '' for all
    """

    transport: str
    port: Callable[[Server], int]
    connect: Callable[[int], load.Connection]
    sender: Callable[[client_scripts.Queue], client_scripts.Sender]


def _over_http(queue: client_scripts.Queue) -> client_scripts.Sender:
    queue.requests.poor = NOTHING
    return queue.requests


def _in_frames(
    encoding: websocket_connections.Encoding, queue: client_scripts.Queue
) -> client_scripts.Sender:
    frames = Frames(queue.project, queue.name, encoding)
    frames.poor = NOTHING
    return frames


WAYS: Mapping[str, Way] = {
    'http': Way(
        'wsgi', lambda server: server.port, load.Connection, _over_http
    ),
    'json': Way(
        '',
        lambda server: server.socket_port,
        websocket_connections.Socket,
        functools.partial(_in_frames, JSON),
    ),
    'messagepack': Way(
        '',
        lambda server: server.socket_port,
        websocket_connections.PackedSocket,
        functools.partial(_in_frames, MESSAGE_PACK),
    ),
}


@dataclass
class Side:
    """A build: its server, and what was measured in each turn.

    :ivar cpu: seconds of processor time of each request, database included
    """

    server: Server
    source: databases.Source
    way: Way
    slices: list[load.Samples] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def turn(self, work: Sequence[load.Script], seconds: float) -> None:
        """Measure a slice."""
        before = self._cpu_seconds()
        port = self.way.port(self.server)
        samples = load.run(port, work, seconds, self.way.connect)
        cpu = self._cpu_seconds() - before
        self.slices.append(samples)
        self.cpu.append(cpu / max(1, len(samples.latencies)))

    def _cpu_seconds(self) -> float:
        pids = [*self.server.workers(), *self.source.processes()]
        return machine.cpu_seconds(*pids)

    @property
    def rates(self) -> list[float]:
        """Requests per second, by slice."""
        return [item.rate for item in self.slices]

    @property
    def rate(self) -> float:
        """Requests per second in the middle one of all slices."""
        return statistics.median(self.rates)

    def quantiles(self, part: float) -> list[float]:
        """Return the latency that a part stayed below, by slice."""
        return [report.quantile(item.latencies, part) for item in self.slices]

    def quantile(self, part: float) -> float:
        """Return that of the middle slice."""
        return statistics.median(self.quantiles(part))

    @property
    def poor(self) -> int:
        """Claims that got nothing."""
        return sum(item.poor for item in self.slices)


class Kind(NamedTuple):
    """What is asked, of how many queues, and on how many connections."""

    operation: str
    queues: int
    connections: int

    @property
    def title(self) -> str:
        """Its heading."""
        s = 's' if self.queues > 1 else ''
        return f'{self.operation}, {self.queues} queue{s} x {self.connections}'


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = _options(arguments)
    facts = {
        **machine.description(options.against),
        'Settings': f'over {options.over}, {options.workers} workers with '
        f'{options.threads or "default"} threads, {options.rounds} turns of '
        f'{options.seconds:g} s each, queues x connections; servers, database '
        f'and client share {os.cpu_count()} cores',
        'Load average at the start': machine.load(),
    }
    if options.store_option:
        facts['Options of the stores'] = ', '.join(options.store_option)
    print(report.facts(facts))
    parts = [report.facts(facts)]
    failed = False
    for name, chosen in databases.chosen(options.store or ['galera']):
        with (
            chosen as source,
            tempfile.TemporaryDirectory(prefix='zaqar-bench-') as folder,
            contextlib.ExitStack() as stack,
        ):
            sides = [
                stack.enter_context(
                    started(
                        source,
                        pathlib.Path(folder, word),
                        root,
                        options,
                        _of_stores(options.store_option),
                    )
                )
                for word, root in (
                    ('base', options.against),
                    ('new', builds.THIS),
                )
            ]
            rows = []
            for kind in itertools.starmap(
                Kind,
                itertools.product(
                    options.operation, options.queues, options.connections
                ),
            ):
                measure(kind, sides, options)
                rows.append(_row(kind, *sides))
                print(*rows[-1], sep='  ', flush=True)
                failed = failed or bool(sides[1].poor)
            table = report.Table(f'{source.title or name}', _HEAD, rows)
            print(table.text(), flush=True)
            parts.append(table.markdown())
    over = '' if options.over == 'http' else f' over {options.over}'
    section = program_options.section(f'{SECTION}{over}', options.store)
    report.write_section(options.markdown, section, *parts)
    return int(failed)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = program_options.parser('compare', __doc__)
    add = parser.add_argument
    program_options.add_other_build(parser, required=True)
    program_options.add_databases(parser, ['galera'])
    add('--over', choices=WAYS, default='http', help='(%(default)s)')
    add('--operation', action='append', choices=OPERATIONS)
    add('--queues', action='append', type=int, help='(1 and 8)')
    add(
        '--store-option',
        action='append',
        default=[],
        metavar='NAME=VALUE',
        help='of both SQL stores; a build that does not know it ignores it',
    )
    add('--seconds', type=float, default=2.0, help='of a turn (%(default)s)')
    add('--rounds', type=int, default=7, help='of turns (%(default)s)')
    add('--workers', type=int, default=2, help='(%(default)s)')
    add('--threads', type=int, help='(what each build has by default)')
    add('--connections', type=int, nargs='+', default=[32], help='(32)')
    options = parser.parse_args(arguments)
    options.operation = options.operation or list(OPERATIONS)
    options.queues = options.queues or [1, 8]
    return options


def _of_stores(lines: Sequence[str]) -> str:
    """Return groups of a configuration that set options of both stores."""
    return ''.join(
        f'[drivers:{plane}_store:sqlalchemy]\n{line}\n'
        for plane in ('message', 'management')
        for line in lines
    )


@contextlib.contextmanager
def started(
    source: databases.Source,
    folder: pathlib.Path,
    root: pathlib.Path,
    options: argparse.Namespace,
    more: str = '',
) -> Iterator[Side]:
    """Give a side that ends afterwards.

    :param root: top of its tree
    :param more: further lines of its configuration
    """
    folder.mkdir()
    url = source.database()
    way = WAYS[options.over]
    rest = target.settings(url, transport=way.transport) + more
    if options.threads:
        rest += f'[drivers:transport:wsgi]\nthreads = {options.threads}\n'
    server = Server(
        folder,
        rest=rest,
        socket='max_connections = 0\n',
        workers=options.workers,
    )
    server.root = root
    target.create_tables(server, url)
    server.start()
    try:
        yield Side(server, source, way)
    except load.WrongAnswerError:
        print(server.log.read_text()[-4000:], file=sys.stderr)
        raise
    finally:
        server.stop()


def measure(
    kind: Kind, sides: Sequence[Side], options: argparse.Namespace
) -> None:
    """Measure an operation in turns."""
    project = f'bench-{secrets.token_hex(6)}'
    queues = {
        id(side): [
            client_scripts.Queue(side.server.port, project, f'q{number}')
            for number in range(kind.queues)
        ]
        for side in sides
    }

    operation = OPERATIONS[kind.operation]
    most = 0.0

    def turn(side: Side, seconds: float) -> None:
        nonlocal most
        work = client_scripts.prepared(
            operation,
            queues[id(side)],
            kind.connections,
            seconds,
            most,
            side.way.sender,
        )
        side.turn(work, seconds)
        most = max(most, MARGIN * side.slices[-1].rate)

    for side in sides:
        turn(side, ASIDE)
        side.slices, side.cpu = [], []
    for number in range(options.rounds):
        for side in sides[:: -1 if number % 2 else 1]:
            turn(side, options.seconds)


def _row(kind: Kind, base: Side, new: Side) -> Sequence[str]:
    return (
        kind.title,
        f'{base.rate:.0f}',
        f'{new.rate:.0f}',
        report.ratio(base.rates, new.rates),
        *(
            f'{side.quantile(part) * 1000:.1f}'
            for part in (0.5, 0.99)
            for side in (base, new)
        ),
        report.ratio(base.quantiles(0.99), new.quantiles(0.99)),
        *(f'{statistics.median(side.cpu) * 1e6:.0f}' for side in (base, new)),
        report.ratio(base.cpu, new.cpu),
        *(str(side.poor) for side in (base, new)),
    )


if __name__ == '__main__':
    sys.exit(main())
