# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.notify_bench``: the speed of deliveries.

Deliveries a second of one notifier to a receiver that answers in 1 ms; the
time from a post to its webhook while nothing else happens; the cost of
subscribers for a post; and what ten hanging hosts, a crowd of new hosts of
another project that hang, and a project with 50,000 pending deliveries, do to
others. With ``--against`` each part is measured with another build as well, in
turns, and ratios of the two are given at last.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import pathlib
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import requests

from benchmarks import builds, machine, notify_soak, program_options, report
from benchmarks.receiver import Receiver
from zaqar.tests.servers import process
from zaqar.tests.servers.receivers import Silent
from zaqar.tests.servers.zaqar import Zaqar

_REST = """{database}
[drivers]
transport = wsgi
[notification]
allowed_networks = 127.0.0.0/8
embedded = False
"""

#: Messages of one post in the first part, and subscribers.
BATCH = 10
SUBSCRIBERS = 5

#: Posts of the second part, and seconds between them.
SINGLE_POSTS = 100
INTERVAL = 0.2

#: Posts a second, and how long, while others hang or have a backlog.
PACE = 50
SECONDS = 15

#: Posts of the project with a backlog, and its subscribers.
BACKLOG = 1000, 50

#: New hosts of another project that hang.
CROWD = 580

#: Seconds to wait for what has not come.
PATIENCE = 300.0


class Receivers(list[Receiver]):
    """Some of them, counted together."""

    def count(self) -> int:
        return sum(one.count() for one in self)

    def stop(self) -> None:
        for one in self:
            one.stop()


class Build(builds.Server):
    """The service of a tree, without a notifier until that is started."""

    def notifier(self) -> process.Process:
        """Start a notifier."""
        log = self.folder / 'notifier.log'
        return self.begin(self.command(program='notifier'), log)


class Outcome(NamedTuple):
    """What was measured.

    :ivar text: for the reader
    :ivar figures: that are compared with those of another build, by name
    """

    text: str
    figures: Mapping[str, float]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = program_options.parser('notify_bench', __doc__, has_results=False)
    parser.add_argument('--deliveries', type=int, default=5000)
    parser.add_argument('--posts', type=int, default=2000)
    parser.add_argument(
        '--store', choices=notify_soak.STORES, default='sqlite'
    )
    program_options.add_other_build(parser)
    parser.add_argument('--turns', type=int, default=1)
    parser.add_argument(
        '--hosts', type=int, default=1, help='receivers of the first part (1)'
    )
    parser.add_argument(
        '--conf',
        default='',
        help='further lines of [notification] for the first part, such as '
        'max_in_flight_per_host=64',
    )
    parser.add_argument(
        'parts', nargs='*', choices=(*PARTS, []), default=[*PARTS]
    )
    options = parser.parse_args(arguments)
    for name, value in machine.description(options.against).items():
        print(f'{name}: {value}')
    print(f'Store: {options.store}')
    for part in options.parts:
        _compare(part, options)
    return 0


def _compare(part: str, options: argparse.Namespace) -> None:
    """Measure a part with one build or two, and print it."""
    trees = {'this': builds.THIS}
    if options.against is not None:
        trees = {'base': options.against, **trees}
    figures: dict[str, dict[str, list[float]]] = {
        name: collections.defaultdict(list) for name in trees
    }
    for _ in range(options.turns):
        # Neighbours in time: both meet what else the machine does.
        for name, Build.root in trees.items():
            text, measured = PARTS[part](options)
            print(f'{part}, {name}: {text}', flush=True)
            for figure, value in measured.items():
                figures[name][figure].append(value)
    if len(trees) > 1:
        base, this = figures.values()
        ratios = ', '.join(
            f'{name} {report.ratio(base[name], this[name])}' for name in base
        )
        print(f'{part}, ratios: {ratios}', flush=True)


