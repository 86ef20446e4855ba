# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.several_servers``: several servers on one database.

Servers of one worker each share a database. First the rates of one, two and
three of them are measured. Then, behind nginx and under load, a third one
joins two, one leaves and one is killed: no request may fail except those in
progress on the killed one, no message may be in two claims, none may be lost.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import os
import pathlib
import secrets
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence

import msgspec

from benchmarks import (
    databases,
    floor,
    load,
    machine,
    program_options,
    report,
    requests,
    target,
)
from benchmarks.load import Script, Step
from zaqar.tests.functional.deployment.fleet import (
    Failed,
    Fleet,
    come_and_go,
)
from zaqar.tests.functional.deployment.load import Load

SECTION = 'Several servers'

#: Connections, shared out among the servers.
CONNECTIONS = 24

#: Messages of the queue that is read.
DEPTH = 1000

STORES = {'postgresql': 'sqlalchemy', 'redis': 'redis'}

_HEAD = ('operation', 'one', 'two', 'three')


class Asker:
    """Makes the requests of one project."""

    def __init__(self) -> None:
        self._project = f'bench-{secrets.token_hex(6)}'

    def step(
        self, method: str, path: str, status: int, body: bytes = b''
    ) -> Step:
        """Return a request."""
        return requests.step(self._project, method, path, status, body)

    def post(self, queue: str, count: int) -> Step:
        """Return a post of some messages."""
        message = b'{"ttl":%d,"body":%b}' % (target.TTL, target.BODY)
        body = b'{"messages":[%b]}' % b','.join([message] * count)
        return self.step('POST', f'/v2/queues/{queue}/messages', 201, body)

    def list(self, queue: str) -> Step:
        """Return a reading of a page."""
        path = f'/v2/queues/{queue}/messages?limit={floor.PAGE}'
        return self.step('GET', path, 200)

    def claim(self, queue: str) -> Step:
        """Return a claim of what there is."""
        path = f'/v2/queues/{queue}/claims?limit={floor.CLAIM}'
        body = msgspec.json.encode(
            {'ttl': floor.CLAIM_TTL, 'grace': floor.GRACE}
        )
        return self.step('POST', path, 201, body)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = _options(arguments)
    facts = {
        **machine.description(),
        'Settings': f'{CONNECTIONS} connections, {options.seconds:g} s for '
        f'each rate; servers, database and client share {os.cpu_count()} '
        'cores',
        'Load average at the start': machine.load(),
    }
    print(report.facts(facts))
    parts, code = [report.facts(facts)], 0
    for store in options.store or STORES:
        with _fleet(store) as (title, fleet):
            table = _rates(title, fleet, options.seconds)
            print(table.text(), flush=True)
            lines, failed = _story(fleet, options.posts)
            code = code or int(failed)
            items = [f'- {line}' for line in lines]
            parts += [table.markdown(), f'{title}:\n', *items, '']
    report.write_section(options.markdown, SECTION, *parts)
    return code


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = program_options.parser('several_servers', __doc__)
    add = parser.add_argument
    program_options.add_stores(parser, STORES)
    add('--seconds', type=float, default=5.0, help='for each rate (5)')
    add('--posts', type=int, default=2000, help='between two events (2000)')
    return parser.parse_args(arguments)


@contextlib.contextmanager
def _fleet(store: str) -> Iterator[tuple[str, Fleet]]:
    with contextlib.ExitStack() as stack:
        source = stack.enter_context(databases.OWN[store]())
        folder = stack.enter_context(
            tempfile.TemporaryDirectory(prefix='zaqar-bench-')
        )
        fleet = Fleet(pathlib.Path(folder), STORES[store], source.database())
        stack.callback(fleet.stop)
        yield source.title, fleet


def _rates(title: str, fleet: Fleet, seconds: float) -> report.Table:
    """Measure one, two and three servers; two are left at the end."""
    asker = Asker()
    rows: dict[str, list[str]] = {}
    for count, server in enumerate(fleet.servers, 1):
        server.start()
        if count == 1:
            _fill(asker, server.port)
        ports = [one.port for one in fleet.servers[:count]]
        for name, script in _scripts(asker):
            rate = _rate(ports, script, seconds)
            rows.setdefault(name, [name]).append(f'{rate:,.0f}')
    fleet.servers[-1].stop()
    return report.Table(f'{title}: requests/s', _HEAD, [*rows.values()])


def _fill(asker: Asker, port: int) -> None:
    connection = load.Connection(port)
    for _ in range(DEPTH // 100):
        connection.exchange(asker.post('read', 100))
    connection.close()


def _scripts(asker: Asker) -> Iterator[tuple[str, Callable[[], Script]]]:
    yield 'post 1', lambda: load.repeat(asker.post('posts', 1))
    yield 'list 10', lambda: load.repeat(asker.list('read'))
    yield 'post 5, claim 5, delete 5', lambda: _work(asker)


def _work(asker: Asker) -> Script:
    # A queue for each connection: a claim is never empty.
    queue = f'work-{secrets.token_hex(6)}'
    while True:
        yield asker.post(queue, floor.CLAIM)
        claim = msgspec.json.decode((yield asker.claim(queue)))
        for message in claim['messages']:
            yield asker.step('DELETE', message['href'], 204)


def _rate(
    ports: Sequence[int], script: Callable[[], Script], seconds: float
) -> float:
    turns = itertools.cycle(ports)
    scripts = [script() for _ in range(CONNECTIONS)]
    samples = load.run(
        ports[0], scripts, seconds, lambda _: load.Connection(next(turns))
    )
    return samples.rate


def _story(fleet: Fleet, posts: int) -> tuple[Sequence[str], bool]:
    """Let servers come and go; return what happened, and whether badly."""
    lines: list[str] = []

    def tell(line: str) -> None:
        lines.append(line)
        print(line, flush=True)

    try:
        come_and_go(fleet, Load(lambda: fleet.url), posts, tell)
    except Failed as error:
        tell(f'FAILED: {error}')
        return lines, True
    return lines, False


if __name__ == '__main__':
    sys.exit(main())
