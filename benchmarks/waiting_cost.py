# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.waiting_cost``: claims that wait beside requests.

Other requests are sent to a process in which thousands of claims wait, and in
which none does, in turns.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import msgspec

from benchmarks import (
    floor,
    load,
    machine,
    many_waiting_claims,
    program_options,
    report,
    requests,
    target,
    websocket_connections,
)
from benchmarks.load import Connection, Step, WrongAnswerError
from benchmarks.many_waiting_claims import Server

SECTION = 'Waiting claims and other requests'

STORES = ('redis', 'postgresql', 'sqlite')

#: Part of the rate without waiting claims that is promised beside them.
LEAST = 0.9

#: Bytes that the asynchronous server may hold with ten thousand of them.
MOST = 300 * 2**20

#: Connections that send the other requests, and messages that they list.
CONNECTIONS = 8
DEPTH = 1000

#: Seconds for which calls of stores are counted while nothing is sent.
QUIET = 5.0

#: What the listener calls, which looks at queues and whether they have moved,
#: and what any server calls to say that it lives.
LISTENING = frozenset({'message_store.availability', 'management_store.get'})
ALIVE = 'management_store.replace'

_HEAD = (
    'other requests',
    'without/s',
    'with/s',
    'ratio',
    'CPU without \u00b5s',
    'CPU with \u00b5s',
    '',
)


#: Makes a connection to a port.
Connect = Callable[[int], Connection]


@dataclass
class Side:
    """What was measured with waiting claims, or without.

    :ivar rates: requests a second, of each slice
    :ivar cpu: seconds of the server for a request, likewise
    :ivar memory: bytes of the server
    :ivar busy: part of a core that it used while nothing was sent
    :ivar calls: of stores meanwhile
    """

    rates: dict[str, list[float]] = field(default_factory=dict)
    cpu: dict[str, list[float]] = field(default_factory=dict)
    memory: int = 0
    busy: float = 0.0
    calls: collections.Counter[str] = field(
        default_factory=collections.Counter
    )

    def add(self, title: str, rate: float, cpu: float) -> None:
        self.rates.setdefault(title, []).append(rate)
        self.cpu.setdefault(title, []).append(cpu)


@dataclass(frozen=True)
class Process:
    """A process of a server under measurement, and the requests to it."""

    title: str
    server: Server
    port: int
    count: int
    kinds: Sequence[tuple[str, Step, Connect]]

    def measure(self, side: Side, seconds: float) -> None:
        """Measure a slice of each kind of request."""
        pid = self.server.pid(self.port)
        for title, step, connect in self.kinds:
            # What has just been busy gets less of a machine that is shared.
            self._run(step, seconds / 4, connect)
            before = machine.cpu_seconds(pid)
            samples = self._run(step, seconds, connect)
            spent = machine.cpu_seconds(pid) - before
            count = len(samples.latencies)
            if not count:
                raise WrongAnswerError('the machine is too busy')
            side.add(title, samples.rate, spent / count)
        self.server.settle(self.port)

    def _run(
        self, step: Step, seconds: float, connect: Connect
    ) -> load.Samples:
        scripts = [load.repeat(step) for _ in range(CONNECTIONS)]
        return load.run(self.port, scripts, seconds, connect)

    def look(self, side: Side) -> None:
        """Note what the process holds and does while nothing is sent."""
        pid = self.server.pid(self.port)
        side.memory = machine.rss(pid)
        before, spent = self.server.store_calls(), machine.cpu_seconds(pid)
        time.sleep(QUIET)
        side.busy = (machine.cpu_seconds(pid) - spent) / QUIET
        side.calls = self.server.store_calls() - before


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = _options(arguments)
    facts = {
        **machine.description(),
        'Settings': f'{CONNECTIONS} connections, {options.rounds} slices of '
        f'{options.seconds:g} s with and without waiting claims of '
        f'{options.queues} queues; the service on one core, the client on '
        'another',
        'Load average at the start': machine.load(),
    }
    print(report.facts(facts))
    parts, are_kept = [report.facts(facts)], True
    cores = machine.cores()
    for store in options.store or STORES[:1]:
        with (
            many_waiting_claims.serving(
                store, 'max_connections = 0\n'
            ) as place,
            machine.pinned(cores and cores[1]),
        ):
            title, server = place
            for process in _processes(server, options):
                if not process.count:
                    continue
                table, lines, is_kept = _measured(title, process, options)
                print(table.text(), *lines, '', sep='\n', flush=True)
                parts += [table.markdown(), *(f'- {it}' for it in lines), '']
                are_kept = are_kept and is_kept
    report.write_section(options.markdown, SECTION, *parts)
    return 0 if are_kept else 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = program_options.parser('waiting_cost', __doc__)
    add = parser.add_argument
    program_options.add_stores(parser, STORES, STORES[0])
    add(
        '--asynchronous',
        type=int,
        default=10_000,
        help='claims that wait at the asynchronous server; 0 leaves it out '
        '(10,000)',
    )
    add(
        '--api',
        type=int,
        default=500,
        help='claims that wait at the API worker; 0 leaves it out (500)',
    )
    add('--queues', type=int, default=100, help='that they wait for (100)')
    add('--rounds', type=int, default=5, help='slices of each rate (5)')
    add('--seconds', type=float, default=3.0, help='for each slice (3)')
    return parser.parse_args(arguments)


