# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.threads``: how many threads a worker should have.

Servers with each number of workers and threads, and with the event loop of
workers instead, each with a database of its own on the same store, take turns
at each number of connections. What is best for the store shows at the end: its
figures over the best ones, on average.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import pathlib
import statistics
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks import (
    client_scripts,
    databases,
    load,
    machine,
    program_options,
    report,
    target,
)
from benchmarks.client_scripts import OPERATIONS, Queue
from zaqar.tests.servers.zaqar import Zaqar

SECTION = 'Threads'

STORES = ('sqlite', 'redis', 'postgresql', 'mariadb')

#: Queues that connections share.
QUEUES = 8

#: Seconds of a slice that is not counted, to warm up.
ASIDE = 0.5

#: Instead of a number of threads: a worker as it is by default, whose event
#: loop answers requests.
LOOP = 0

#: Stores whose requests it answers.
LOOP_STORES = ('sqlite', 'redis', 'redis-in-memory')

#: The file of the sizing guide.
GUIDE = 'threads.csv'

#: Workers and threads.
Shape = tuple[int, int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = _options(arguments)
    facts = {
        **machine.description(),
        'Settings': f'{QUEUES} queues, {options.rounds} turns of '
        f'{options.seconds:g} s each; servers, database and client share '
        f'{os.cpu_count()} cores',
        'Load average at the start': machine.load(),
    }
    print(report.facts(facts))
    every = options.threads
    for name, chosen in databases.chosen(options.store or STORES):
        parts = [report.facts(facts)]
        options.threads = [
            count for count in every if count != LOOP or name in LOOP_STORES
        ]
        with (
            chosen as source,
            tempfile.TemporaryDirectory(prefix='zaqar-bench-') as folder,
            contextlib.ExitStack() as stack,
        ):
            shapes = itertools.product(options.workers, options.threads)
            servers = {
                shape: stack.enter_context(
                    _server(source, pathlib.Path(folder), shape)
                )
                for shape in shapes
            }
            for operation in options.operation:
                middles, tables = _measure(
                    source.title, operation, servers, options
                )
                for table in tables:
                    print(table.text(), flush=True)
                    parts.append(table.markdown())
                if options.guide:
                    table = _for_guide(source.title, every, middles, options)
                    report.write_csv(options.guide / GUIDE, table)
        report.write_section(options.markdown, f'{SECTION}, {name}', *parts)
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = program_options.parser('threads', __doc__)
    add = parser.add_argument
    program_options.add_databases(parser, STORES)
    add(
        '--operation',
        action='append',
        choices=OPERATIONS,
        help='may be given again (post 1)',
    )
    add('--workers', type=int, nargs='+', default=[1, 2])
    add(
        '--threads',
        type=int,
        nargs='+',
        default=[LOOP, 1, 4, 8],
        help=f'{LOOP} for the event loop of workers (0 1 4 8)',
    )
    add('--connections', type=int, nargs='+', default=[1, 4, 8, 32])
    add('--seconds', type=float, default=0.6, help='of a turn (%(default)s)')
    add('--rounds', type=int, default=3, help='of turns (%(default)s)')
    program_options.add_guide(parser, GUIDE)
    options = parser.parse_args(arguments)
    options.operation = options.operation or ['post 1']
    return options


@contextlib.contextmanager
def _server(
    source: databases.Source, folder: pathlib.Path, shape: Shape
) -> Iterator[Zaqar]:
    """Give a server."""
    workers, threads = shape
    url = source.database()
    rest = target.settings(url)
    if threads != LOOP:
        rest += '[drivers:transport:wsgi]\nloop_requests = 0\n'
        rest += f'threads = {threads}\n'
    own = folder / f'{workers}-{threads}'
    own.mkdir()
    server = Zaqar(own, rest=rest, workers=workers)
    target.create_tables(server, url)
    server.start()
    try:
        yield server
    finally:
        server.stop()


@dataclass
class Slices:
    """What was measured of a server with some connections.

    :ivar cpu: seconds of processor time of a request in the workers
    """

    rates: list[float] = field(default_factory=list)
    tails: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def middles(self) -> tuple[float, float, float]:
        """Return the middle ones."""
        middle = statistics.median
        return middle(self.rates), middle(self.tails), middle(self.cpu)


#: The rate, the p99 and the processor time of a shape with some connections.
Middles = Mapping[tuple[Shape, int], tuple[float, float, float]]


def _measure(
    title: str,
    name: str,
    servers: Mapping[Shape, Zaqar],
    options: argparse.Namespace,
) -> tuple[Middles, Sequence[report.Table]]:
    """Measure an operation; return the middle figures, and its tables."""
    operation = OPERATIONS[name]
    project = f'bench-{name.replace(" ", "-").replace("+", "and")}'
    queues = {
        shape: [Queue(one.port, project, f'q{n}') for n in range(QUEUES)]
        for shape, one in servers.items()
    }
    slices: dict[tuple[Shape, int], Slices] = {}

    def turn(shape: Shape, connections: int, seconds: float) -> None:
        work = client_scripts.prepared(
            operation, queues[shape], connections, seconds
        )
        pids = servers[shape].workers()
        before = machine.cpu_seconds(*pids)
        samples = load.run(servers[shape].port, work, seconds)
        spent = machine.cpu_seconds(*pids) - before
        into = slices.setdefault((shape, connections), Slices())
        into.rates.append(samples.rate)
        into.tails.append(report.quantile(samples.latencies, 0.99))
        into.cpu.append(spent / len(samples.latencies))

    for shape in servers:
        turn(shape, max(options.connections), ASIDE)
    slices.clear()
    for number in range(options.rounds):
        for connections in options.connections:
            for shape in [*servers][:: -1 if number % 2 else 1]:
                turn(shape, connections, options.seconds)
    middles = {key: one.middles() for key, one in slices.items()}
    return middles, [
        _rates(f'{title}: {name}, by threads', middles, options),
        _over_best(f'{title}: {name}, over the best', middles, options),
        _over_fewest(f'{title}: {name}, over fewer workers', slices, options),
    ]


def _for_guide(
    title: str,
    threads: Sequence[int],
    middles: Middles,
    options: argparse.Namespace,
) -> report.Table:
    """Return the rates as they stand in the sizing guide."""
    head = ['Store', 'Workers', 'Connections']
    head += [_words(count) for count in threads]
    rows = [
        (
            title,
            str(workers),
            str(connections),
            *(
                f'{middles[key][0]:,.0f}' if key in middles else ''
                for key in (
                    ((workers, count), connections) for count in threads
                )
            ),
        )
        for workers, connections in itertools.product(
            options.workers, options.connections
        )
    ]
    return report.Table(title, head, rows)


def _short(count: int) -> str:
    return 'loop' if count == LOOP else str(count)


def _words(count: int) -> str:
    """Return how a number of threads is called."""
    if count == LOOP:
        return 'Event loop'
    return f'{count} thread' + 's' * (count > 1)


def _rates(
    title: str, middles: Middles, options: argparse.Namespace
) -> report.Table:
    head = ['workers', 'connections']
    for what in ('/s', ' p99 ms', ' CPU µs'):
        head += [f'{_short(count)}:{what}' for count in options.threads]
    rows = []
    for workers, connections in itertools.product(
        options.workers, options.connections
    ):
        measured = [
            middles[(workers, threads), connections]
            for threads in options.threads
        ]
        rates, tails, cpu = zip(*measured, strict=True)
        rows.append(
            (
                str(workers),
                str(connections),
                *(f'{value:,.0f}' for value in rates),
                *(f'{value * 1e3:.1f}' for value in tails),
                *(f'{value * 1e6:.0f}' for value in cpu),
            )
        )
    return report.Table(title, head, rows)


def _over_best(
    title: str, middles: Middles, options: argparse.Namespace
) -> report.Table:
    """Return each number's figures over the best ones, on average."""
    pairs = [*itertools.product(options.workers, options.connections)]
    rows = []
    for threads in options.threads:
        row = [_short(threads)]
        for figure, best in enumerate((max, min, min)):
            mean = statistics.geometric_mean(
                middles[(workers, threads), connections][figure]
                / best(
                    middles[(workers, count), connections][figure]
                    for count in options.threads
                )
                for workers, connections in pairs
            )
            row.append(f'{mean:.2f}')
        rows.append(row)
    return report.Table(title, ['threads', 'rate', 'p99', 'CPU'], rows)


def _over_fewest(
    title: str,
    slices: Mapping[tuple[Shape, int], Slices],
    options: argparse.Namespace,
) -> report.Table:
    """Return the rates of more workers over those of the fewest."""
    fewest, *more = sorted(options.workers)
    rows = [
        (
            f'{workers} over {fewest}',
            str(connections),
            *(
                report.ratio(
                    slices[(fewest, threads), connections].rates,
                    slices[(workers, threads), connections].rates,
                )
                for threads in options.threads
            ),
        )
        for workers, connections in itertools.product(
            more, options.connections
        )
    ]
    head = ['workers', 'connections', *map(_short, options.threads)]
    return report.Table(title, head, rows)


if __name__ == '__main__':
    sys.exit(main())
