# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.overload``: one misbehaving client beside others.

Ten clients post once a second each, half of them over HTTP and half over
WebSocket: first alone, then beside one client that misbehaves in one of the
ways of :mod:`benchmarks.misbehaviour`. The exit code is 1 if the p99 of the
clients grows beyond three times what it was alone.
"""

from __future__ import annotations

import argparse
import contextlib
import pathlib
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence

from benchmarks import (
    load,
    machine,
    misbehaviour,
    paced,
    program_options,
    report,
    requests,
    websocket_connections,
)
from benchmarks.load import Step
from benchmarks.paced import Client
from benchmarks.target import BODY, POSTER, TTL
from zaqar.tests.servers.zaqar import Zaqar

SECTION = 'Overload'

#: Clients of each transport, and seconds between two posts of one.
CLIENTS = 5
PACE = 1.0

#: Times the quiet p99 that is allowed beside a caller that misbehaves.
MOST = 3.0

_REST = """
[notification]
allowed_networks = 127.0.0.0/8
"""

_HEAD = (
    'beside',
    'posts',
    'failed',
    'p50 ms',
    'p99 ms',
    'longest ms',
    'of quiet p99',
    'MiB',
    '',
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = _options(arguments)
    facts = {**machine.description(), 'Load average': machine.load()}
    print(report.facts(facts))
    table = report.Table(
        f'{2 * CLIENTS} clients, a post a second each, for '
        f'{options.seconds:g} s',
        _HEAD,
    )
    failed = False
    for name in options.name or misbehaviour.WAYS:
        with _server() as server:
            _posts(server, 3.0)
            quiet = _posts(server, options.seconds)
            table.rows.append(_row(server, f'(alone before {name})', quiet))
            with _beside(name, server):
                loud = _posts(server, options.seconds)
            growth = paced.p99(loud) / paced.p99(quiet)
            bad = growth > MOST or any(one.failures for one in loud)
            table.rows.append(_row(server, name, loud, growth, bad))
            failed = failed or bad
        print(table.text(), flush=True)
    report.write_section(
        options.markdown, SECTION, report.facts(facts), table.markdown()
    )
    return int(failed)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = program_options.parser('overload', __doc__)
    add = parser.add_argument
    add('name', nargs='*', choices=[[], *misbehaviour.WAYS])
    add('--seconds', type=float, default=30.0, help='of each row (30)')
    return parser.parse_args(arguments)


@contextlib.contextmanager
def _server() -> Iterator[Zaqar]:
    with tempfile.TemporaryDirectory(prefix='zaqar-bench-') as folder:
        server = Zaqar(pathlib.Path(folder), rest=_REST, workers=2).start()
        try:
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def _beside(name: str, server: Zaqar) -> Iterator[None]:
    """Have a process of its own misbehave meanwhile.

    It is nice to the other processes: on a cloud it would have a machine of
    its own, and only what it costs the service counts.
    """
    ports = [str(server.port), str(server.socket_port)]
    command = [sys.executable, '-m', 'benchmarks.misbehaviour', name, *ports]
    process = subprocess.Popen(
        ['nice', '-n', '19', *command], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    # A line says that all is prepared and that it has begun.
    if not process.stdout.readline():
        raise RuntimeError(f'{name} did not begin')
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _posts(server: Zaqar, seconds: float) -> list[Client]:
    project = f'bench-{secrets.token_hex(6)}'
    message = b'{"ttl":%d,"body":%b}' % (TTL, BODY)
    body = b'{"messages":[%b]}' % message
    path = '/v2/queues/posts/messages'
    over_http = requests.request(project, 'POST', path, body, client=POSTER)
    messages = [{'ttl': TTL, 'body': BODY.decode()}]
    frame = websocket_connections.request(
        project, 'message_post', {'queue_name': 'posts', 'messages': messages}
    )
    ways = (
        (server.port, Step(over_http, 201), load.Connection),
        (server.socket_port, Step(frame, 201), websocket_connections.Socket),
    )
    clients = [
        Client(
            port,
            [step],
            pace=PACE,
            delay=number * PACE / CLIENTS,
            connect=connect,
        )
        for number in range(CLIENTS)
        for port, step, connect in ways
    ]
    paced.run(clients, seconds)
    return clients


def _row(
    server: Zaqar,
    title: str,
    clients: Sequence[Client],
    growth: float | None = None,
    bad: bool = False,
) -> Sequence[str]:
    memory = sum(map(machine.rss, server.workers()))
    return (
        title,
        *paced.cells(clients),
        f'{paced.latencies(clients)[-1] * 1e3:.1f}',
        '' if growth is None else f'{growth:.1f}',
        f'{memory / 2**20:,.0f}',
        'HIGH' if bad else '',
    )


if __name__ == '__main__':
    sys.exit(main())