def _processes(
    server: Server, options: argparse.Namespace
) -> Sequence[Process]:
    """Return the two of a service, with a queue to be read."""
    project = server.project
    message = {'ttl': target.TTL, 'body': msgspec.Raw(target.BODY)}
    posted = msgspec.json.encode({'messages': [message]})
    fill = msgspec.json.encode({'messages': [message] * 100})

    def post(queue: str, body: bytes) -> Step:
        path = f'/v2/queues/{queue}/messages'
        data = requests.request(
            project, 'POST', path, body, client=target.POSTER
        )
        return Step(data, 201)

    connection = Connection(server.api)
    for _ in range(DEPTH // 100):
        connection.exchange(post('read', fill))
    for number in range(options.queues):
        path = f'/v2/queues/w{number}'
        data = requests.request(project, 'PUT', path)
        connection.exchange(Step(data, 201))
    connection.close()
    page = f'/v2/queues/read/messages?limit={floor.PAGE}'
    listed = Step(requests.request(project, 'GET', page), 200)
    frame = websocket_connections.request(
        project,
        'message_post',
        {'queue_name': 'posts', 'messages': [message]},
    )
    return (
        Process(
            'the asynchronous server',
            server,
            server.asynchronous,
            options.asynchronous,
            (
                (f'list {floor.PAGE}', listed, Connection),
                (
                    'post 1, a frame',
                    Step(frame, 201),
                    websocket_connections.Socket,
                ),
            ),
        ),
        Process(
            'an API worker',
            server,
            server.api,
            options.api,
            (
                (f'list {floor.PAGE}', listed, Connection),
                ('post 1', post('posts', posted), Connection),
            ),
        ),
    )


def _measured(
    store: str, process: Process, options: argparse.Namespace
) -> tuple[report.Table, Sequence[str], bool]:
    """Return figures and facts, and whether what is promised is kept."""
    without, crowded = Side(), Side()
    server, port = process.server, process.port
    for number in range(options.rounds):
        if not number:
            process.look(without)
        process.measure(without, options.seconds)
        with _waiting(process, options.queues):
            if not number:
                process.look(crowded)
            process.measure(crowded, options.seconds)
        server.settle(port)
    title = f'{store}: {process.count:,} claims wait at {process.title}'
    table = report.Table(title, _HEAD)
    are_kept = True
    for title in without.rates:
        row, is_kept = _row(title, without, crowded)
        table.rows.append(row)
        are_kept = are_kept and is_kept
    lines, is_kept = _facts(process, without, crowded)
    return table, lines, are_kept and is_kept


@contextlib.contextmanager
def _waiting(process: Process, queues: int) -> Iterator[None]:
    """Have claims wait, and be sure that they do."""
    steps = [
        many_waiting_claims.claim(
            process.server.project, f'w{number % queues}'
        )
        for number in range(process.count)
    ]
    with many_waiting_claims.waiting(process.port, steps) as connections:
        process.server.settle(process.port)
        yield
        if count := many_waiting_claims.answered(connections):
            raise WrongAnswerError(f'{count} claims were answered')


def _row(
    title: str, without: Side, crowded: Side
) -> tuple[Sequence[str], bool]:
    sides = (without, crowded)
    rates = [statistics.median(side.rates[title]) for side in sides]
    costs = [statistics.median(side.cpu[title]) for side in sides]
    ratio = rates[1] / rates[0]
    is_kept = ratio >= LEAST
    return (
        title,
        *(f'{rate:,.0f}' for rate in rates),
        f'{ratio:.2f}',
        *(f'{cost * 1e6:.0f}' for cost in costs),
        '' if is_kept else 'LOW',
    ), is_kept


def _facts(
    process: Process, without: Side, crowded: Side
) -> tuple[Sequence[str], bool]:
    usual = {*without.calls, *LISTENING, ALIVE}
    others = crowded.calls.keys() - usual
    is_large = crowded.memory >= MOST
    lines = [
        f'{without.memory / 2**20:,.0f} MiB without them, '
        f'{crowded.memory / 2**20:,.0f} MiB with them'
        + (' (LARGE)' if is_large else ''),
        f'{without.busy:.1%} of a core without them and without other '
        f'requests, {crowded.busy:.1%} with them',
        f'Store calls in {QUIET:g} s without other requests: '
        f'{_counts(crowded)}; without waiting claims: {_counts(without)}'
        + (f' (NOT ONLY THE LISTENER: {", ".join(others)})' if others else ''),
    ]
    return lines, not (is_large or others)


def _counts(side: Side) -> str:
    counts = [f'{call} {count}' for call, count in sorted(side.calls.items())]
    return ', '.join(counts) or 'none'


if __name__ == '__main__':
    try:
        sys.exit(main())
    except WrongAnswerError as error:
        sys.exit(f'benchmarks.waiting_cost: {error}')
