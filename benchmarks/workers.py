# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.workers``: several workers beside one.

Each worker has the same share of a core, so that neither the clients nor the
store are what limits the rate, although they are on the same machine. Servers
with one worker and with more, each with a database of its own on the same
store, take turns.
"""

from __future__ import annotations

import argparse
import contextlib
import pathlib
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks import (
    client_scripts,
    core_shares,
    databases,
    machine,
    program_options,
    report,
)
from benchmarks.deployment import (
    API,
    CLIENT,
    STORE,
    Deployment,
    Slice,
    deployed,
)

SECTION = 'Workers'

STORES = ('redis-in-memory', 'sqlite')

OPERATIONS = ('post 1', 'list 10', 'claim 5 + delete', 'show')

#: Of the rate of one worker, what two are to have.
LEAST = 1.6

#: What a client or a store may use of a core, in the median turn, if it is not
#: to be the limit.
MOST = 0.9

#: Seconds of a slice that is not counted, to warm up.
ASIDE = 0.5

_HEAD = (
    *('operation', 'workers', 'requests/s', 'of one worker'),
    *('CPU µs of a worker', 'of the store', 'of the client'),
    *('cores of workers', 'of the store', 'of the client', 'of others', ''),
)


@dataclass
class Side:
    """A server with some workers, and what was measured in each turn."""

    deployment: Deployment
    workers: int
    slices: list[Slice]

    @property
    def rates(self) -> list[float]:
        """Requests per second, by turn."""
        return [one.rate for one in self.slices]

    def cpu(self, part: str) -> float:
        """Return the processor time of a request in the middle turn."""
        return statistics.median(one.cpu[part] for one in self.slices)

    def cores(self, part: str) -> float:
        """Return the cores that were busy with a part, in the middle turn."""
        return statistics.median(
            one.rate * one.cpu[part] for one in self.slices
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = _options(arguments)
    facts = {
        **machine.description(),
        'Settings': f'{options.share:.0%} of a core for each worker, '
        f'{options.connections} connections, {options.rounds} turns of '
        f'{options.seconds:g} s each',
        'Load average at the start': machine.load(),
    }
    print(report.facts(facts))
    parts, code = [report.facts(facts)], 0
    for _, chosen in databases.chosen(options.store or STORES):
        with chosen as source:
            try:
                table = _measured(source, options)
            except core_shares.UnavailableError as reason:
                print(f'Nothing is measured: {reason}', file=sys.stderr)
                return 0
        print(table.text(), flush=True)
        parts.append(table.markdown())
        code = code or int(any(row[-1] for row in table.rows))
    section = program_options.section(SECTION, options.store)
    report.write_section(options.markdown, section, *parts)
    return code


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = program_options.parser('workers', __doc__)
    add = parser.add_argument
    program_options.add_databases(parser, STORES)
    add(
        '--operation',
        action='append',
        choices=client_scripts.OPERATIONS,
        help=f'may be given again ({", ".join(OPERATIONS)})',
    )
    add('--workers', type=int, nargs='+', default=[1, 2, 4], help='(1 2 4)')
    add(
        '--share',
        type=float,
        default=0.2,
        help='of a core, for each worker (%(default)s)',
    )
    add('--seconds', type=float, default=1.0, help='of a turn (%(default)s)')
    add('--rounds', type=int, default=5, help='of turns (%(default)s)')
    add('--connections', type=int, default=32, help='(%(default)s)')
    options = parser.parse_args(arguments)
    options.operation = options.operation or OPERATIONS
    return options


def _measured(
    source: databases.Source, options: argparse.Namespace
) -> report.Table:
    """Return the table of a store.

    :raises core_shares.UnavailableError: workers cannot be limited here
    """
    table = report.Table(source.title, _HEAD)
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(
            stack.enter_context(
                tempfile.TemporaryDirectory(prefix='zaqar-bench-')
            )
        )
        sides = {}
        for workers in options.workers:
            deployment = stack.enter_context(
                deployed(folder / f'{workers}', [source], workers=workers)
            )
            stack.enter_context(
                core_shares.limited(deployment.pids(API), options.share)
            )
            sides[workers] = deployment
        for operation in options.operation:
            for row in _compared(operation, sides, options):
                table.rows.append(row)
                print(*row, sep='  ', flush=True)
    return table


def _compared(
    operation: str,
    deployments: Mapping[int, Deployment],
    options: argparse.Namespace,
) -> Sequence[Sequence[str]]:
    """Return the rows of an operation."""
    sides = [Side(one, count, []) for count, one in deployments.items()]

    def turn(side: Side, seconds: float) -> Slice:
        return side.deployment.turn(
            client_scripts.OPERATIONS[operation], options.connections, seconds
        )

    for side in sides:
        turn(side, ASIDE)
    for number in range(options.rounds):
        for side in sides[:: -1 if number % 2 else 1]:
            side.slices.append(turn(side, options.seconds))
    return [_row(operation, sides[0], side) for side in sides]


def _row(operation: str, first: Side, side: Side) -> Sequence[str]:
    parts = (API, STORE, CLIENT)
    others = statistics.median(one.others for one in side.slices)
    middle = report.middle_ratio(first.rates, side.rates)
    is_low = side.workers == 2 * first.workers and middle < LEAST
    busy = [part for part in (STORE, CLIENT) if side.cores(part) > MOST]
    mark = f'the {" and the ".join(busy)} was busy' if busy else 'LOW' * is_low
    return (
        operation,
        f'{side.workers}',
        f'{statistics.median(side.rates):,.0f}',
        '' if side is first else report.ratio(first.rates, side.rates),
        *(f'{side.cpu(part) * 1e6:.0f}' for part in parts),
        *(f'{side.cores(part):.2f}' for part in parts),
        f'{others:.2f}',
        mark,
    )


if __name__ == '__main__':
    sys.exit(main())
