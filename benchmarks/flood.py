# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.flood``: one project at full speed beside another.

Clients of one project post and list at a modest pace: first alone, then while
another project sends as many requests as are answered, over HTTP, over
WebSocket, or posts to a queue with many subscribers. The exit code is 1 if the
p99 of the modest project is five times what it was alone or more, or if one of
its requests failed. With ``--against`` another build is flooded as well, for
comparison only.
"""

from __future__ import annotations

import argparse
import contextlib
import pathlib
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec

from benchmarks import (
    builds,
    load,
    machine,
    paced,
    program_options,
    report,
    requests,
    websocket_connections,
)
from benchmarks.load import Connection, Step
from benchmarks.paced import Client
from benchmarks.receiver import Receiver
from benchmarks.target import BODY, POSTER, TTL

SECTION = 'One project at full speed beside another'

#: Clients of the modest project, and seconds between two requests of one.
CLIENTS = 4
PACE = 0.04

#: Times the quiet p99 that is allowed beside a flood.
MOST = 5.0

#: Connections of the flood, and subscribers of its queue.
CONNECTIONS = 64
SUBSCRIBERS = 20

FLOOD = 'flooding'

_REST = """
[notification]
allowed_networks = 127.0.0.0/8
"""

_HEAD = (
    'beside',
    'requests',
    'failed',
    'p50 ms',
    'p99 ms',
    'of quiet p99',
    'flood/s',
    '',
)

_PATH = '/v2/queues/q/messages'


def _post(project: str) -> Step:
    body = b'{"messages":[{"ttl":%d,"body":%b}]}' % (TTL, BODY)
    data = requests.request(project, 'POST', _PATH, body, client=POSTER)
    return Step(data, 201)


def _list(project: str) -> Step:
    data = requests.request(project, 'GET', f'{_PATH}?limit=10&echo=true')
    return Step(data, 200)


def over_http(port: int, _: int, seconds: float) -> float:
    """Post and list on many connections; return requests a second."""
    steps = _post(FLOOD), _list(FLOOD)
    scripts = [load.repeat(*steps) for _ in range(CONNECTIONS)]
    return load.run(port, scripts, seconds).rate


def over_websocket(_: int, port: int, seconds: float) -> float:
    """Post on many sockets; return requests a second."""
    messages = [{'ttl': TTL, 'body': BODY.decode()}]
    frame = websocket_connections.request(
        FLOOD, 'message_post', {'queue_name': 'q', 'messages': messages}
    )
    scripts = [load.repeat(Step(frame, 201)) for _ in range(CONNECTIONS)]
    return load.run(port, scripts, seconds, websocket_connections.Socket).rate


def deliveries(port: int, _: int, seconds: float) -> float:
    """Post to a queue with many subscribers; return deliveries a second."""
    receiver = Receiver()
    connection = Connection(port)
    for number in range(SUBSCRIBERS):
        there = {'subscriber': f'{receiver.url}/{number}', 'ttl': TTL}
        data = requests.request(
            FLOOD,
            'POST',
            '/v2/queues/q/subscriptions',
            msgspec.json.encode(there),
        )
        connection.exchange(Step(data, 201))
    connection.close()
    scripts = [load.repeat(_post(FLOOD)) for _ in range(4)]
    return load.run(port, scripts, seconds).rate


FLOODS: Mapping[str, Callable[[int, int, float], float]] = {
    'http': over_http,
    'websocket': over_websocket,
    'deliveries': deliveries,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = _options(arguments)
    if options.as_flood:
        ports = options.as_flood
        rate = FLOODS[options.name[0]](*ports, options.seconds + 2)
        print(f'{rate:.0f}', flush=True)
        return 0
    facts = {
        **machine.description(options.against),
        'Load average': machine.load(),
    }
    print(report.facts(facts))
    table = report.Table(
        f'{CLIENTS} clients, {1 / PACE:g} requests a second each, for '
        f'{options.seconds:g} s, one worker',
        _HEAD,
    )
    trees = {'': builds.THIS}
    if options.against is not None:
        trees = {'base, ': options.against, 'new, ': builds.THIS}
    failed = False
    for name in options.name or FLOODS:
        for title, root in trees.items():
            with _server(root, options.conf) as server:
                _ask(server, 2.0)
                quiet = _ask(server, options.seconds)
                alone = f'({title}alone before {name})'
                table.rows.append(_row(alone, quiet))
                with _beside(name, server, options.seconds) as rates:
                    loud = _ask(server, options.seconds)
            growth = paced.p99(loud) / paced.p99(quiet)
            bad = growth >= MOST or any(one.failures for one in loud)
            table.rows.append(
                _row(f'{title}{name}', loud, growth, rates[0], bad)
            )
            failed = failed or (bad and root == builds.THIS)
        print(table.text(), flush=True)
    report.write_section(
        options.markdown, SECTION, report.facts(facts), table.markdown()
    )
    return int(failed)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = program_options.parser('flood', __doc__)
    add = parser.add_argument
    add('name', nargs='*', choices=[[], *FLOODS])
    add('--seconds', type=float, default=20.0, help='of each row (20)')
    add('--conf', default='', help='further lines of the configuration')
    program_options.add_other_build(parser)
    add('--as-flood', type=int, nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


@contextlib.contextmanager
def _server(root: pathlib.Path, more: str) -> Iterator[builds.Server]:
    rest = _REST + more.replace('\\n', '\n')
    with tempfile.TemporaryDirectory(prefix='zaqar-bench-') as folder:
        server = builds.Server(pathlib.Path(folder), rest=rest)
        server.root = root
        server.start()
        try:
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def _beside(
    name: str, server: builds.Server, seconds: float
) -> Iterator[list[str]]:
    """Have a process of its own flood the service meanwhile.

    :returns: a list that has its rate afterwards
    """
    ports = ['--as-flood', str(server.port), str(server.socket_port)]
    command = [sys.executable, '-m', 'benchmarks.flood', name, *ports]
    process = subprocess.Popen(
        [*command, '--seconds', str(seconds)],
        stdout=subprocess.PIPE,
        text=True,
    )
    rates = ['']
    time.sleep(1)
    try:
        yield rates
        rates[0], _ = process.communicate(timeout=60)
        rates[0] = rates[0].strip()
    finally:
        process.kill()
        process.wait()


def _ask(server: builds.Server, seconds: float) -> list[Client]:
    project = f'bench-{secrets.token_hex(6)}'
    steps = _post(project), _list(project)
    clients = [
        Client(server.port, steps, pace=PACE, delay=number * PACE / CLIENTS)
        for number in range(CLIENTS)
    ]
    paced.run(clients, seconds)
    return clients


def _row(
    title: str,
    clients: Sequence[Client],
    growth: float | None = None,
    rate: str = '',
    bad: bool = False,
) -> Sequence[str]:
    return (
        title,
        *paced.cells(clients),
        '' if growth is None else f'{growth:.1f}',
        rate,
        'HIGH' if bad else '',
    )


if __name__ == '__main__':
    sys.exit(main())
