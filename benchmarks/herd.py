# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.herd``: many claims that wait for one queue.

Messages are posted to it one by one. Each must be the answer to one claim, the
one that has waited longest, and hardly any other may be tried at the store.
"""

from __future__ import annotations

import argparse
import secrets
import select
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from benchmarks import (
    load,
    machine,
    many_waiting_claims,
    program_options,
    report,
    requests,
    target,
)
from benchmarks.load import Connection, Step, WrongAnswerError
from benchmarks.many_waiting_claims import Server

SECTION = 'Many claims that wait for one queue'

STORES = ('sqlite', 'postgresql', 'redis')

#: Claims that may reach the store for each message.
MOST = 1.1

#: Threads that answer requests: so many may arrive in another order than that
#: in which they were sent.
THREADS = 8
SETTINGS = f'worker_threads = {THREADS}\n'

_HEAD = (
    'claims wait at',
    'next post after',
    'claim calls a message',
    'looks a message',
    'places astray',
    'messages/s',
    '',
)


class Queue:
    """A queue, and the connection that posts to it."""

    def __init__(self, server: Server) -> None:
        self.name = secrets.token_hex(8)
        self._project = server.project
        self._connection = Connection(server.api)
        self._connection.exchange(self.step('PUT', '', 201))

    def post(self, number: int) -> None:
        body = msgspec.json.encode({'messages': [{'body': number}]})
        self._connection.exchange(self.step('POST', '/messages', 201, body))

    def step(
        self, method: str, path: str, status: int, body: bytes = b''
    ) -> Step:
        """Return a request."""
        data = requests.request(
            self._project,
            method,
            f'/v2/queues/{self.name}{path}',
            body,
            client=target.POSTER,
        )
        return Step(data, status)

    def close(self) -> None:
        self._connection.close()


@dataclass(frozen=True)
class Figures:
    """What was measured.

    :ivar tried: claims at the store for each message
    :ivar looks: of the listener, likewise
    :ivar strayed: the most places that a claim was answered before or after
        its turn
    :ivar rate: messages a second
    """

    tried: float
    looks: float
    strayed: int
    rate: float

    @property
    def faults(self) -> Sequence[str]:
        """What is promised and not so."""
        return [
            *(['TOO MANY'] if self.tried > MOST else []),
            *(['OUT OF TURN'] if self.strayed >= THREADS else []),
        ]

    def row(self) -> Sequence[str]:
        return (
            f'{self.tried:.2f}',
            f'{self.looks:.2f}',
            str(self.strayed),
            f'{self.rate:,.0f}',
            ', '.join(self.faults),
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = _options(arguments)
    facts = {
        **machine.description(),
        'Settings': f'{options.claims:,} claims of one message wait, and as '
        'many messages are posted through the API worker',
        'Load average at the start': machine.load(),
    }
    print(report.facts(facts))
    parts, are_kept = [report.facts(facts)], True
    for store in options.store or STORES:
        with many_waiting_claims.serving(store, SETTINGS) as (title, server):
            table = report.Table(title, _HEAD)
            for name, port in (
                ('the asynchronous server', server.asynchronous),
                ('the API worker', server.api),
            ):
                for paced in (True, False):
                    figures = measure(
                        server, port, options.claims, paced=paced
                    )
                    after = 'the receipt' if paced else 'the post'
                    table.rows.append((name, after, *figures.row()))
                    are_kept = are_kept and not figures.faults
        print(table.text(), flush=True)
        parts.append(table.markdown())
    report.write_section(options.markdown, SECTION, *parts)
    return 0 if are_kept else 1


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = program_options.parser('herd', __doc__)
    add = parser.add_argument
    program_options.add_stores(parser, STORES)
    add('--claims', type=int, default=1000, help='that wait (1000)')
    return parser.parse_args(arguments)


def measure(server: Server, port: int, count: int, *, paced: bool) -> Figures:
    """Have claims wait, and post as many messages.

    :param port: where the claims wait
    :param paced: whether each message is received before the next post
    :raises WrongAnswerError: a message was not the answer to one claim
    """
    queue = Queue(server)
    other = Connection(port)
    # They arrive in order, or nearly so, if this is answered in between.
    read = queue.step('GET', '/messages', 200)
    before = server.store_calls()
    steps = [many_waiting_claims.claim(server.project, queue.name)] * count
    with many_waiting_claims.waiting(
        port, steps, lambda: other.exchange(read)
    ) as claims:
        server.settle(port)
        if many_waiting_claims.answered(claims):
            raise WrongAnswerError('a claim has not waited')
        began = time.perf_counter()
        numbers = _received(claims, queue, paced)
        elapsed = time.perf_counter() - began
    server.settle(port)
    calls = server.store_calls() - before
    other.close()
    queue.close()
    if sorted(numbers) != list(range(count)):
        raise WrongAnswerError('a message has not been received once')
    return Figures(
        calls['message_store.claim'] / count,
        calls['message_store.availability'] / count,
        max(abs(index - number) for index, number in enumerate(numbers)),
        count / elapsed,
    )


def _received(
    claims: Sequence[Connection], queue: Queue, paced: bool
) -> Sequence[int]:
    """Post messages; return their numbers in the order of the claims."""
    indices = {claim.fileno(): index for index, claim in enumerate(claims)}
    numbers = [-1] * len(claims)

    def receive(count: int) -> None:
        while count:
            ready = poll.poll(load.PATIENCE)
            if not ready:
                raise WrongAnswerError('a message has not been received')
            for file, _ in ready:
                answer = claims[indices[file]].receive()
                if answer is not None:
                    (message,) = msgspec.json.decode(answer)['messages']
                    numbers[indices[file]] = message['body']
                    count -= 1

    with select.epoll() as poll:
        for claim in claims:
            poll.register(claim, select.EPOLLIN)
        for number in range(len(claims)):
            queue.post(number)
            if paced:
                receive(1)
        if not paced:
            receive(len(claims))
    return numbers


if __name__ == '__main__':
    try:
        sys.exit(main())
    except WrongAnswerError as error:
        sys.exit(f'benchmarks.herd: {error}')
