# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.notify_bench``: the speed of deliveries.

Deliveries a second of one notifier to a receiver that answers in 1 ms; the
cost of subscribers for a post; and the effect of ten hanging hosts on others.
"""

from __future__ import annotations

import argparse
import contextlib
import pathlib
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Sequence

import requests

from benchmarks import machine
from benchmarks.notify_soak import database
from benchmarks.receiver import Receiver
from zaqar.tests.servers import process
from zaqar.tests.servers.receivers import Silent
from zaqar.tests.servers.zaqar import Zaqar, with_database

_REST = """{database}
[drivers]
transport = wsgi
[notification]
allowed_networks = 127.0.0.0/8
embedded = {embedded}
"""

#: Messages of one post in the first part.
BATCH = 10

#: Posts a second, and how long, in the last part.
PACE = 50
SECONDS = 15

#: Seconds to wait for what has not come.
PATIENCE = 300.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = argparse.ArgumentParser(
        'python -m benchmarks.notify_bench', description=__doc__
    )
    parser.add_argument('--deliveries', type=int, default=5000)
    parser.add_argument('--posts', type=int, default=2000)
    parser.add_argument(
        '--store',
        choices=('sqlite', 'postgresql', 'mariadb'),
        default='sqlite',
    )
    parser.add_argument(
        'parts', nargs='*', default=['rate', 'cost', 'hanging']
    )
    options = parser.parse_args(arguments)
    for name, value in machine.description().items():
        print(f'{name}: {value}')
    print(f'Store: {options.store}')
    if 'rate' in options.parts:
        _rate(options.store, options.deliveries)
    if 'cost' in options.parts:
        _cost(options.store, options.posts)
    if 'hanging' in options.parts:
        _hanging(options.store)
    return 0


def _rate(store: str, deliveries: int) -> None:
    receiver = Receiver(0.001)
    with _running(store, embedded=False) as server:
        for subscriber in range(5):
            _subscribe(server, f'{receiver.url}/{subscriber}')
        posts = deliveries // 5 // BATCH
        with requests.Session() as session:
            for number in range(posts):
                _post(server, session, number, BATCH)
        count = posts * BATCH * 5
        notifier = process.Process(
            server.command(program='notifier'), server.folder / 'notifier.log'
        )
        first = _wait(receiver, 1)
        last = _wait(receiver, count)
        notifier.stop()
    receiver.stop()
    print(
        f'Deliveries of one notifier, {BATCH} messages a post, 5 subscribers '
        f'on one host: {count} in {last - first:.2f} s, '
        f'{count / (last - first):.0f}/s'
    )


def _cost(store: str, posts: int) -> None:
    receiver = Receiver()
    with _running(store, embedded=False) as server:
        # Only posts are measured: nothing is delivered meanwhile. Before that
        # a notifier clears the flag of the queue without subscribers.
        _subscribe(server, receiver.url, 'subscribed')
        with requests.Session() as session:
            _post(server, session, 0, 1, 'unsubscribed')
            notifier = process.Process(
                server.command(program='notifier'),
                server.folder / 'notifier.log',
            )
            time.sleep(3)
            notifier.stop()
            times: dict[str, list[float]] = {
                'unsubscribed': [],
                'subscribed': [],
            }
            for number in range(posts):
                for queue, durations in times.items():
                    began = time.perf_counter()
                    _post(server, session, number, 1, queue)
                    durations.append(time.perf_counter() - began)
    receiver.stop()
    middle = {
        queue: statistics.median(durations) * 1000
        for queue, durations in times.items()
    }
    print(
        f'A post takes {middle["unsubscribed"]:.2f} ms to a queue without '
        f'subscribers, {middle["subscribed"]:.2f} ms to one with a subscriber '
        '(medians)'
    )


def _hanging(store: str) -> None:
    for hosts in (0, 10):
        receiver = Receiver(0.001)
        silent = [Silent(f'127.0.1.{number + 1}') for number in range(hosts)]
        with _running(store, embedded=True) as server:
            for one in silent:
                _subscribe(server, one.url)
            _subscribe(server, receiver.url)
            rate = _paced(server)
            count = PACE * SECONDS
            _wait(receiver, count)
            late = sorted(wait for _, _, wait in receiver.got())
        receiver.stop()
        for one in silent:
            one.stop()
        print(
            f'{hosts} hosts that hang: {rate:.1f} posts/s, deliveries to the '
            f'healthy one after {late[len(late) // 2] * 1000:.0f} ms '
            f'(median), {late[int(len(late) * 0.95)] * 1000:.0f} ms (95 %), '
            f'{late[-1] * 1000:.0f} ms (longest); '
            f'{sum(one < 1 for one in late) / len(late):.1%} within 1 s'
        )


def _paced(server: Zaqar) -> float:
    """Post at a pace; return what was reached."""
    began = time.monotonic()
    with requests.Session() as session:
        for number in range(PACE * SECONDS):
            due = began + number / PACE
            time.sleep(max(0.0, due - time.monotonic()))
            _post(server, session, number, 1)
    return PACE * SECONDS / (time.monotonic() - began)


@contextlib.contextmanager
def _running(store: str, *, embedded: bool) -> Iterator[Zaqar]:
    with (
        database(store) as url,
        tempfile.TemporaryDirectory(prefix='zaqar-notify-') as folder,
    ):
        rest = _REST.format(
            database=with_database(url) if url else '', embedded=embedded
        )
        server = Zaqar(pathlib.Path(folder), rest=rest)
        if url:
            server.run('upgrade', 'head', program='manage')
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _subscribe(server: Zaqar, url: str, queue: str = 'q') -> None:
    answer = requests.post(
        f'{server.url}/v2/queues/{queue}/subscriptions',
        json={'subscriber': url, 'ttl': 86_400},
        headers=_headers(),
        timeout=10,
    )
    assert answer.status_code == 201, answer.text


def _post(
    server: Zaqar,
    session: requests.Session,
    number: int,
    count: int,
    queue: str = 'q',
) -> None:
    body = {'n': number, 'at': time.time()}
    answer = session.post(
        f'{server.url}/v2/queues/{queue}/messages',
        json={'messages': [{'body': body, 'ttl': 300}] * count},
        headers=_headers(),
        timeout=30,
    )
    assert answer.status_code == 201, answer.text


def _wait(receiver: Receiver, count: int) -> float:
    """Return when as many requests had come."""
    end = time.monotonic() + PATIENCE
    while len(receiver.got()) < count:
        assert time.monotonic() < end, 'it does not come'
        time.sleep(0.02)
    return time.monotonic()


def _headers() -> dict[str, str]:
    return {'Client-ID': _CLIENT, 'X-Project-Id': 'bench'}


_CLIENT = str(uuid.uuid4())


if __name__ == '__main__':
    sys.exit(main())
