# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.receive_latency``: how soon a message is received.

Time from the answer to a post to that of a claim that waits, posted through
another API worker and through the same; and of one that polls once a second.
Then the same of a claim and of ``ReceiveMessage`` by one client of Amazon SQS,
in turns.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import http.client
import json
import os
import pathlib
import random
import secrets
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from benchmarks import databases, machine, program_options, report, target
from zaqar.bench.credentials import SqsKeys
from zaqar.bench.sqs_client import SqsBenchClient
from zaqar.tests.servers.zaqar import Zaqar

SECTION = 'Waiting'

#: Most milliseconds that are promised through another worker: the median, and
#: what 99 of 100 stay below.
PROMISED = {
    'sqlite': (25, 150),
    'postgresql': (5, 50),
    'mariadb': (150, 600),
    'redis': (5, 50),
}

#: Seconds between two requests of a client that polls.
POLLED = 1.0

_ALONE = (
    '[drivers]\ntransport = wsgi\n[notification]\nembedded = False\n'
    '[drivers:transport:sqs]\nenabled = True\n'
)

_HEAD = ('claims', 'median', 'p95', 'p99', 'most')

#: Ends a consumer; all bodies are JSON, as the client of Amazon SQS has them.
_LAST = '"last"'

_PROJECT = 'waiting'

#: Seconds that claims wait.
_WAIT = 20

#: Turns of claims and of clients of Amazon SQS.
_TURNS = 5


