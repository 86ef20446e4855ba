# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.fan_out``: what subscribers cost a post.

Bytes that the store is given for a post with many subscribers until all have
it; and the time and processor time of a post to a queue with subscribers,
beside one to a queue without any.
"""

from __future__ import annotations

import contextlib
import functools
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from benchmarks import (
    databases,
    load,
    machine,
    notify_soak,
    program_options,
    requests,
    target,
)
from benchmarks.load import Step
from zaqar.objects import NewMessage
from zaqar.storage.abstract_stores import ManagementStore, MessageStore
from zaqar.storage.redis import driver_declaration as redis_driver
from zaqar.storage.sqlalchemy.driver_declaration import DRIVER
from zaqar.tests.functional.notification.rig import Rig
from zaqar.tests.servers import process, sql
from zaqar.tests.servers.receivers import Receiver
from zaqar.tests.servers.redis import Redis
from zaqar.tests.servers.zaqar import Zaqar, with_database

_REST = """
[drivers]
transport = wsgi
{drivers}
[notification]
embedded = false
"""

#: Bytes are counted above the driver: PostgreSQL is given what SQLite is.
STORES = ('sqlite', 'redis', 'postgresql')

#: Seconds in which a notifier clears the flag of a queue.
_CLEARED = 12.0


class Counting:
    """A message store that counts the bytes of the bodies it is given."""

    def __init__(self, store: MessageStore) -> None:
        self._store = store
        self.written = 0
        self.records = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name == 'clock':
            self._store.clock = value
        super().__setattr__(name, value)

    def post(
        self,
        qid: str,
        messages: Sequence[NewMessage],
        *,
        notice: Callable[[Sequence[int]], NewMessage] | None = None,
        **options: Any,
    ) -> Sequence[str]:
        """Store messages, and count them and their notice."""

        def counted(places: Sequence[int]) -> NewMessage:
            assert notice is not None
            return self._count(notice(places))

        for message in messages:
            self._count(message)
        make = counted if notice is not None else None
        return self._store.post(qid, messages, notice=make, **options)

    def _count(self, message: NewMessage) -> NewMessage:
        self.written += len(message.body)
        self.records += 1
        return message


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    parser = program_options.parser('fan_out', __doc__, has_results=False)
    add = parser.add_argument
    add('--size', type=int, default=250_000, help='bytes of the body (250000)')
    add('--subscribers', type=int, default=300, help='of the post (300)')
    add('--fewer', type=int, default=100, help='of many short posts (100)')
    add('--posts', type=int, default=2000, help='of one message (2000)')
    add('--store', choices=STORES, help='one alone')
    add('parts', nargs='*', default=['bytes', 'cost'])
    options = parser.parse_args(arguments)
    for name, value in machine.description().items():
        print(f'{name}: {value}')
    stores = [options.store] if options.store else STORES
    for store in stores:
        if 'bytes' in options.parts and store != 'postgresql':
            _bytes(store, options.size, options.subscribers)
        if 'cost' in options.parts:
            _cost(store, options.fewer, options.posts)
    return 0


def _bytes(store: str, size: int, subscribers: int) -> None:
    receiver = Receiver()
    with contextlib.ExitStack() as stack:
        stack.callback(receiver.stop)
        folder = pathlib.Path(
            stack.enter_context(tempfile.TemporaryDirectory())
        )
        messages, management, traffic = _open(store, folder, stack)
        counting: Any = Counting(messages)
        rig = Rig(folder, stores=(counting, management))
        stack.callback(rig.close)
        for number in range(subscribers):
            rig.subscribe(f'{receiver.url}/{number}')
        before, sent = counting.written, traffic()
        rig.post('x' * (size - len('""')))
        posted = counting.written - before
        rig.start()
        end = time.monotonic() + 120
        while len({one.path for one in receiver.got}) < subscribers:
            assert time.monotonic() < end, 'it does not come'
            time.sleep(0.05)
        rig.stop()
        written = counting.written - before
        print(
            f'{store}: a post of {size:,} bytes with {subscribers} '
            f'subscribers: {written:,} bytes of records '
            f'({written / size:.2f} times the body), {posted / size:.2f} by '
            f'the request, {(written - posted) / size:.2f} by the notifier'
        )
        if store == 'redis':
            received = traffic() - sent
            print(
                f'redis: its server received {received:,} bytes '
                f'({received / size:.2f} times the body)'
            )


def _open(
    store: str, folder: pathlib.Path, stack: contextlib.ExitStack
) -> tuple[MessageStore, ManagementStore, Callable[[], int]]:
    """Open a store; return what tells how many bytes its server received."""
    if store == 'redis':
        server = Redis()
        stack.callback(server.stop)
        client = server.client()
        return (
            redis_driver.open_messages(server.url, {}),
            redis_driver.open_management(server.url, {}),
            lambda: int(client.info('stats')['total_net_input_bytes']),
        )
    uri = f'sqlite:///{folder}/zaqar.sqlite'
    return (
        DRIVER.open_messages(uri, {}),
        DRIVER.open_management(uri, {}),
        lambda: 0,
    )


def _cost(store: str, subscribers: int, posts: int) -> None:
    with _running(store) as (server, pids):
        connection = load.Connection(server.port)
        paths = {name: f'/v2/queues/{name}' for name in ('none', 'many')}
        for number in range(subscribers):
            body = b'{"subscriber":"http://127.0.0.1:1/%d"}' % number
            path = f'{paths["many"]}/subscriptions'
            connection.exchange(_request(path, body))
        message = b'{"messages":[{"ttl":3600,"body":%b}]}' % target.BODY
        steps = {
            name: _request(f'{path}/messages', message)
            for name, path in paths.items()
        }
        connection.exchange(steps['none'])
        # A notifier clears the flag of the queue without subscribers. Then
        # only posts are measured: nothing is delivered meanwhile.
        notifier = process.Process(
            server.command(program='notifier'), server.folder / 'notifier.log'
        )
        time.sleep(_CLEARED)
        notifier.stop()
        times, cpu = _compared(connection, steps, posts, pids)
        connection.close()
    medians = {
        name: statistics.median(values) * 1e3 for name, values in times.items()
    }
    print(
        f'{store}: a post takes {medians["none"]:.3f} ms to a queue without '
        f'subscribers, {medians["many"]:.3f} ms to one with {subscribers} '
        f'(medians): {medians["many"] / medians["none"]:.2f} times; '
        f'processor time {cpu["none"] * 1e6:.0f} and {cpu["many"] * 1e6:.0f} '
        f'µs, store included: {cpu["many"] / cpu["none"]:.2f} times'
    )


def _compared(
    connection: load.Connection,
    steps: Mapping[str, Step],
    posts: int,
    pids: Callable[[], Sequence[int]],
) -> tuple[Mapping[str, list[float]], Mapping[str, float]]:
    """Post to both in turns; return durations and processor time of each."""
    slices = 20
    times: dict[str, list[float]] = {name: [] for name in steps}
    cpu: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(slices + 1):
        for name, step in steps.items():
            before = machine.cpu_seconds(*pids())
            durations = []
            for _ in range(posts // slices):
                began = time.perf_counter()
                connection.exchange(step)
                durations.append(time.perf_counter() - began)
            spent = machine.cpu_seconds(*pids()) - before
            if turn:
                # The first one was to warm up.
                times[name] += durations
                cpu[name].append(spent / len(durations))
    return times, {
        name: statistics.median(values) for name, values in cpu.items()
    }


@contextlib.contextmanager
def _running(
    store: str,
) -> Iterator[tuple[Zaqar, Callable[[], Sequence[int]]]]:
    """Run a server; yield it, and what returns its processes.

    With those of its store.
    """
    cores = machine.cores()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        drivers, others = '', list[int]
        with machine.pinned(cores and cores[0]):
            if store == 'redis':
                redis = Redis()
                stack.callback(redis.stop)
                drivers = target.stores(redis.url)
                first = redis.process.child.pid
                others = functools.partial(list, [first])
            elif store == 'postgresql':
                postgresql = sql.start(sql.PostgreSQL, durable=True)
                stack.callback(postgresql.stop)
                database = databases.Own(postgresql)
                drivers = with_database(database.database())
                others = database.processes
            server = Zaqar(
                pathlib.Path(folder), rest=_REST.format(drivers=drivers)
            )
            notify_soak.prepare(server, drivers)
            server.start()
        stack.callback(server.stop)
        stack.enter_context(machine.pinned(cores and cores[1]))
        yield server, lambda: [*server.workers(), *others()]


def _request(path: str, body: bytes) -> Step:
    data = requests.request('bench', 'POST', path, body, client=target.POSTER)
    return Step(data, 201)


if __name__ == '__main__':
    sys.exit(main())
