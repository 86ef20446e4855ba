# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.many_queues``: a project of a million queues.

Two projects, one with a thousand queues and one with a million, each in a
database of its own. Each round creates a queue, lists a page of queues, shows
a queue, and posts to another one and claims from it, over HTTP in both under
the same load of the machine. The worker has cached none of them before.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import itertools
import pathlib
import random
import secrets
import sys
import tempfile
import time
from collections.abc import Sequence

import redis
import sqlalchemy as sa

from benchmarks import bulk_rows, databases, machine, program_options, report
from benchmarks.client_scripts import Queue
from benchmarks.depth import Timer
from benchmarks.load import Connection, Step
from benchmarks.report import Table
from benchmarks.requests import request
from benchmarks.target import Target, is_sql
from zaqar.objects import Kind
from zaqar.storage.redis import key_names
from zaqar.storage.sqlalchemy import driver_declaration

SECTION = 'Many queues'

STORES = ('sqlite', 'postgresql', 'redis')

FEW = 1000

#: How many times slower a project of many queues may be.
MOST_RATIO = 1.25

#: Operations, and one that counts the queues on SQL stores.
EXEMPT = 'list with count'
OPERATIONS = ('create', 'list', 'show', 'post 1', 'claim 5', EXEMPT)

#: Rounds before the clock runs, and lists with a count.
WARM_UP = 20
COUNTS = 10

#: Records that are written at a time to Redis.
CHUNK = 10_000

#: What writes the rows of queues by their numbers ``n``, and the words of each
#: dialect for that.
_FILL = (
    'WITH RECURSIVE {numbers} INSERT INTO record '
    '(kind, parent, name, data, version) '
    "SELECT :kind, :parent, 'queue-' || {name}, {data}, 1 FROM numbers",
    'WITH RECURSIVE {numbers} INSERT INTO message_queue (qid, id, next_seq) '
    'SELECT {qid}, n + 1, :now FROM numbers',
)
_NUMBERS = (
    'numbers (n) AS (SELECT 0 UNION ALL '
    'SELECT n + 1 FROM numbers WHERE n + 1 < :count)'
)
_WORDS = {
    'sqlite': {
        'numbers': _NUMBERS,
        'name': "printf('%07d', n)",
        'qid': "printf('%032x', n)",
        'data': 'CAST(printf(\'{"qid":"%032x","metadata":{}}\', n) AS BLOB)',
    },
    'postgresql': {
        'numbers': _NUMBERS,
        'name': "lpad(n::text, 7, '0')",
        'qid': "lpad(to_hex(n), 32, '0')",
        'data': """convert_to('{"qid":"' || lpad(to_hex(n), 32, '0') """
        """|| '","metadata":{}}', 'UTF8')""",
    },
}

#: The prefix of all keys in Redis, unless an operator sets another one.
_PREFIX = 'zq'


