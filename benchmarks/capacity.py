# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.capacity``: how many of each part a load needs.

Measures what one operation costs each part of a deployment, and reckons from
that how many of each a load needs, which part is the first to be saturated,
and what passes over the network. With ``--check`` it forecasts rates of two
workers, and of three pools, and fails if what it measures is further off than
it may be.
"""

from __future__ import annotations

import argparse
import contextlib
import pathlib
import sys
import tempfile
from collections.abc import Sequence

from benchmarks import (
    costs,
    databases,
    forecasts,
    guide_tables,
    machine,
    needs,
    program_options,
    report,
)
from benchmarks.costs import PUSH
from benchmarks.deployment import (
    API,
    NOTIFIER,
    SOCKETS,
    STORE,
)

SECTION = 'Capacity'

#: The files of the sizing guide: what operations cost, what messages need, and
#: what one of each part carries.
GUIDE = ('costs.csv', 'capacity.csv', 'limits.csv')


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = _options(arguments)
    facts = {
        **machine.description(),
        'Settings': f'{options.connections} connections, {options.rounds} '
        f'turns of {options.seconds:g} s each'
        + f', {options.share:.0%} of a core for each worker'
        * bool(options.check and options.share),
        'Load average at the start': machine.load(),
    }
    print(report.facts(facts))
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(
            stack.enter_context(
                tempfile.TemporaryDirectory(prefix='zaqar-bench-')
            )
        )
        count = 3 if options.check else 1
        stores = [
            stack.enter_context(databases.OWN[options.store]())
            for _ in range(count)
        ]
        if options.check:
            tables, code = [forecasts.checked(stores, folder, options)], 0
            code = int(any(row[-1] for row in tables[0].rows))
        else:
            known = costs.measured(
                stores[0],
                folder,
                connections=options.connections,
                seconds=options.seconds,
                rounds=options.rounds,
            )
            title, code = stores[0].title, 0
            tables = [_cost_table(title, known), _need_table(known, options)]
            if options.guide:
                _write_guide(tables[0], known, options)
    for table in tables:
        print(table.text())
    parts = [report.facts(facts), *(one.markdown() for one in tables)]
    section = f'{SECTION}, {options.store}'
    if options.check:
        section += ': forecasts'
        section += ', a share for each worker' if options.share else ''
    report.write_section(options.markdown, section, *parts)
    return code


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = program_options.parser('capacity', __doc__)
    add = parser.add_argument
    add(
        '--store',
        choices=('redis', 'redis-in-memory', 'postgresql', 'mariadb'),
        default='redis',
        help='(%(default)s)',
    )
    add('--seconds', type=float, default=2.0, help='of a slice (%(default)s)')
    add('--rounds', type=int, default=3, help='of slices (%(default)s)')
    add('--connections', type=int, default=32, help='(%(default)s)')
    add('--check', action='store_true', help='measure what is forecast')
    add(
        '--share',
        type=float,
        default=0.0,
        help='of a core that each worker gets meanwhile (a whole one)',
    )
    add('--messages', type=float, default=1e5, help='a second (%(default)g)')
    add('--pages', type=float, default=0.0, help='read a second')
    add('--deliveries', type=float, default=0.0, help='a second, to webhooks')
    add('--pushes', type=float, default=0.0, help='a second, to WebSockets')
    add('--sockets', type=float, default=0.0, help='WebSocket connections')
    add('--queues', type=float, default=1e3, help='in use (%(default)g)')
    add(
        '--store-cores',
        type=float,
        help='that one store can use (1 of Redis, 8 of others)',
    )
    program_options.add_guide(parser, ', '.join(GUIDE))
    options = parser.parse_args(arguments)
    if options.store_cores is None:
        options.store_cores = 1 if options.store.startswith('redis') else 8
    return options


def _write_guide(
    table: report.Table, known: needs.Costs, options: argparse.Namespace
) -> None:
    tables = (
        table,
        guide_tables.of_messages(known, options.store_cores),
        guide_tables.limits(known, options.store_cores),
    )
    for name, one in zip(GUIDE, tables, strict=True):
        print(one.text())
        report.write_csv(options.guide / name, one, anew=True)


def _cost_table(title: str, known: needs.Costs) -> report.Table:
    parts = (API, STORE, NOTIFIER, SOCKETS)
    head = ['CPU in µs of', *parts]
    head += ['round trips', 'bytes, store', 'bytes, client']
    rows = [
        (
            name,
            *(
                _unless_none(f'{cost.cpu.get(part, 0) * 1e6:.0f}')
                for part in parts
            ),
            _unless_none(f'{cost.trips:.2f}'),
            _unless_none(f'{cost.store_bytes:,.0f}'),
            _unless_none(f'{cost.client_bytes:,.0f}'),
        )
        for name, cost in known.items()
    ]
    memory = known[PUSH].memory / 1024
    return report.Table(
        f'{title}; a socket holds {memory:.0f} KiB', head, rows
    )


def _unless_none(figure: str) -> str:
    return figure if figure.strip('0.') else ''


def _need_table(
    known: needs.Costs, options: argparse.Namespace
) -> report.Table:
    head = ('load and life', 'part', 'busy cores', 'how many', 'busy', '')
    rows = []
    for life in needs.LIVES:
        load = needs.Load(
            options.messages,
            life,
            options.pages,
            options.deliveries,
            options.pushes,
            options.sockets,
            options.queues,
        )
        found = needs.of_load(known, load, options.store_cores)
        for number, need in enumerate(found):
            rows.append(
                (
                    f'{load.messages:,.0f}/s by {life}',
                    need.part,
                    f'{need.cores:.1f}',
                    f'{need.count}',
                    f'{need.busy:.0%}',
                    '' if number else 'saturated first',
                )
            )
        to_clients, to_stores = needs.traffic(known, load)
        network = f'{to_clients * 8e-9:.2f} + {to_stores * 8e-9:.2f} Gbit/s'
        rows.append((rows[-1][0], 'network', network, '', '', ''))
    held = options.sockets * known[PUSH].memory / 2**30
    title = f'{options.queues:,.0f} queues, {options.sockets:,.0f} sockets'
    return report.Table(f'{title} of {held:.1f} GiB', head, rows)


if __name__ == '__main__':
    sys.exit(main())