def _rate(options: argparse.Namespace) -> Outcome:
    receivers = Receivers(Receiver(0.001) for _ in range(options.hosts))
    with _running(options.store, f'{options.conf}\n') as server:
        for subscriber in range(SUBSCRIBERS):
            host = receivers[subscriber % options.hosts]
            _subscribe(server, f'{host.url}/{subscriber}')
        posts = options.deliveries // SUBSCRIBERS // BATCH
        _post_all(server, posts, BATCH)
        count = posts * BATCH * SUBSCRIBERS
        notifier = server.notifier()
        first = _wait(receivers, 1)
        cpu = machine.cpu_seconds(notifier.child.pid)
        last = _wait(receivers, count)
        cpu = machine.cpu_seconds(notifier.child.pid) - cpu
        notifier.stop()
    receivers.stop()
    rate = count / (last - first)
    return Outcome(
        f'{rate:.0f}/s with {BATCH} messages a post and '
        f'{SUBSCRIBERS} subscribers on {options.hosts} host(s): {count} in '
        f'{last - first:.2f} s, {cpu / count * 1e6:.0f} us of CPU each',
        {'deliveries/s': rate, 'CPU': cpu / count},
    )


def _latency(options: argparse.Namespace) -> Outcome:
    receiver = Receiver()
    with _running(options.store) as server:
        _subscribe(server, receiver.url)
        notifier = server.notifier()
        _post_all(server, 1, 1)
        _wait(receiver, 1)
        durations = []
        with requests.Session() as session:
            for number in range(SINGLE_POSTS):
                time.sleep(INTERVAL)
                began = time.perf_counter()
                _post(server, session, number, 1)
                durations.append(time.perf_counter() - began)
        _wait(receiver, SINGLE_POSTS + 1)
        notifier.stop()
    late = sorted(wait for _, _, wait in receiver.got()[1:])
    receiver.stop()
    return Outcome(
        f'{_ms(late, 0.5)} (median) and {_ms(late, 0.95)} (95 %) from the '
        'beginning of a post to its webhook; the post itself takes '
        f'{statistics.median(durations) * 1000:.1f} ms',
        _late(late),
    )


def _cost(options: argparse.Namespace) -> Outcome:
    receiver = Receiver()
    times: Mapping[str, list[float]] = {'unsubscribed': [], 'subscribed': []}
    with _running(options.store) as server:
        # Only posts are measured: nothing is delivered meanwhile. Before that
        # a notifier clears the flag of the queue without subscribers.
        _subscribe(server, receiver.url, 'subscribed')
        with requests.Session() as session:
            _post(server, session, 0, 1, 'unsubscribed')
            notifier = server.notifier()
            time.sleep(3)
            notifier.stop()
            for number in range(options.posts):
                for queue, durations in times.items():
                    began = time.perf_counter()
                    _post(server, session, number, 1, queue)
                    durations.append(time.perf_counter() - began)
    receiver.stop()
    middle = {
        queue: statistics.median(durations) * 1000
        for queue, durations in times.items()
    }
    return Outcome(
        f'a post takes {middle["unsubscribed"]:.2f} ms to a queue without '
        f'subscribers, {middle["subscribed"]:.2f} ms to one with a subscriber '
        '(medians)',
        middle,
    )


def _alone(options: argparse.Namespace) -> Outcome:
    with _running(options.store) as server:
        return _paced(server)


def _hanging(options: argparse.Namespace) -> Outcome:
    silent = [Silent(f'127.0.1.{number + 1}') for number in range(10)]
    with _running(options.store) as server:
        for one in silent:
            _subscribe(server, one.url)
        result = _paced(server)
    for one in silent:
        one.stop()
    return result


def _crowd(options: argparse.Namespace) -> Outcome:
    silent = Silent('0.0.0.0')
    with _running(options.store) as server:
        for number in range(CROWD):
            host = f'127.0.{number // 250 + 1}.{number % 250 + 1}'
            url = f'http://{host}:{silent.port}'
            _subscribe(server, url, 'h', 'other')
        _post_all(server, 1, 1, 'h', 'other')
        result = _paced(server)
    silent.stop()
    return result


