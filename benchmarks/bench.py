# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.bench``: the speed of one worker on each store."""

from __future__ import annotations

import argparse
import contextlib
import os
import pathlib
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence

from benchmarks import (
    databases,
    depth,
    load,
    machine,
    program_options,
    rates_beside_floor,
    report,
)
from benchmarks.operations import OPERATIONS
from benchmarks.report import Table
from benchmarks.target import Target

#: Settings of ``--short``, for continuous integration.
SHORT = {'seconds': 0.1, 'depth': 20_000, 'rounds': 20}

#: Settings without it.
FULL = {'seconds': 5.0, 'depth': 1_000_000, 'rounds': 200}

#: Characters of the server's log that are shown when it fails.
LOG_TAIL = 4000

SECTION = 'Benchmark'


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = _options(arguments)
    facts = {**machine.description(), **_settings(options)}
    print(report.facts(facts))
    tables: list[Table] = []
    cores = machine.cores()
    for name, context in databases.chosen(options.store):
        try:
            # Database servers are not pinned, so they start before us.
            with context as source, machine.pinned(cores and cores[1]):
                tables += _measured(source, options)
        except databases.Missing as reason:
            if os.environ.get('CI'):
                raise
            _say(f'{name} is skipped: {reason}')
    facts['Load average at the end'] = machine.load()
    parts = [report.facts(facts), *(table.markdown() for table in tables)]
    section = program_options.section(SECTION, options.store)
    report.write_section(options.markdown, section, *parts)
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = program_options.parser('bench', __doc__)
    add = parser.add_argument
    program_options.add_databases(parser)
    add(
        '--seconds',
        type=float,
        help='for each operation, for the service and again for the floor '
        f'({FULL["seconds"]})',
    )
    add(
        '--connections',
        type=int,
        default=8,
        help='that ask at the same time (%(default)s)',
    )
    add(
        '--depth',
        type=int,
        help='messages of the deep queue; 0 for no such table '
        f'({FULL["depth"]:,})',
    )
    add(
        '--rounds',
        type=int,
        help='calls of each operation in the table of depths '
        f'({FULL["rounds"]})',
    )
    add(
        '--operation',
        action='append',
        choices=[kind.title for kind in OPERATIONS],
        help='measure only this one, as for a profile; may be given again',
    )
    add(
        '--short',
        action='store_true',
        help='everything within a minute, with figures to match',
    )
    options = parser.parse_args(arguments)
    for key, value in (SHORT if options.short else FULL).items():
        if getattr(options, key) is None:
            setattr(options, key, value)
    return options


def _settings(options: argparse.Namespace) -> Mapping[str, str]:
    cores = machine.cores()
    pinning = (
        f'server and floor on core {cores[0]}, client on core {cores[1]}, '
        'database servers on any'
        if cores
        else 'nothing is pinned: there is one core'
    )
    return {
        'Settings': '1 worker with the default settings, '
        f'{options.connections} connections, {options.seconds:g} s for each '
        'operation and side in slices of '
        f'{min(rates_beside_floor.SLICE, options.seconds):g} s; '
        f'{options.rounds} rounds in the table of depths',
        'Cores': pinning,
        'Load average at the start': machine.load(),
    }


def _measured(
    source: databases.Source, options: argparse.Namespace
) -> Iterator[Table]:
    with (
        tempfile.TemporaryDirectory(prefix='zaqar-bench-') as folder,
        contextlib.ExitStack() as stack,
    ):

        def target(name: str) -> Target:
            path = pathlib.Path(folder, name)
            return stack.enter_context(_target(source, path))

        first = target('rates')
        yield _shown(_rates(source, options, first))
        if options.depth:
            # A server that has worked is a little slower than a fresh one.
            pair = [
                first if options.short else target(name)
                for name in ('shallow', 'deep')
            ]
            yield _shown(_depths(source, options, *pair))


def _rates(
    source: databases.Source, options: argparse.Namespace, target: Target
) -> Table:
    bench = rates_beside_floor.Bench(
        target, seconds=options.seconds, connections=options.connections
    )
    results = []
    for kind in OPERATIONS:
        if not options.operation or kind.title in options.operation:
            _say(f'{source.title}: {kind.title} ...')
            results.append(bench.measure(kind))
    return rates_beside_floor.table(f'{source.title}: rates', results)


def _depths(
    source: databases.Source,
    options: argparse.Namespace,
    shallow: Target,
    deep: Target,
) -> Table:
    _say(f'{source.title}: filling {options.depth:,} messages ...')
    queues = [
        depth.Filled(shallow, depth.SHALLOW),
        depth.Filled(deep, options.depth),
    ]
    filling = f'filled in {queues[1].filling:.0f} s'
    _say(f'{source.title}: {filling}')
    times = []
    for way in (depth.AtStore, depth.OverHttp):
        _say(f'{source.title}: depths, {way.__name__} ...')
        times.append(depth.measure(way, queues, options.rounds))
    title = f'{source.title}: depths ({filling})'
    return depth.table(title, options.depth, *times)


@contextlib.contextmanager
def _target(
    source: databases.Source, folder: pathlib.Path
) -> Iterator[Target]:
    folder.mkdir()
    target = Target(source.database(), folder)
    try:
        yield target
    except load.WrongAnswerError:
        _say(target.server.log.read_text()[-LOG_TAIL:])
        raise
    finally:
        target.close(tidy=not source.is_ours)


def _shown(table: Table) -> Table:
    print(table.text(), flush=True)
    return table


def _say(text: str) -> None:
    print(f'{time.strftime("%H:%M:%S")} {text}', file=sys.stderr, flush=True)


if __name__ == '__main__':
    try:
        sys.exit(main())
    except load.WrongAnswerError as error:
        sys.exit(f'benchmarks.bench: {error}')
