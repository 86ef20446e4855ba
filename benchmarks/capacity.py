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
import math
import os
import pathlib
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks import costs, databases, machine, program_options, report
from benchmarks.costs import DELIVERY, PUSH, Cost
from benchmarks.deployment import (
    API,
    CLIENT,
    NOTIFIER,
    SOCKETS,
    STORE,
    Deployment,
    Slice,
    deployed,
)
from zaqar.pools.queue_record_cache import CACHED, FRESH

SECTION = 'Capacity'

#: Part of its time for which each part may be busy.
FILL = 0.7

#: How far a measured rate may be off its forecast.
TOLERANCE = 0.2

#: Operations that are checked.
CHECKED = ('post 1', 'list 10', 'claim 5 + delete')

#: Where records are looked up.
RECORDS = 'records of queues'

#: What all parts share where they are measured.
MACHINE = 'all cores'

#: Cores that can work for one of each part.
CORES = {API: 1, NOTIFIER: 1, SOCKETS: 1}

#: Connections of one WebSocket server, unless ``max_connections`` is raised.
CONNECTIONS = 10_000

#: The requests of a message's life.
LIVES: Mapping[str, Sequence[str]] = {
    'one': ('post 1', 'claim 5 + delete'),
    'ten': ('post 10', 'claim 10 + settle'),
}

Costs = Mapping[str, Cost]


@dataclass
class Load:
    """What a deployment shall carry.

    :ivar messages: posted, claimed and deleted a second
    :ivar life: key of :data:`LIVES`
    :ivar pages: read a second
    :ivar deliveries: to webhooks a second
    :ivar pushes: to WebSocket connections a second
    :ivar sockets: WebSocket connections
    :ivar queues: that are in use
    """

    messages: float
    life: str = 'one'
    pages: float = 0.0
    deliveries: float = 0.0
    pushes: float = 0.0
    sockets: float = 0.0
    queues: float = 1000.0

    def rates(self) -> Mapping[str, float]:
        """Return operations a second, by name."""
        requests = {
            name: self.messages * costs.OPERATIONS[name].each
            for name in LIVES[self.life]
        }
        return {
            **requests,
            'list 10': self.pages,
            DELIVERY: self.deliveries,
            PUSH: self.pushes,
        }


@dataclass
class Need:
    """What a load needs of a part.

    :ivar cores: that are busy with it
    :ivar count: how many there have to be
    :ivar each: cores that one of them has
    """

    part: str
    cores: float
    count: int
    each: float

    @property
    def busy(self) -> float:
        """The part of its time for which each is busy."""
        return self.cores / (self.count * self.each)


def needs(known: Costs, load: Load, store_cores: float) -> Sequence[Need]:
    """Return what a load needs, the part that is busiest first.

    :param store_cores: that one store can use: 1 of Redis
    """
    rates = load.rates()
    found = []
    for part, each in {**CORES, STORE: store_cores}.items():
        cores = sum(
            rate * known[name].cpu.get(part, 0.0)
            for name, rate in rates.items()
        )
        need = _need(part, cores, each)
        if part == SOCKETS:
            least = math.ceil(load.sockets / CONNECTIONS)
            need.count = max(need.count, least)
        found.append(need)
    (workers,) = (need.count for need in found if need.part == API)
    reads = record_reads(requests(rates), load.queues, workers)
    # There is one management store, however many there would have to be.
    cores = reads * known['show'].cpu[STORE]
    found.append(Need(RECORDS, cores, 1, store_cores))
    return sorted(found, key=lambda need: -need.busy)


def _need(part: str, cores: float, each: float) -> Need:
    return Need(part, cores, max(1, math.ceil(cores / (each * FILL))), each)


def requests(rates: Mapping[str, float]) -> float:
    """Return the requests a second of API workers."""
    return sum(
        rate for name, rate in rates.items() if name in costs.OPERATIONS
    )


def record_reads(rate: float, queues: float, workers: int) -> float:
    """Return the look-ups a second of records that no worker has cached.

    :param rate: of requests, which spread evenly over queues and workers
    """
    # Each worker looks a queue up once in FRESH seconds while it is used, or
    # as often as it is used, if it forgets it before.
    each = rate / (queues * workers)
    fresh = min(FRESH, CACHED * workers / rate if rate else FRESH)
    if queues <= CACHED:
        fresh = FRESH
    return rate / (1 + each * fresh)


def traffic(known: Costs, load: Load) -> tuple[float, float]:
    """Return the bytes a second to and from clients, and stores."""
    rates = load.rates().items()
    return (
        sum(rate * known[name].client_bytes for name, rate in rates),
        sum(rate * known[name].store_bytes for name, rate in rates),
    )


def limits(
    known: Slice, workers: int, stores: int, others: float
) -> Mapping[str, float]:
    """Return the requests a second that each part of this machine admits.

    The client is a part, too: it is on the same machine, and has one thread.

    :param known: of one worker on one store
    :param others: cores that other work of the machine takes
    """
    cpu = known.cpu
    # A worker is one core, and what its threads do beside it.
    worker = max(1.0, known.rate * cpu[API])
    cores = (os.cpu_count() or 1) - others
    return {
        API: workers * worker / cpu[API],
        STORE: stores / cpu[STORE],
        CLIENT: 1 / cpu[CLIENT],
        MACHINE: cores / sum(cpu.values()),
    }


