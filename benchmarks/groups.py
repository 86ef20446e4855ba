# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.groups``: claims from queues with groups.

Beside those from a queue without, in turns, at the store and over HTTP: a
claim of five messages, which is released afterwards. The queues hold as many
messages: without groups; of one group that is busy, with some behind that are
free; and each in a group of its own.
"""

from __future__ import annotations

import argparse
import secrets
import sys
from collections.abc import Callable, Iterator, Sequence

import msgspec

from benchmarks import (
    databases,
    floor,
    machine,
    program_options,
    report,
    timed_rounds,
)
from benchmarks.depth import Timer
from benchmarks.load import Connection
from benchmarks.report import Table
from benchmarks.requests import Requests
from benchmarks.target import BATCH, Queue, Target, new_message
from zaqar.objects import NewMessage

SECTION = 'Groups'

#: How many times slower a claim may be where there are groups.
MOST_RATIO = 1.25

#: Messages behind the busy group, and how many groups they have.
BEHIND, OTHERS = 200, 20

#: Rounds before the clock runs.
WARM_UP = 20

_PLAIN, _BUSY, _MANY = 'without', 'busy', 'many'
_QUEUES = (_PLAIN, _BUSY, _MANY)


class Rounds:
    """Rounds at the store, and over HTTP on one connection.

    :param count: messages of each queue
    """

    def __init__(self, target: Target, count: int) -> None:
        self.at_store, self.over_http = Timer(), Timer()
        self._connection = Connection(target.port)
        groups: dict[str, Callable[[int], str | None]] = {
            _PLAIN: lambda _: None,
            _BUSY: lambda at: (
                'a' if at < count - BEHIND else f'b{at % OTHERS}'
            ),
            _MANY: lambda at: f'g{at}',
        }
        self._queues = {name: target.queue(name) for name in _QUEUES}
        for name, queue in self._queues.items():
            for messages in _batches(count, groups[name]):
                queue.store.post(
                    queue.qid,
                    messages,
                    now=queue.now(),
                    token=secrets.token_hex(16),
                )
        # It lasts for longer than the measurement.
        _claim(self._queues[_BUSY], 1)
        self._turns = [*_QUEUES]

    def round(self) -> None:
        """Do everything once, each time another queue first."""
        for name in self._turns:
            queue = self._queues[name]
            claim_id = self.at_store.run(name, _claim, queue, floor.CLAIM)
            queue.store.release(queue.qid, claim_id, now=queue.now())
        for name in self._turns:
            requests = Requests(self._queues[name])
            body = self.over_http.run(
                name, self._connection.exchange, requests.claim()
            )
            messages = msgspec.json.decode(body)['messages']
            _check(messages, floor.CLAIM)
            path, _, claim_id = messages[0]['href'].partition('?claim_id=')
            folder = path.partition('/messages/')[0]
            self._connection.exchange(
                requests.release(f'{folder}/claims/{claim_id}')
            )
        self._turns.append(self._turns.pop(0))

    def close(self) -> None:
        """End the connection."""
        self._connection.close()


def _batches(
    count: int, group_of: Callable[[int], str | None]
) -> Iterator[list[NewMessage]]:
    for start in range(0, count, BATCH):
        yield [
            msgspec.structs.replace(new_message(), group=group_of(at))
            for at in range(start, min(start + BATCH, count))
        ]


def _claim(queue: Queue, limit: int) -> str:
    """Claim messages, as over HTTP, for longer than any run; return the id."""
    claim_id = secrets.token_hex(16)
    claim = queue.store.claim(
        queue.qid,
        now=queue.now(),
        claim_id=claim_id,
        ttl=floor.CLAIM_TTL,
        grace=floor.GRACE,
        limit=limit,
    )
    _check(claim.messages if claim else (), limit)
    return claim_id


def _check(messages: Sequence[object], limit: int) -> None:
    if len(messages) != limit:
        raise RuntimeError('the claim has not taken what is free')


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = _options(arguments)
    facts = {
        **machine.description(),
        'Settings': f'{options.messages:,} messages, {options.rounds} rounds',
        'Load average at the start': machine.load(),
    }
    print(report.facts(facts))
    table = Table(
        f'Median ms of a claim of {floor.CLAIM}',
        [
            'store',
            'level',
            'without groups',
            'a busy group ahead',
            'a group for each message',
            'ratios',
            '',
        ],
    )
    timed_rounds.on_each(
        options.store,
        lambda source: _measure(
            source, options.messages, options.rounds, table
        ),
    )
    print(table.text())
    report.write_section(
        options.markdown,
        program_options.section(SECTION, options.store),
        report.facts(facts),
        table.markdown(),
    )
    return int(any(row[-1] for row in table.rows))


def _measure(
    source: databases.Source, count: int, rounds: int, table: Table
) -> None:
    times = timed_rounds.timed(
        source,
        lambda target: Rounds(target, count),
        warm_up=WARM_UP,
        rounds=rounds,
    )
    for level, timer in times:
        plain, *grouped = map(timer.median, _QUEUES)
        ratios = [seconds / plain for seconds in grouped]
        cells = [f'{seconds * 1000:.3f}' for seconds in (plain, *grouped)]
        shown = ', '.join(f'{ratio:.2f}' for ratio in ratios)
        mark = 'SLOW' if max(ratios) > MOST_RATIO else ''
        table.rows.append([source.title, level, *cells, shown, mark])


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = program_options.parser('groups', __doc__)
    add = parser.add_argument
    program_options.add_databases(parser)
    add('--messages', type=int, default=10_000, help='of a queue (10,000)')
    add('--rounds', type=int, default=300, help='of each figure (300)')
    return parser.parse_args(arguments)


if __name__ == '__main__':
    sys.exit(main())
