# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.settling``: ten messages settled at once.

Beside ten single deletions with the claim, which each round does, too, in the
queue and under the load of the same moment. Both are done some times in a row:
what comes first after something else takes longer, and nine of ten deletions
do not. The first calls of all rows are also compared with each other.

What either is called with is made before the clock runs, and both name the
same version of the API, as a client that settles does in all its requests.
"""

from __future__ import annotations

import argparse
import functools
import secrets
import sys
import time
from collections.abc import Callable, Sequence

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
from benchmarks.load import Connection, Step
from benchmarks.report import Table
from benchmarks.requests import NEWEST, request
from benchmarks.target import Target
from zaqar.objects import Act, Settlement

SECTION = 'Settling'

#: Messages of a claim that are settled at once.
TEN = 10

#: How long that may take beside as many deletions.
MOST_RATIO = 0.15

#: Claims that are settled in a row.
ROW = 5

#: Rounds before the clock runs.
WARM_UP = 10

#: Name of a single deletion; those of the first calls of rows begin so.
SINGLE = 'one by one'
FIRST = 'first '

WAYS = ('delete', 'release', 'extend')

Call = Callable[[], object]


class Rounds:
    """Rounds at the store, and over HTTP on one connection."""

    def __init__(self, target: Target) -> None:
        self.at_store, self.over_http = Timer(), Timer()
        self._queue = target.queue('settling')
        self._connection = Connection(target.port)

    def round(self) -> None:
        """Do everything once."""
        for timer, deletions, step in (
            (self.at_store, self._deletions, self._settlement),
            (self.over_http, self._deletions_over_http, self._exchange),
        ):
            claims = [self._claim() for _ in range(ROW)]
            row = [deletions(*claim) for claim in claims]
            _time(timer, SINGLE, row)
            for way in WAYS:
                claims = [self._claim() for _ in range(ROW)]
                calls = [step(*claim, way) for claim in claims]
                _time(timer, way, [[call] for call in calls])
                for _, ids in claims:
                    self._clear(ids)

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def _claim(self) -> tuple[str, Sequence[str]]:
        """Claim ten new messages."""
        ids = self._queue.post(TEN)
        claim_id = secrets.token_hex(16)
        claim = self._queue.store.claim(
            self._queue.qid,
            now=self._queue.now(),
            claim_id=claim_id,
            ttl=floor.CLAIM_TTL,
            grace=floor.GRACE,
            limit=TEN,
        )
        assert claim is not None
        assert len(claim.messages) == TEN
        return claim_id, ids

    def _clear(self, ids: Sequence[str]) -> None:
        self._queue.store.delete_many(
            self._queue.qid, ids, now=self._queue.now()
        )

    def _deletions(self, claim_id: str, ids: Sequence[str]) -> Sequence[Call]:
        return [
            functools.partial(self._delete, claim_id, name) for name in ids
        ]

    def _delete(self, claim_id: str, message_id: str) -> None:
        self._queue.store.delete(
            self._queue.qid,
            message_id,
            now=self._queue.now(),
            claim_id=claim_id,
        )

    def _deletions_over_http(
        self, claim_id: str, ids: Sequence[str]
    ) -> Sequence[Call]:
        folder = f'{self._queue.path}/messages'
        requests = [
            request(
                self._queue.project,
                'DELETE',
                f'{folder}/{name}?claim_id={claim_id}',
                headers=NEWEST,
            )
            for name in ids
        ]
        return [
            functools.partial(self._connection.exchange, Step(data, 204))
            for data in requests
        ]

    def _settlement(self, claim_id: str, ids: Sequence[str], way: str) -> Call:
        act = Act[way.upper()]
        seconds = 0 if act is Act.DELETE else floor.CLAIM_TTL
        settlements = [Settlement(name, act, seconds) for name in ids]
        return functools.partial(self._settle, claim_id, settlements)

    def _settle(self, claim_id: str, settlements: list[Settlement]) -> None:
        results = self._queue.store.settle(
            self._queue.qid,
            claim_id,
            settlements,
            now=self._queue.now(),
        )
        assert results == [True] * TEN

    def _exchange(self, claim_id: str, ids: Sequence[str], way: str) -> Call:
        step = self._step(claim_id, ids, way)
        return functools.partial(self._connection.exchange, step)

    def _step(self, claim_id: str, ids: Sequence[str], way: str) -> Step:
        """Return a request that settles messages."""
        member = {'release': 'delay', 'extend': 'ttl'}.get(way)
        entries = [
            {'id': name, member: floor.CLAIM_TTL} if member else name
            for name in ids
        ]
        data = request(
            self._queue.project,
            'POST',
            f'{self._queue.path}/claims/{claim_id}/settle',
            msgspec.json.encode({way: entries}),
            headers=NEWEST,
        )
        return Step(data, 200)


def _time(timer: Timer, name: str, row: Sequence[Sequence[Call]]) -> None:
    """Time a row of calls: those of each claim together, and the first."""
    for place, calls in enumerate(row):
        seconds = [*map(_seconds, calls)]
        timer.seconds.setdefault(name, []).append(sum(seconds))
        if place == 0:
            timer.seconds.setdefault(FIRST + name, []).append(seconds[0])


def _seconds(call: Call) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = _options(arguments)
    facts = machine.description()
    facts = {**facts, 'Rounds': f'{options.rounds}, rows of {ROW}'}
    print(report.facts(facts))
    table = Table(
        'Median ms of ten',
        [
            'store',
            'level',
            SINGLE,
            *WAYS,
            'ratio of delete',
            'of first calls',
            '',
        ],
    )
    timed_rounds.on_each(
        options.store,
        lambda source: _measure(source, options.rounds, table),
    )
    print(table.text())
    report.write_section(
        options.markdown,
        program_options.section(SECTION, options.store),
        report.facts(facts),
        table.markdown(),
    )
    return 0


def _measure(source: databases.Source, rounds: int, table: Table) -> None:
    times = timed_rounds.timed(
        source,
        Rounds,
        warm_up=WARM_UP,
        rounds=rounds,
    )
    for level, timer in times:
        single, *ways = (timer.median(name) for name in (SINGLE, *WAYS))
        first_single, first = (
            timer.median(FIRST + name) for name in (SINGLE, 'delete')
        )
        ratio = ways[0] / single
        cells = [f'{seconds * 1000:.2f}' for seconds in (single, *ways)]
        shown = [f'{ratio:.3f}', f'{first / first_single / TEN:.3f}']
        mark = 'SLOW' if ratio > MOST_RATIO else ''
        table.rows.append([source.title, level, *cells, *shown, mark])


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = program_options.parser('settling', __doc__)
    program_options.add_databases(parser)
    parser.add_argument('--rounds', type=int, default=60)
    return parser.parse_args(arguments)


if __name__ == '__main__':
    sys.exit(main())
