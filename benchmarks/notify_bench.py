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
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import requests

from benchmarks import (
    builds,
    machine,
    notify_soak,
    program_options,
    report,
    webhook_service,
)
from benchmarks.receiver import Receiver
from benchmarks.webhook_service import Build, Receivers
from zaqar.tests.servers.receivers import Silent

SECTION = 'Notifications'

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


class Outcome(NamedTuple):
    """What was measured.

    :ivar text: for the reader
    :ivar figures: that are compared with those of another build, by name
    """

    text: str
    figures: Mapping[str, float]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = program_options.parser('notify_bench', __doc__)
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
    facts = {
        **machine.description(options.against),
        'Store': options.store,
        'Load average at the start': machine.load(),
    }
    print(report.facts(facts))
    table = report.Table(
        ', '.join(options.parts), ('part', 'build', 'deliveries')
    )
    for part in options.parts:
        for row in _compared(part, options):
            table.rows.append(row)
            print(*row, sep=', ', flush=True)
    section = f'{SECTION}, {options.store}: {table.title}'
    report.write_section(
        options.markdown, section, report.facts(facts), table.markdown()
    )
    return 0


def _compared(
    part: str, options: argparse.Namespace
) -> Iterator[tuple[str, str, str]]:
    """Measure a part with one build or two, and yield what is to be said."""
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
            yield part, name, text
            for figure, value in measured.items():
                figures[name][figure].append(value)
    if len(trees) > 1:
        base, this = figures.values()
        ratios = ', '.join(
            f'{name} {report.ratio(base[name], this[name])}' for name in base
        )
        yield part, 'ratios', ratios


def _rate(options: argparse.Namespace) -> Outcome:
    receivers = Receivers(Receiver(0.001) for _ in range(options.hosts))
    with webhook_service.running(options.store, f'{options.conf}\n') as server:
        for subscriber in range(SUBSCRIBERS):
            host = receivers[subscriber % options.hosts]
            webhook_service.subscribe(server, f'{host.url}/{subscriber}')
        posts = options.deliveries // SUBSCRIBERS // BATCH
        webhook_service.post_all(server, posts, BATCH)
        count = posts * BATCH * SUBSCRIBERS
        notifier = server.notifier()
        first = webhook_service.wait(receivers, 1)
        cpu = machine.cpu_seconds(notifier.child.pid)
        last = webhook_service.wait(receivers, count)
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
    with webhook_service.running(options.store) as server:
        webhook_service.subscribe(server, receiver.url)
        notifier = server.notifier()
        webhook_service.post_all(server, 1, 1)
        webhook_service.wait(receiver, 1)
        durations = []
        with requests.Session() as session:
            for number in range(SINGLE_POSTS):
                time.sleep(INTERVAL)
                began = time.perf_counter()
                webhook_service.post(server, session, number, 1)
                durations.append(time.perf_counter() - began)
        webhook_service.wait(receiver, SINGLE_POSTS + 1)
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
    with webhook_service.running(options.store) as server:
        # Only posts are measured: nothing is delivered meanwhile. Before that
        # a notifier clears the flag of the queue without subscribers.
        webhook_service.subscribe(server, receiver.url, 'subscribed')
        with requests.Session() as session:
            webhook_service.post(server, session, 0, 1, 'unsubscribed')
            notifier = server.notifier()
            time.sleep(3)
            notifier.stop()
            for number in range(options.posts):
                for queue, durations in times.items():
                    began = time.perf_counter()
                    webhook_service.post(server, session, number, 1, queue)
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
    with webhook_service.running(options.store) as server:
        return _paced(server)


def _hanging(options: argparse.Namespace) -> Outcome:
    silent = [Silent(f'127.0.1.{number + 1}') for number in range(10)]
    with webhook_service.running(options.store) as server:
        for one in silent:
            webhook_service.subscribe(server, one.url)
        result = _paced(server)
    for one in silent:
        one.stop()
    return result


def _crowd(options: argparse.Namespace) -> Outcome:
    silent = Silent('0.0.0.0')
    with webhook_service.running(options.store) as server:
        for number in range(CROWD):
            host = f'127.0.{number // 250 + 1}.{number % 250 + 1}'
            url = f'http://{host}:{silent.port}'
            webhook_service.subscribe(server, url, 'h', 'other')
        webhook_service.post_all(server, 1, 1, 'h', 'other')
        result = _paced(server)
    silent.stop()
    return result


def _backlog(options: argparse.Namespace) -> Outcome:
    posts, subscribers = BACKLOG
    receiver = Receiver(0.001)
    with webhook_service.running(options.store) as server:
        for number in range(subscribers):
            webhook_service.subscribe(
                server, f'{receiver.url}/{number}', 'b', 'other'
            )
        webhook_service.post_all(server, posts, 1, 'b', 'other')
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
    webhook_service.subscribe(server, receiver.url)
    notifier = server.notifier()
    if other is not None:
        webhook_service.wait(other, 1)
    time.sleep(3)
    began = time.monotonic()
    with requests.Session() as session:
        for number in range(PACE * SECONDS):
            due = began + number / PACE
            time.sleep(max(0.0, due - time.monotonic()))
            webhook_service.post(server, session, number, 1)
    rate = PACE * SECONDS / (time.monotonic() - began)
    came = len(receiver.got())
    webhook_service.wait(receiver, PACE * SECONDS)
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


def _ms(values: Sequence[float], part: float) -> str:
    return f'{report.quantile(values, part) * 1000:.1f} ms'


if __name__ == '__main__':
    sys.exit(main())