class Client:
    """One connection to a server."""

    def __init__(self, port: int, queue: str) -> None:
        self._connection = http.client.HTTPConnection('127.0.0.1', port)
        self._path = f'/v2/queues/{queue}'
        self._headers = {
            'Client-ID': '3381af92-2b9e-11e3-b191-71861300734c',
            'X-Project-ID': _PROJECT,
            'OpenStack-API-Version': 'messaging 2.1',
        }

    def __call__(self, method: str, path: str, document: Any = None) -> Any:
        """Send a request; return what the answer holds, None for nothing."""
        body = None if document is None else json.dumps(document)
        connection = self._connection
        connection.request(method, self._path + path, body, self._headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise OSError(f'{answer.status} {text!r}')
        return json.loads(text) if text else None

    def post(self, body: str) -> None:
        self('POST', '/messages', {'messages': [{'body': body}]})

    def claim(self, query: str) -> str | None:
        """Return the body of a message, None if there is none."""
        claimed = self('POST', query)
        return claimed['messages'][0]['body'] if claimed else None


class SqsClient:
    """One connection of a client of Amazon SQS."""

    def __init__(self, port: int, queue: str) -> None:
        url = f'http://127.0.0.1:{port}'
        self._client = SqsBenchClient(url, SqsKeys(_PROJECT, 'secret'))
        self._queue = queue

    def receive(self) -> str | None:
        """Return the body of a message, None if there is none."""
        claimed = self._client.claim(
            self._queue, ttl=300, grace=0, limit=1, wait=_WAIT
        )
        return json.dumps(claimed.bodies[0]) if claimed else None


class Consumer(threading.Thread):
    """Claims messages, one at a time.

    :param claim: returns the body of a message, None if there is none
    :param pause: seconds after a claim that got nothing
    :ivar ready: released before each claim
    :ivar received: released after each message
    """

    def __init__(self, claim: Callable[[], str | None], pause: float) -> None:
        super().__init__(daemon=True)
        self._claim = claim
        self._pause = pause
        self.ready = threading.Semaphore(0)
        self.received = threading.Semaphore(0)
        self.at = 0.0

    def run(self) -> None:
        body: str | None = None
        while body != _LAST:
            self.ready.release()
            while (body := self._claim()) is None:
                time.sleep(self._pause)
            self.at = time.perf_counter()
            self.received.release()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = _options(arguments)
    facts = {
        **machine.description(),
        'Settings': f'{options.messages} messages one by one; servers, '
        f'database and client share {os.cpu_count()} cores',
        'Load average at the start': machine.load(),
    }
    print(report.facts(facts))
    parts, code = [report.facts(facts)], 0
    for store in options.store or databases.DEFAULT:
        table, is_late = _measured(store, options.messages)
        print(table.text(), flush=True)
        parts.append(table.markdown())
        code = code or int(is_late)
    report.write_section(options.markdown, SECTION, *parts)
    return code


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = program_options.parser('receive_latency', __doc__)
    add = parser.add_argument
    program_options.add_stores(parser, PROMISED)
    add('--messages', type=int, default=300, help='of each figure (300)')
    return parser.parse_args(arguments)


def _measured(store: str, count: int) -> tuple[report.Table, bool]:
    """Return the figures of a store, and whether a promise is broken."""
    with databases.OWN[store]() as source, _pair(source.database()) as ports:
        table = report.Table(f'{source.title}: milliseconds', _HEAD)
        first, second = ports
        waits = f'/claims?limit=1&wait={_WAIT}'
        other = _times(first, second, waits, count)
        table.rows += [
            _row('wait, posts through another worker', other),
            _row(
                'wait, posts through the same worker',
                _times(first, first, waits, count),
            ),
            _row(
                f'poll every {POLLED:g} s',
                _times(first, second, '/claims?limit=1', count // 10, POLLED),
            ),
            *_beside_sqs(first, second, waits, count),
        ]
    median, late = PROMISED[store]
    is_late = (
        report.quantile(other, 0.5) > median
        or report.quantile(other, 0.99) > late
    )
    if is_late:
        table.title += f' (LATE: {median} and {late} are promised)'
    return table, is_late


@contextlib.contextmanager
def _pair(url: str) -> Iterator[Sequence[int]]:
    """Give the ports of two servers of one worker each, on one database."""
    with contextlib.ExitStack() as stack:
        ports = []
        for number in range(2):
            folder = pathlib.Path(
                stack.enter_context(
                    tempfile.TemporaryDirectory(prefix='zaqar-bench-')
                )
            )
            server = Zaqar(folder, rest=_ALONE + target.settings(url))
            if not number:
                target.create_tables(server, url)
            stack.callback(server.start().stop)
            ports.append(server.port)
        yield ports


def _beside_sqs(
    claims_at: int, posts_at: int, query: str, count: int
) -> Sequence[Sequence[str]]:
    """Return the rows of claims and of ReceiveMessage, in turns."""
    rows: dict[str | None, list[float]] = {query: [], None: []}
    for _ in range(_TURNS):
        for name, times in rows.items():
            times += _times(claims_at, posts_at, name, count // _TURNS)
    return [
        _row('wait, in turns with', rows[query]),
        _row(f'ReceiveMessage, WaitTimeSeconds={_WAIT}', rows[None]),
    ]


def _times(
    claims_at: int,
    posts_at: int,
    query: str | None,
    count: int,
    pause: float = 0.0,
) -> Sequence[float]:
    """Return the milliseconds from posts to receipts.

    :param query: of claims, None for a client of Amazon SQS
    """
    queue = secrets.token_hex(8)
    poster = Client(posts_at, queue)
    poster('PUT', '')
    claim = (
        SqsClient(claims_at, queue).receive
        if query is None
        else functools.partial(Client(claims_at, queue).claim, query)
    )
    consumer = Consumer(claim, pause)
    consumer.start()
    times = []
    for number in range(count, -1, -1):
        consumer.ready.acquire()
        # For the claim to wait, or to be anywhere between two polls.
        time.sleep(random.uniform(0.02, 0.15 + pause))
        poster.post(str(number) if number else _LAST)
        posted = time.perf_counter()
        consumer.received.acquire()
        # The claim may be answered before the post is.
        times.append(max(0.0, consumer.at - posted) * 1000)
    consumer.join()
    return times


def _row(title: str, times: Sequence[float]) -> Sequence[str]:
    shown: Callable[[float], str] = '{:,.1f}'.format
    quantiles = [report.quantile(times, part) for part in (0.5, 0.95, 0.99)]
    return [title, *map(shown, quantiles), shown(max(times))]


if __name__ == '__main__':
    sys.exit(main())
