# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.sqs``: messages through boto3, beside moto's server.

Clients are processes with one connection each, of the same settings for both.
They send messages for a while, then receive and delete what they have sent.
moto keeps messages in memory; this service commits them to SQLite. moto is
installed in a temporary environment, unless one is given.

boto3 takes more processor time for a request than this service: with fewer
clients than cores the rates are those of the clients. Hence the processor time
of the servers for each request is shown, too.
"""

from __future__ import annotations

import argparse
import contextlib
import multiprocessing
import pathlib
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import boto3
from botocore.config import Config

from benchmarks import machine, program_options, report
from benchmarks.report import Table
from zaqar.tests.servers import process
from zaqar.tests.servers.zaqar import Zaqar

SECTION = 'Amazon SQS clients'

#: By how much the rates have to be greater than those of moto.
LEAST_RATIO = 3.0

_MOTO = 'moto[server,sqs]'

_BODY = 'x' * 200

_ENABLED = '[drivers:transport:sqs]\nenabled = true\n'

_CONTEXT = multiprocessing.get_context('spawn')

#: Names of the rates, with the requests of each step.
SEND, RECEIVE = 'SendMessage', 'ReceiveMessage + DeleteMessage'
STEPS = {SEND: 1, RECEIVE: 2}


class Side(NamedTuple):
    """A server under measurement, and its processes."""

    endpoint: str
    pids: Sequence[int]


class Figures(NamedTuple):
    """What a round has measured.

    :ivar rate: steps a second
    :ivar server: microseconds of processor time of the server for a request
    :ivar client: likewise, of the client
    """

    rate: float
    server: float
    client: float


#: The figures of each step, round by round, for each side.
_Rounds = Mapping[str, Sequence[Mapping[str, Figures]]]


def _client(endpoint: str) -> Any:
    return boto3.client(
        'sqs',
        endpoint_url=endpoint,
        region_name='us-east-1',
        aws_access_key_id='bench',
        aws_secret_access_key='secret',
        config=Config(retries={'total_max_attempts': 1}),
    )


def _work(endpoint: str, seconds: float, gate: Any, results: Any) -> None:
    """Send, then receive and delete, for so many seconds each."""
    client = _client(endpoint)
    name = secrets.token_hex(8)
    url = client.create_queue(QueueName=name)['QueueUrl']
    client.send_message(QueueUrl=url, MessageBody=_BODY)

    def send() -> bool:
        client.send_message(QueueUrl=url, MessageBody=_BODY)
        return True

    def receive() -> bool:
        answer = client.receive_message(QueueUrl=url)
        for message in answer.get('Messages', ()):
            handle = message['ReceiptHandle']
            client.delete_message(QueueUrl=url, ReceiptHandle=handle)
        return bool(answer.get('Messages'))

    for step in (send, receive):
        gate.wait(60)
        began, used, count = time.monotonic(), time.process_time(), 0
        while time.monotonic() - began < seconds and step():
            count += 1
        passed = time.monotonic() - began
        results.put((count, count / passed, time.process_time() - used))
        gate.wait(60)
    client.delete_queue(QueueUrl=url)


def _round(side: Side, clients: int, seconds: float) -> dict[str, Figures]:
    """Return the figures of all clients together."""
    gate = _CONTEXT.Barrier(clients + 1)
    results: Any = _CONTEXT.Queue()
    workers = [
        _CONTEXT.Process(
            target=_work, args=(side.endpoint, seconds, gate, results)
        )
        for _ in range(clients)
    ]
    for worker in workers:
        worker.start()
    figures = {}
    for title, requests in STEPS.items():
        gate.wait(60)
        used = machine.cpu_seconds(*side.pids)
        answers = [results.get(timeout=60 + 4 * seconds) for _ in workers]
        used = machine.cpu_seconds(*side.pids) - used
        counts, rates, clients_used = map(sum, zip(*answers, strict=True))
        each = 1e6 / (requests * max(counts, 1))
        figures[title] = Figures(rates, used * each, clients_used * each)
        gate.wait(60)
    for worker in workers:
        worker.join()
    return figures


@contextlib.contextmanager
def _zaqar(folder: pathlib.Path) -> Iterator[Side]:
    place = folder / 'zaqar'
    place.mkdir()
    server = Zaqar(place, rest=_ENABLED).start()
    try:
        pids = (server.process.child.pid, *server.workers())
        yield Side(f'{server.url}/sqs', pids)
    finally:
        server.stop()


@contextlib.contextmanager
def _moto(folder: pathlib.Path, environment: pathlib.Path) -> Iterator[Side]:
    port = process.free_port()
    server = process.Process(
        [str(environment / 'bin/moto_server'), '-p', str(port)],
        folder / 'moto.log',
    )
    server.wait_until(lambda: process.accepts(port))
    try:
        yield Side(f'http://127.0.0.1:{port}', [server.child.pid])
    finally:
        server.stop()


def _installed(folder: pathlib.Path) -> pathlib.Path:
    """Install moto in an environment of its own."""
    environment = folder / 'venv'
    venv.create(environment, with_pip=True)
    pip = [str(environment / 'bin/pip'), 'install', '--quiet', _MOTO]
    subprocess.run([*pip, '--disable-pip-version-check'], check=True)
    return environment


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = _options(arguments)
    facts = {
        **machine.description(),
        'Clients': f'{options.clients} processes',
        'Rounds': f'{options.rounds} of {options.seconds:g} s and so much',
    }
    print(report.facts(facts))
    rounds: dict[str, list[dict[str, Figures]]] = {}
    with (
        tempfile.TemporaryDirectory(prefix='zaqar-bench-') as name,
        contextlib.ExitStack() as stack,
    ):
        folder = pathlib.Path(name)
        environment = options.moto or _installed(folder)
        sides = {
            'zaqar': stack.enter_context(_zaqar(folder)),
            'moto': stack.enter_context(_moto(folder, environment)),
        }
        for _ in range(options.rounds):
            for name, side in sides.items():
                measured = _round(side, options.clients, options.seconds)
                rounds.setdefault(name, []).append(measured)
    tables = [_rates(rounds), _processor_time(rounds)]
    for table in tables:
        print(table.text())
    report.write_section(
        options.markdown,
        SECTION,
        report.facts(facts),
        *(table.markdown() for table in tables),
    )
    return 0


def _rates(rounds: _Rounds) -> Table:
    table = Table(
        'Steps of boto3 a second, medians',
        ['', 'zaqar', 'moto', 'ratio', ''],
    )
    for title in STEPS:
        own, other = _medians(rounds, title, 'rate')
        mark = 'SLOW' if own < LEAST_RATIO * other else ''
        cells = [f'{own:.0f}', f'{other:.0f}', f'{own / other:.2f}']
        table.rows.append([title, *cells, mark])
    return table


def _processor_time(rounds: _Rounds) -> Table:
    table = Table(
        'Processor time of a request, microseconds',
        ['', 'zaqar', 'moto', 'ratio', 'boto3'],
    )
    for title in STEPS:
        own, other = _medians(rounds, title, 'server')
        client = max(_medians(rounds, title, 'client'))
        cells = [f'{own:.0f}', f'{other:.0f}', f'{other / own:.2f}']
        table.rows.append([title, *cells, f'{client:.0f}'])
    return table


def _medians(rounds: _Rounds, title: str, figure: str) -> Sequence[float]:
    """Return the median of a figure for each side."""
    return [
        statistics.median(getattr(each[title], figure) for each in of_side)
        for of_side in rounds.values()
    ]


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = program_options.parser('sqs', __doc__)
    parser.add_argument('--clients', type=int, default=6)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--seconds', type=float, default=5.0)
    parser.add_argument(
        '--moto',
        type=pathlib.Path,
        metavar='FOLDER',
        help='a virtual environment with moto[server]',
    )
    return parser.parse_args(arguments)


if __name__ == '__main__':
    sys.exit(main())
