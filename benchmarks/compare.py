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
import itertools
import os
import pathlib
import secrets
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from benchmarks import (
    client_scripts,
    databases,
    load,
    machine,
    program_options,
    report,
    target,
)
from benchmarks.client_scripts import OPERATIONS
from zaqar.tests.servers import process
from zaqar.tests.servers.zaqar import Zaqar

SECTION = 'Two builds'

#: Seconds of a slice that is not counted, to warm up.
ASIDE = 0.5

#: How much more a slice may take than any before. Messages that nobody takes
#: would not fit into the memory of a database server as it is shipped, and the
#: disk would be measured.
MARGIN = 3

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
)


class Server(Zaqar):
    """A server of a tree, which need not be this one."""

    root = pathlib.Path(__file__).parent.parent

    def start(self) -> Server:
        # Without the working directory, which ``-m`` would search first.
        env = {'PYTHONPATH': str(self.root), 'PYTHONSAFEPATH': '1'}
        self.process = process.Process(self.command(), self.log, env=env)
        self.process.wait_until(self.answers)
        return self


@dataclass
class Side:
    """A build: its server, and what was measured in each turn.

    :ivar cpu: seconds of processor time of each request, database included
    """

    server: Server
    source: databases.Source
    slices: list[load.Samples] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)

    def turn(self, work: Sequence[load.Script], seconds: float) -> None:
        """Measure a slice."""
        before = self._cpu_seconds()
        samples = load.run(self.server.port, work, seconds)
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


class Kind(NamedTuple):
    """What is asked, and of how many queues."""

    operation: str
    queues: int

    @property
    def title(self) -> str:
        """Its heading."""
        s = 's' if self.queues > 1 else ''
        return f'{self.operation}, {self.queues} queue{s}'


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = _options(arguments)
    facts = {
        **machine.description(),
        'Settings': f'{options.workers} workers with {options.threads} '
        f'threads, {options.connections} connections, {options.rounds} turns '
        f'of {options.seconds:g} s each; servers, database and client share '
        f'{os.cpu_count()} cores',
        'Load average at the start': machine.load(),
    }
    if options.store_option:
        facts['Options of the stores'] = ', '.join(options.store_option)
    print(report.facts(facts))
    parts = [report.facts(facts)]
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
                    ('base', options.base),
                    ('new', Server.root),
                )
            ]
            rows = []
            for kind in itertools.starmap(
                Kind, itertools.product(options.operation, options.queues)
            ):
                measure(kind, sides, options)
                rows.append(_row(kind, *sides))
                print(*rows[-1], sep='  ', flush=True)
            table = report.Table(f'{source.title or name}', _HEAD, rows)
            print(table.text(), flush=True)
            parts.append(table.markdown())
    report.write_section(options.markdown, SECTION, *parts)
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = program_options.parser('compare', __doc__)
    add = parser.add_argument
    program_options.add_base(parser, required=True)
    program_options.add_databases(parser, ['galera'])
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
    add('--threads', type=int, default=8, help='(%(default)s)')
    add('--connections', type=int, default=32, help='(%(default)s)')
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
    rest = target.settings(url) + more
    rest += f'[drivers:transport:wsgi]\nthreads = {options.threads}\n'
    server = Server(folder, rest=rest, workers=options.workers)
    server.root = root
    target.create_tables(server, url)
    server.start()
    try:
        yield Side(server, source)
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
            operation, queues[id(side)], options.connections, seconds, most
        )
        side.turn(work, seconds)
        most = max(most, MARGIN * side.slices[-1].rate)

    for side in sides:
        turn(side, ASIDE)
        side.slices, side.cpu = [], []
    for number in range(options.rounds):
        for side in sides[:: -1 if number % 2 else 1]:
            turn(side, options.seconds)


def ratio(base: Sequence[float], new: Sequence[float]) -> float:
    """Return the middle one of the ratios of neighbouring turns."""
    return statistics.median(n / b for b, n in zip(base, new, strict=True))


def _row(kind: Kind, base: Side, new: Side) -> Sequence[str]:
    tail_ratio = ratio(base.quantiles(0.99), new.quantiles(0.99))
    return (
        kind.title,
        f'{base.rate:.0f}',
        f'{new.rate:.0f}',
        f'{ratio(base.rates, new.rates):.2f}',
        *(
            f'{side.quantile(part) * 1000:.1f}'
            for part in (0.5, 0.99)
            for side in (base, new)
        ),
        f'{tail_ratio:.2f}',
        *(f'{statistics.median(side.cpu) * 1e6:.0f}' for side in (base, new)),
        f'{ratio(base.cpu, new.cpu):.2f}',
    )


if __name__ == '__main__':
    sys.exit(main())