def forecast(known: Slice, workers: int, stores: int, others: float) -> float:
    """Return the requests a second of a deployment; see :func:`limits`."""
    return min(limits(known, workers, stores, others).values())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = _options(arguments)
    facts = {
        **machine.description(),
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
            tables, code = [_checked(stores, folder, options)], 0
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
    for table in tables:
        print(table.text())
    parts = [report.facts(facts), *(one.markdown() for one in tables)]
    section = f'{SECTION}, {options.store}'
    section += ': forecasts' if options.check else ''
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
    options = parser.parse_args(arguments)
    if options.store_cores is None:
        options.store_cores = 1 if options.store.startswith('redis') else 8
    return options


def _cost_table(title: str, known: Costs) -> report.Table:
    parts = (API, STORE, NOTIFIER, SOCKETS)
    head = ['CPU in µs of', *parts]
    head += ['round trips', 'bytes, store', 'bytes, client']
    rows = [
        (
            name,
            *(f'{cost.cpu.get(part, 0) * 1e6:.0f}' for part in parts),
            f'{cost.trips:.2f}',
            f'{cost.store_bytes:,.0f}',
            f'{cost.client_bytes:,.0f}',
        )
        for name, cost in known.items()
    ]
    memory = known[PUSH].memory / 1024
    return report.Table(
        f'{title}; a socket holds {memory:.0f} KiB', head, rows
    )


def _need_table(known: Costs, options: argparse.Namespace) -> report.Table:
    head = ('load and life', 'part', 'busy cores', 'how many', 'busy', '')
    rows = []
    for life in LIVES:
        load = Load(
            options.messages,
            life,
            options.pages,
            options.deliveries,
            options.pushes,
            options.sockets,
            options.queues,
        )
        found = needs(known, load, options.store_cores)
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
        to_clients, to_stores = traffic(known, load)
        network = f'{to_clients * 8e-9:.2f} + {to_stores * 8e-9:.2f} Gbit/s'
        rows.append((rows[-1][0], 'network', network, '', '', ''))
    held = options.sockets * known[PUSH].memory / 2**30
    title = f'{options.queues:,.0f} queues, {options.sockets:,.0f} sockets'
    return report.Table(f'{title} of {held:.1f} GiB', head, rows)


def _checked(
    stores: Sequence[databases.Source],
    folder: pathlib.Path,
    options: argparse.Namespace,
) -> report.Table:
    """Return forecasts beside what is measured, in turns."""
    head = ('operation', 'deployment', 'limit', 'CPU µs of one worker')
    head += ('CPU µs', 'forecast/s', 'rate/s', 'ratio', '')
    table = report.Table(f'Forecasts, {stores[0].title}', head)
    shapes = {
        'one worker': (1, 1),
        'two workers': (2, 1),
        'two workers, three pools': (2, 3),
    }
    with contextlib.ExitStack() as stack:
        sides = {
            name: stack.enter_context(
                deployed(
                    folder / f'{workers}-{count}',
                    stores[:count],
                    workers=workers,
                )
            )
            for name, (workers, count) in shapes.items()
        }
        for operation in CHECKED:
            table.rows += _compared(operation, shapes, sides, options)
    return table


def _compared(
    operation: str,
    shapes: Mapping[str, tuple[int, int]],
    sides: Mapping[str, Deployment],
    options: argparse.Namespace,
) -> Sequence[Sequence[str]]:
    """Return the rows of an operation."""
    pairs: dict[str, list[tuple[Slice, Slice]]] = {}
    for number in range(-1, options.rounds):
        slices = {
            name: side.turn(
                costs.OPERATIONS[operation],
                options.connections,
                options.seconds,
            )
            for name, side in sides.items()
        }
        base, *others = slices.items()
        for name, one in others if number >= 0 else ():
            pairs.setdefault(name, []).append((base[1], one))
    return [
        _compared_shape(operation, name, shapes[name], both)
        for name, both in pairs.items()
    ]


def _compared_shape(
    operation: str,
    name: str,
    shape: tuple[int, int],
    pairs: Sequence[tuple[Slice, Slice]],
) -> Sequence[str]:
    """Return the row of a deployment."""
    middle = statistics.median
    bounds = [limits(base, *shape, one.others) for base, one in pairs]
    names = [min(each, key=lambda part: each[part]) for each in bounds]
    ratio = middle(
        one.rate / min(each.values())
        for each, (_, one) in zip(bounds, pairs, strict=True)
    )
    cpu = [
        middle(sum(side.cpu.values()) for side in sides)
        for sides in zip(*pairs, strict=True)
    ]
    return (
        operation,
        name,
        statistics.mode(names),
        *(f'{seconds * 1e6:.0f}' for seconds in cpu),
        f'{middle(min(each.values()) for each in bounds):,.0f}',
        f'{middle(one.rate for _, one in pairs):,.0f}',
        f'{ratio:.2f}',
        'OFF' if abs(ratio - 1) > TOLERANCE else '',
    )


if __name__ == '__main__':
    sys.exit(main())
