# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.sqs``: messages through boto3, beside moto's server.

Clients are processes with one connection each, of the same settings for both.
They send messages for a while, then receive and delete what they have sent.
moto keeps messages in memory; this service commits them to SQLite. moto is
installed in a temporary environment, unless one is given.
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
from collections.abc import Iterator, Sequence
from typing import Any

import boto3
from botocore.config import Config

from benchmarks import machine, report
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

#: Names of the rates.
SEND, RECEIVE = 'SendMessage', 'ReceiveMessage + DeleteMessage'


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

    rates = {}
    for title, step in ((SEND, send), (RECEIVE, receive)):
        gate.wait(60)
        began, count = time.monotonic(), 0
        while time.monotonic() - began < seconds and step():
            count += 1
        rates[title] = count / (time.monotonic() - began)
    client.delete_queue(QueueUrl=url)
    results.put(rates)


def _round(endpoint: str, clients: int, seconds: float) -> dict[str, float]:
    """Return the rates of all clients together."""
    gate = _CONTEXT.Barrier(clients)
    results: Any = _CONTEXT.Queue()
    workers = [
        _CONTEXT.Process(target=_work, args=(endpoint, seconds, gate, results))
        for _ in range(clients)
    ]
    for worker in workers:
        worker.start()
    answers = [results.get(timeout=60 + 4 * seconds) for _ in workers]
    for worker in workers:
        worker.join()
    return {
        name: sum(answer[name] for answer in answers)
        for name in (SEND, RECEIVE)
    }


@contextlib.contextmanager
def _zaqar(folder: pathlib.Path) -> Iterator[str]:
    place = folder / 'zaqar'
    place.mkdir()
    server = Zaqar(place, rest=_ENABLED).start()
    try:
        yield f'{server.url}/sqs'
    finally:
        server.stop()


@contextlib.contextmanager
def _moto(folder: pathlib.Path, environment: pathlib.Path) -> Iterator[str]:
    port = process.free_port()
    server = process.Process(
        [str(environment / 'bin/moto_server'), '-p', str(port)],
        folder / 'moto.log',
    )
    server.wait_until(lambda: process.accepts(port))
    try:
        yield f'http://127.0.0.1:{port}'
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
    rates: dict[str, dict[str, list[float]]] = {}
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
            for side, endpoint in sides.items():
                measured = _round(endpoint, options.clients, options.seconds)
                for title, rate in measured.items():
                    of_side = rates.setdefault(side, {})
                    of_side.setdefault(title, []).append(rate)
    table = Table(
        'Requests of boto3 a second, medians',
        ['', 'zaqar', 'moto', 'ratio', ''],
    )
    for title in (SEND, RECEIVE):
        own, other = (statistics.median(rates[side][title]) for side in sides)
        mark = 'SLOW' if own < LEAST_RATIO * other else ''
        cells = [f'{own:.0f}', f'{other:.0f}', f'{own / other:.2f}']
        table.rows.append([title, *cells, mark])
    print(table.text())
    if options.markdown is not None:
        text = f'{report.facts(facts)}\n{table.markdown()}'
        report.write_section(options.markdown, SECTION, text)
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        'python -m benchmarks.sqs', description=__doc__
    )
    parser.add_argument('--clients', type=int, default=6)
    parser.add_argument('--rounds', type=int, default=3)
    parser.add_argument('--seconds', type=float, default=5.0)
    parser.add_argument(
        '--moto',
        type=pathlib.Path,
        metavar='FOLDER',
        help='a virtual environment with moto[server]',
    )
    parser.add_argument('--markdown', type=pathlib.Path, metavar='FILE')
    return parser.parse_args(arguments)


if __name__ == '__main__':
    sys.exit(main())
