# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.websocket``: frames beside HTTP, and pushes.

One process serves HTTP and one WebSocket, on the same core and the same
store, and take turns; the client has another core.
"""

from __future__ import annotations

import argparse
import contextlib
import pathlib
import secrets
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from benchmarks import (
    floor,
    load,
    machine,
    program_options,
    report,
    requests,
    target,
    websocket_connections,
)
from benchmarks.load import Samples, Step
from benchmarks.websocket_connections import Socket
from zaqar.tests.servers.redis import Redis
from zaqar.tests.servers.zaqar import Zaqar

SECTION = 'WebSocket'

#: Messages in the queue that is read, and those posted for each claim.
DEPTH = 1000

#: Slices of a measurement; the two ways take turns.
TURNS = 4

#: Part of the HTTP rate that is promised of get and list with so many
#: connections.
LEAST = 1.5
MANY = 50

_LIMITS = 'max_connections = 0\n'

_SIDE = ('/s', ' p50 ms', ' p99 ms', ' CPU \u00b5s')
_HEAD = (
    'operation',
    'connections',
    *(f'WebSocket{column}' for column in _SIDE),
    *(f'HTTP{column}' for column in _SIDE),
    'ratio',
    'of CPU',
    '',
)


@dataclass
class Place:
    """A queue and the two ways to it."""

    server: Zaqar
    project: str

    def over_http(self, method: str, path: str, body: bytes = b'') -> bytes:
        """Ask once."""
        connection = load.Connection(self.server.port)
        status = {'POST': 201, 'GET': 200}[method]
        data = requests.request(
            self.project, method, path, body, client=target.POSTER
        )
        try:
            return connection.exchange(Step(data, status))
        finally:
            connection.close()

    def http(
        self, method: str, path: str, status: int, body: bytes = b''
    ) -> Step:
        """Return a request."""
        return requests.step(self.project, method, path, status, body)

    def frame(self, action: str, status: int, **body: object) -> Step:
        """Return the same as a frame."""
        return Step(
            websocket_connections.request(self.project, action, body), status
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = _options(arguments)
    facts = {**machine.description(), 'Load average': machine.load()}
    print(report.facts(facts))
    tables = []
    with _place(options) as place:
        tables.append(_rates(place, options.store, options.seconds))
        print(tables[-1].text(), flush=True)
        if options.sockets:
            tables.append(_pushes(place, options.sockets, options.messages))
            print(tables[-1].text(), flush=True)
    report.write_section(
        options.markdown,
        SECTION,
        report.facts(facts),
        *(one.markdown() for one in tables),
    )
    return 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = program_options.parser('websocket', __doc__)
    add = parser.add_argument
    add('--seconds', type=float, default=5.0, help='for each figure (5)')
    add('--sockets', type=int, default=1000, help='that are pushed to (1000)')
    add('--messages', type=int, default=20, help='for each of them (20)')
    add('--store', default='redis', choices=('redis', 'sqlite'))
    add('--threads', type=int, default=0, help='of the WebSocket server')
    return parser.parse_args(arguments)


@contextlib.contextmanager
def _place(options: argparse.Namespace) -> Iterator[Place]:
    cores = machine.cores()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(
            tempfile.TemporaryDirectory(prefix='zaqar-bench-')
        )
        rest = ''
        if options.store == 'redis':
            redis = Redis()
            stack.callback(redis.stop)
            rest = target.stores(redis.url)
        lines = _LIMITS
        if options.threads:
            lines += f'worker_threads = {options.threads}\n'
        server = Zaqar(pathlib.Path(folder), rest=rest, socket=lines)
        with machine.pinned(cores and cores[0]):
            server.start()
        stack.callback(server.stop)
        stack.enter_context(machine.pinned(cores and cores[1]))
        yield Place(server, f'bench-{secrets.token_hex(6)}')


def _message() -> bytes:
    return b'{"ttl":%d,"body":%b}' % (target.TTL, target.BODY)


def _fill(place: Place, queue: str, count: int) -> list[str]:
    """Post messages; return their ids."""
    ids: list[str] = []
    for _ in range(count // 100):
        body = b'{"messages":[%b]}' % b','.join([_message()] * 100)
        path = f'/v2/queues/{queue}/messages'
        answer = msgspec.json.decode(place.over_http('POST', path, body))
        ids += [one.rpartition('/')[2] for one in answer['resources']]
    return ids


def _pairs(place: Place) -> Iterator[tuple[str, Step, Step]]:
    """Yield operations as a request and as a frame."""
    ids = _fill(place, 'read', DEPTH)
    queue = '/v2/queues/read'
    yield (
        'get',
        place.http('GET', f'{queue}/messages/{ids[-1]}', 200),
        place.frame('message_get', 200, queue_name='read', message_id=ids[-1]),
    )
    yield (
        'list 10',
        place.http('GET', f'{queue}/messages?limit={floor.PAGE}', 200),
        place.frame('message_list', 200, queue_name='read', limit=floor.PAGE),
    )
    message = {'ttl': target.TTL, 'body': msgspec.Raw(target.BODY)}
    body = msgspec.json.encode({'messages': [message]})
    yield (
        'post 1',
        place.http('POST', '/v2/queues/posts/messages', 201, body),
        place.frame(
            'message_post', 201, queue_name='posts', messages=[message]
        ),
    )
    terms = {'ttl': floor.CLAIM_TTL, 'grace': floor.GRACE}
    _fill(place, 'claims', 60 * DEPTH)
    yield (
        'claim 1',
        place.http(
            'POST',
            '/v2/queues/claims/claims?limit=1',
            201,
            msgspec.json.encode(terms),
        ),
        place.frame(
            'claim_create', 201, queue_name='claims', limit=1, **terms
        ),
    )


@dataclass
class Side:
    """What was measured of one way.

    :ivar cpu: seconds of processor time of a request
    """

    samples: Samples
    cpu: float

    def figures(self) -> Sequence[str]:
        """Return what the table shows."""
        p50, p99 = (
            report.quantile(self.samples.latencies, part)
            for part in (0.5, 0.99)
        )
        return (
            f'{self.samples.rate:,.0f}',
            f'{p50 * 1e3:.2f}',
            f'{p99 * 1e3:.2f}',
            f'{self.cpu * 1e6:.0f}',
        )


def _rates(place: Place, store: str, seconds: float) -> report.Table:
    table = report.Table(f'{store}: {seconds:g} s each', _HEAD)
    for title, request, frame in _pairs(place):
        for count in (1, MANY):
            if title.startswith('claim'):
                seconds = min(seconds, 2.0)
            frames, http = _both(place, request, frame, count, seconds)
            ratio = frames.samples.rate / http.samples.rate
            must = count == MANY and title in ('get', 'list 10')
            table.rows.append(
                (
                    title,
                    str(count),
                    *frames.figures(),
                    *http.figures(),
                    f'{ratio:.2f}',
                    f'{http.cpu / frames.cpu:.2f}',
                    'LOW' if must and ratio < LEAST else '',
                )
            )
    return table


def _both(
    place: Place, request: Step, frame: Step, count: int, seconds: float
) -> Sequence[Side]:
    """Measure both ways, in turns."""
    sides = (
        (place.server.socket_port, frame, Socket),
        (place.server.port, request, load.Connection),
    )
    results = [Side(Samples(), 0.0), Side(Samples(), 0.0)]
    spent = [0.0, 0.0]
    for turn in range(TURNS + 1):
        for number, (port, step, connect) in enumerate(sides):
            scripts = [load.repeat(step) for _ in range(count)]
            before = _cpu(place)
            samples = load.run(port, scripts, seconds / TURNS, connect)
            if not turn:
                # To warm up.
                continue
            spent[number] += _cpu(place) - before
            total = results[number].samples
            total.latencies += samples.latencies
            total.elapsed += samples.elapsed
    for side, cpu in zip(results, spent, strict=True):
        side.cpu = cpu / len(side.samples.latencies)
    return results


def _cpu(place: Place) -> float:
    """Return the processor time of the service; who is idle adds nothing."""
    return machine.cpu_seconds(*place.server.workers())


def _pushes(place: Place, count: int, messages: int) -> report.Table:
    """Subscribe many sockets to a queue and post to it over HTTP."""
    subscribe = place.frame('subscription_create', 201, queue_name='news')
    opened = []
    for _ in range(count):
        connection = Socket(place.server.socket_port)
        connection.exchange(subscribe)
        opened.append(connection)
    body = b'{"messages":[%b]}' % _message()
    began = time.perf_counter()
    for _ in range(messages):
        place.over_http('POST', '/v2/queues/news/messages', body)
    posted = time.perf_counter() - began
    elapsed, count_arrived = websocket_connections.counted(
        opened, count * messages, began
    )
    table = report.Table(
        f'Pushes to {count:,} sockets of {messages} messages posted over HTTP',
        ('what', 'figure'),
    )
    table.rows.append(('frames that arrived', f'{count_arrived:,}'))
    table.rows.append(('of', f'{count * messages:,}'))
    table.rows.append(
        ('posts/s over HTTP meanwhile', f'{messages / posted:,.0f}')
    )
    table.rows.append(('frames/s', f'{count_arrived / elapsed:,.0f}'))
    for connection in opened:
        connection.close()
    return table


if __name__ == '__main__':
    sys.exit(main())