class Side:
    """A project of some queues.

    :ivar cpu: processor time of each request, in the worker and the store
    :ivar each: bytes that the store holds for each of them
    """

    def __init__(
        self, target: Target, source: databases.Source, count: int
    ) -> None:
        self.timer, self.cpu = Timer(), Timer()
        self._source = source
        self._pids: Sequence[int] = ()
        self._target = target
        self._project = target.project
        middle = _name(count // 2)
        self._page = f'/v2/queues?limit=10&marker={middle}'
        self._count = count
        self._numbers = iter(random.Random(count).sample(range(count), FEW))
        before = _size(target)
        _fill(target, count)
        bulk_rows.settle(target.url)
        self.each = (_size(target) - before) / count

    def round(self) -> None:
        """Do everything once, but for the count."""
        project = self._project
        new = f'/v2/queues/new-{secrets.token_hex(8)}'
        self._ask('create', _step(project, 'PUT', new, 201))
        self._ask('list', _step(project, 'GET', self._page, 200))
        self._ask('show', _step(project, 'GET', self._path(), 200))
        queue = Queue(self._target.port, project, _name(next(self._numbers)))
        self._ask('post 1', queue.requests.post(1))
        self._ask('claim 5', queue.requests.claim())

    def list_with_count(self) -> None:
        """List a page with the number of all queues."""
        path = f'{self._page}&with_count=true'
        # It may take longer than a request may.
        with self.timer.allowed_to_fail(EXEMPT):
            self._ask(EXEMPT, _step(self._project, 'GET', path, 200))

    @functools.cached_property
    def _connection(self) -> Connection:
        # Not before all is filled: the server closes idle connections.
        return Connection(self._target.port)

    def begin(self) -> None:
        """Forget what was measured, and begin."""
        self.timer, self.cpu = Timer(), Timer()
        workers = self._target.server.workers()
        self._pids = [*workers, *self._source.processes()]

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def _path(self) -> str:
        return f'/v2/queues/{_name(next(self._numbers))}'

    def _ask(self, name: str, step: Step) -> None:
        before = machine.cpu_seconds(*self._pids)
        self.timer.run(name, self._connection.exchange, step)
        spent = machine.cpu_seconds(*self._pids) - before
        self.cpu.seconds.setdefault(name, []).append(spent)


def _step(project: str, method: str, path: str, status: int) -> Step:
    return Step(request(project, method, path), status)


def _name(number: int) -> str:
    return f'queue-{number:07}'


def _fill(target: Target, count: int) -> None:
    """Write the records of queues as the service would."""
    if not is_sql(target.url):
        _fill_redis(target, count)
        return
    url = driver_declaration.parse(target.url)
    values = {
        'kind': Kind.QUEUE.value,
        'parent': target.project,
        'count': count,
        'now': time.time_ns() // 1000,
    }
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    with engine.begin() as connection:
        for statement in _FILL:
            sql = statement.format(**_WORDS[url.get_backend_name()])
            connection.execute(sa.text(sql), values)
    engine.dispose()


def _fill_redis(target: Target, count: int) -> None:
    records, names = key_names.of_records(_PREFIX, Kind.QUEUE, target.project)
    with _redis(target.url) as client:
        for first in range(0, count, CHUNK):
            stored = {
                _name(number): f'1 {{"qid":"{number:032x}","metadata":{{}}}}'
                for number in range(first, min(first + CHUNK, count))
            }
            client.hset(records, mapping=stored)
            client.zadd(names, dict.fromkeys(stored, 0.0))


def _size(target: Target) -> int:
    """Return the bytes that a store holds, in memory or on disk."""
    url = driver_declaration.parse(target.url) if is_sql(target.url) else None
    if url is None:
        with _redis(target.url) as client:
            return int(client.info('memory')['used_memory'])
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    sql = 'SELECT pg_database_size(current_database())'
    if url.get_backend_name() == 'sqlite':
        sql = 'SELECT page_count * page_size FROM pragma_page_count, '
        sql += 'pragma_page_size'
    with engine.connect() as connection:
        return int(connection.scalar(sa.text(sql)) or 0)


def _redis(url: str) -> redis.Redis:
    address, _, database = url.partition('?dbid=')
    return redis.Redis.from_url(f'{address}/{database or 0}')


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = _options(arguments)
    facts = machine.description()
    facts = {
        **facts,
        'Rounds': f'{options.rounds}',
        'Load average at the start': machine.load(),
    }
    print(report.facts(facts))
    table = Table(
        'Median ms, and µs of processor time',
        [
            *('store', 'operation'),
            *(f'{FEW:,}', f'{options.queues:,}', 'ratio'),
            *(f'CPU {FEW:,}', f'CPU {options.queues:,}', 'CPU ratio', ''),
        ],
    )
    for _, context in databases.chosen(options.store or STORES):
        with context as source:
            table.rows += _measure(source, options)
    print(table.text())
    report.write_section(
        options.markdown,
        program_options.section(SECTION, options.store or ()),
        report.facts(facts),
        table.markdown(),
    )
    return int(any(row[-1] for row in table.rows))


def _measure(
    source: databases.Source, options: argparse.Namespace
) -> Sequence[Sequence[str]]:
    """Return the rows of a store."""
    with (
        tempfile.TemporaryDirectory(prefix='zaqar-bench-') as folder,
        contextlib.ExitStack() as stack,
    ):
        sides = []
        for count in (FEW, options.queues):
            own = pathlib.Path(folder, str(count))
            own.mkdir()
            target = Target(source.database(), own)
            stack.callback(target.close, tidy=False)
            sides.append(Side(target, source, count))
            stack.callback(sides[-1].close)
        for number in range(-WARM_UP, options.rounds):
            for side in sides[:: -1 if number % 2 else 1]:
                if number == 0:
                    side.begin()
                side.round()
        # At the end: the caches of a store hold all queues afterwards, and
        # those of a connection take time to give up.
        for _, side in itertools.product(range(COUNTS), sides):
            side.list_with_count()
    rows = []
    for name in OPERATIONS:
        low, high = (side.timer.median(name) for side in sides)
        few, many = (side.cpu.median(name) for side in sides)
        is_slow = high / low > MOST_RATIO and name != EXEMPT
        rows.append(
            (
                source.title,
                name,
                *(f'{value * 1e3:.2f}' for value in (low, high)),
                f'{high / low:.2f}',
                *(f'{value * 1e6:.0f}' for value in (few, many)),
                f'{many / few:.2f}',
                'SLOW' if is_slow else '',
            )
        )
    sizes = (f'{side.each:,.0f}' for side in sides)
    rows.append((source.title, 'bytes of a queue', *sizes, *[''] * 5))
    return rows


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = program_options.parser('many_queues', __doc__)
    add = parser.add_argument
    program_options.add_stores(parser, STORES)
    add('--queues', type=int, default=1_000_000, help='(%(default)s)')
    add('--rounds', type=int, default=200, help='(%(default)s)')
    return parser.parse_args(arguments)


if __name__ == '__main__':
    sys.exit(main())
