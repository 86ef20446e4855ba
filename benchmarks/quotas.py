# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.quotas``: what quotas and rates cost.

Two services of this build, each with a database of its own on the same server,
one with limits on everything and one without, take short turns: first in this
process, without HTTP, then over connections. No limit is ever reached. The
exit code is 1 if posts or lists lose more than five percent of their rate.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence

from benchmarks import (
    builds,
    compare,
    databases,
    function_calls,
    machine,
    program_options,
    report,
    requests,
)
from benchmarks.load import Step

SECTION = 'Quotas and rates'

#: The least part of the rate that is left.
LEAST = 0.95

#: Requests of a turn within the process, and messages of its queue.
BATCH = 200
DEPTH = 100

#: What limits everything, by more than any run reaches.
LIMITS = """
[quotas]
queues = 1000000
topics = 1000000
subscriptions = 1000000
subscriptions_per_queue = 1000000
sockets = 1000000
message_bytes = 1000000000000
delivery_bytes = 1000000000000
[rates]
requests = 1000000
messages = 1000000
message_bytes = 1000000000
deliveries = 1000000
mails = 1000000
"""

_SENDER = requests.Requests(function_calls.Queue())

_STEPS: Mapping[str, Step] = {
    'post 1': _SENDER.post(1),
    'list 10': _SENDER.list(),
}

_HEAD = (
    'operation',
    'without/s',
    'with/s',
    'ratio',
    'without CPU µs',
    'with CPU',
    'CPU ratio',
    'in process: without CPU µs',
    'with CPU',
    'CPU ratio',
    'calls without',
    'calls with',
    '',
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = _options(arguments)
    facts = {
        **machine.description(),
        'Settings': f'{options.workers} worker(s) with {options.threads} '
        f'threads, {options.connections} connections, {options.rounds} turns '
        f'of {options.seconds:g} s, and of {BATCH} requests in the process',
        'Load average at the start': machine.load(),
    }
    print(report.facts(facts))
    parts = [report.facts(facts)]
    failed = False
    for name, chosen in databases.chosen(options.store):
        with chosen as source:
            alone = _in_process(source, options.rounds)
            rows = _over_http(source, options)
            for row, cpu in zip(rows, alone, strict=True):
                row[7:7] = cpu
            table = report.Table(f'{source.title or name}', _HEAD, rows)
        print(table.text(), flush=True)
        parts.append(table.markdown())
        failed = failed or any(row[-1] for row in rows)
    report.write_section(options.markdown, SECTION, *parts)
    return int(failed)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = program_options.parser('quotas', __doc__)
    add = parser.add_argument
    program_options.add_databases(parser)
    add('--seconds', type=float, default=0.5, help='of a turn (%(default)s)')
    add('--rounds', type=int, default=40, help='of turns (%(default)s)')
    add('--workers', type=int, default=1, help='(%(default)s)')
    add('--threads', type=int, default=4, help='(%(default)s)')
    add('--connections', type=int, default=8, help='(%(default)s)')
    parser.set_defaults(over='http')
    return parser.parse_args(arguments)


def _in_process(
    source: databases.Source, rounds: int
) -> Sequence[Sequence[str]]:
    """Return of each operation the processor time without and with limits."""
    with contextlib.ExitStack() as stack:
        sides = [
            function_calls.Application(
                stack.enter_context(
                    function_calls.service(source.database(), rest)
                )
            )
            for rest in ('', LIMITS)
        ]
        for side in sides:
            for step in (_SENDER.post(DEPTH), *_STEPS.values()):
                side.exchange(step)
        return [_cpu_cells(sides, step, rounds) for step in _STEPS.values()]


def _cpu_cells(
    sides: Sequence[function_calls.Application], step: Step, rounds: int
) -> Sequence[str]:
    spent: list[list[float]] = [[], []]
    for number in range(rounds):
        for place in (0, 1)[:: -1 if number % 2 else 1]:
            gc.collect()
            before = time.process_time()
            for _ in range(BATCH):
                sides[place].exchange(step)
            spent[place].append((time.process_time() - before) / BATCH)
    return (
        *(f'{statistics.median(one) * 1e6:.0f}' for one in spent),
        f'{report.middle_ratio(*spent):.3f}',
        *(
            str(function_calls.total(function_calls.count(side, step)))
            for side in sides
        ),
    )


def _over_http(
    source: databases.Source, options: argparse.Namespace
) -> list[list[str]]:
    with (
        tempfile.TemporaryDirectory(prefix='zaqar-bench-') as folder,
        contextlib.ExitStack() as stack,
    ):
        sides = [
            stack.enter_context(
                compare.started(
                    source,
                    pathlib.Path(folder, word),
                    builds.THIS,
                    options,
                    rest,
                )
            )
            for word, rest in (('without', ''), ('with', LIMITS))
        ]
        return [_row(name, sides, options) for name in _STEPS]


def _row(
    name: str, sides: Sequence[compare.Side], options: argparse.Namespace
) -> list[str]:
    compare.measure(compare.Kind(name, 1, options.connections), sides, options)
    base, new = sides
    ratio = report.middle_ratio(base.rates, new.rates)
    return [
        name,
        f'{base.rate:.0f}',
        f'{new.rate:.0f}',
        f'{ratio:.3f}',
        *(f'{statistics.median(one.cpu) * 1e6:.0f}' for one in sides),
        f'{report.middle_ratio(base.cpu, new.cpu):.3f}',
        'SLOW' if ratio < LEAST else '',
    ]


if __name__ == '__main__':
    sys.exit(main())
