# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.threads``: how many threads a worker should have.

Servers with each number of workers and threads, each with a database of its
own on the same store, take turns at each number of connections.
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

from benchmarks import load, machine, report, scripts, sources, target
from benchmarks.scripts import OPERATIONS, Queue
from zaqar.tests.servers.zaqar import Zaqar

SECTION = 'Threads'

STORES = ('sqlite', 'redis', 'postgresql')

#: Queues that connections share.
QUEUES = 8

#: Seconds of a slice that is not counted, to warm up.
ASIDE = 0.5

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
    parts = [report.facts(facts)]
    for _, chosen in sources.chosen(options.store or STORES):
        with (
            chosen as source,
            tempfile.TemporaryDirectory(prefix='zaqar-bench-') as folder,
            contextlib.ExitStack() as stack,
        ):
            shapes = itertools.product(options.workers, options.threads)
            ports = {
                shape: stack.enter_context(
                    _server(source, pathlib.Path(folder), shape)
                )
                for shape in shapes
            }
            for operation in options.operation:
                table = _measure(source.title, operation, ports, options)
                print(table.text(), flush=True)
                parts.append(table.markdown())
    if options.markdown is not None:
        report.write_section(options.markdown, SECTION, '\n'.join(parts))
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        'python -m benchmarks.threads', description=__doc__
    )
    add = parser.add_argument
    add(
        '--store',
        action='append',
        metavar='URL',
        help='as of benchmarks.bench; may be given again (all of '
        f'{", ".join(STORES)})',
    )
    add(
        '--operation',
        action='append',
        choices=OPERATIONS,
        help='may be given again (post 1)',
    )
    add('--workers', type=int, nargs='+', default=[1, 2])
    add('--threads', type=int, nargs='+', default=[1, 2, 4, 8])
    add('--connections', type=int, nargs='+', default=[1, 4, 8, 32])
    add('--seconds', type=float, default=1.0, help='of a turn (%(default)s)')
    add('--rounds', type=int, default=5, help='of turns (%(default)s)')
    add('--markdown', type=pathlib.Path, metavar='FILE', help='write there')
    options = parser.parse_args(arguments)
    options.operation = options.operation or ['post 1']
    return options


@contextlib.contextmanager
def _server(
    source: sources.Source, folder: pathlib.Path, shape: Shape
) -> Iterator[int]:
    """Give the port of a server."""
    workers, threads = shape
    url = source.database()
    rest = target.settings(url)
    rest += f'[drivers:transport:wsgi]\nthreads = {threads}\n'
    own = folder / f'{workers}-{threads}'
    own.mkdir()
    server = Zaqar(own, rest=rest, workers=workers)
    target.create_tables(server, url)
    server.start()
    try:
        yield server.port
    finally:
        server.stop()


def _measure(
    title: str,
    name: str,
    ports: Mapping[Shape, int],
    options: argparse.Namespace,
) -> report.Table:
    """Measure an operation; return its table."""
    operation = OPERATIONS[name]
    project = f'bench-{name.replace(" ", "-").replace("+", "and")}'
    queues = {
        shape: [Queue(port, project, f'q{number}') for number in range(QUEUES)]
        for shape, port in ports.items()
    }

    def turn(shape: Shape, connections: int, seconds: float) -> load.Samples:
        work = scripts.prepared(operation, queues[shape], connections, seconds)
        return load.run(ports[shape], work, seconds)

    for shape in ports:
        turn(shape, max(options.connections), ASIDE)
    slices: dict[tuple[Shape, int], list[load.Samples]] = {}
    for number in range(options.rounds):
        for connections in options.connections:
            for shape in [*ports][:: -1 if number % 2 else 1]:
                samples = turn(shape, connections, options.seconds)
                slices.setdefault((shape, connections), []).append(samples)
    head = ['workers', 'connections']
    head += [f'{count} threads/s' for count in options.threads]
    head += [f'{count}: p99 ms' for count in options.threads]
    rows = []
    for workers, connections in itertools.product(
        options.workers, options.connections
    ):
        measured = [
            slices[(workers, threads), connections]
            for threads in options.threads
        ]
        rows.append(
            (
                str(workers),
                str(connections),
                *(f'{_rate(some):,.0f}' for some in measured),
                *(f'{_tail(some) * 1000:.1f}' for some in measured),
            )
        )
    return report.Table(f'{title}: {name}', head, rows)


def _rate(slices: Sequence[load.Samples]) -> float:
    return statistics.median(one.rate for one in slices)


def _tail(slices: Sequence[load.Samples]) -> float:
    return statistics.median(
        report.quantile(one.latencies, 0.99) for one in slices
    )


if __name__ == '__main__':
    sys.exit(main())