def _backlog(options: argparse.Namespace) -> Outcome:
    posts, subscribers = BACKLOG
    receiver = Receiver(0.001)
    with _running(options.store) as server:
        for number in range(subscribers):
            _subscribe(server, f'{receiver.url}/{number}', 'b', 'other')
        _post_all(server, posts, 1, 'b', 'other')
        result = _paced(server, receiver)
        count = receiver.count()
    receiver.stop()
    text = f'{result.text}; of the {posts * subscribers} pending, {count} came'
    return result._replace(text=text)


def _paced(server: Build, other: Receiver | None = None) -> Outcome:
    """Post at a pace while a notifier works; return how that is delivered.

    :param other: begins when this one has got something
    """
    receiver = Receiver(0.001)
    _subscribe(server, receiver.url)
    notifier = server.notifier()
    if other is not None:
        _wait(other, 1)
    time.sleep(3)
    began = time.monotonic()
    with requests.Session() as session:
        for number in range(PACE * SECONDS):
            due = began + number / PACE
            time.sleep(max(0.0, due - time.monotonic()))
            _post(server, session, number, 1)
    rate = PACE * SECONDS / (time.monotonic() - began)
    came = len(receiver.got())
    _wait(receiver, PACE * SECONDS)
    late = sorted(wait for _, _, wait in receiver.got())
    notifier.stop()
    receiver.stop()
    return Outcome(
        f'of {rate:.1f} posts/s {came / PACE / SECONDS:.1%} are delivered by '
        f'the end, after {_ms(late, 0.5)} (median), {_ms(late, 0.99)} (99 %), '
        f'{_ms(late, 1)} (longest)',
        _late(late),
    )


def _late(values: Sequence[float]) -> Mapping[str, float]:
    parts = {'median': 0.5, 'p99': 0.99}
    return {key: report.quantile(values, parts[key]) for key in parts}


PARTS: Mapping[str, Callable[[argparse.Namespace], Outcome]] = {
    'rate': _rate,
    'latency': _latency,
    'cost': _cost,
    'alone': _alone,
    'hanging': _hanging,
    'crowd': _crowd,
    'backlog': _backlog,
}


@contextlib.contextmanager
def _running(store: str, more: str = '') -> Iterator[Build]:
    with (
        notify_soak.configuration(store) as lines,
        tempfile.TemporaryDirectory(prefix='zaqar-notify-') as folder,
    ):
        rest = _REST.format(database=lines) + more
        server = Build(pathlib.Path(folder), rest=rest)
        notify_soak.prepare(server, lines)
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _subscribe(
    server: Zaqar, url: str, queue: str = 'q', project: str = 'bench'
) -> None:
    answer = requests.post(
        f'{server.url}/v2/queues/{queue}/subscriptions',
        json={'subscriber': url, 'ttl': 86_400},
        headers=_headers(project),
        timeout=10,
    )
    assert answer.status_code == 201, answer.text


def _post_all(
    server: Zaqar,
    posts: int,
    count: int,
    queue: str = 'q',
    project: str = 'bench',
) -> None:
    with requests.Session() as session:
        for number in range(posts):
            _post(server, session, number, count, queue, project)


def _post(
    server: Zaqar,
    session: requests.Session,
    number: int,
    count: int,
    queue: str = 'q',
    project: str = 'bench',
) -> None:
    body = {'n': number, 'at': time.time()}
    answer = session.post(
        f'{server.url}/v2/queues/{queue}/messages',
        json={'messages': [{'body': body, 'ttl': 300}] * count},
        headers=_headers(project),
        timeout=30,
    )
    assert answer.status_code == 201, answer.text


def _wait(receiver: Receiver | Receivers, count: int) -> float:
    """Return when as many requests had come."""
    end = time.monotonic() + PATIENCE
    while (came := receiver.count()) < count:
        assert time.monotonic() < end, f'{came} of {count} have come'
        time.sleep(0.02)
    return time.monotonic()


def _ms(values: Sequence[float], part: float) -> str:
    return f'{report.quantile(values, part) * 1000:.1f} ms'


def _headers(project: str) -> dict[str, str]:
    return {'Client-ID': _CLIENT, 'X-Project-Id': project}


_CLIENT = str(uuid.uuid4())


if __name__ == '__main__':
    sys.exit(main())
