# SPDX-License-Identifier: Apache-2.0
"""``python -m benchmarks.settling``: ten messages settled at once.

Beside ten single deletions with the claim, which each round does, too, in the
queue and under the load of the same moment.
"""

from __future__ import annotations

import argparse
import secrets
import sys
from collections.abc import Sequence

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
from benchmarks.requests import NEWEST, Requests, request
from benchmarks.target import Target
from zaqar.objects import Act, Settlement

SECTION = 'Settling'

#: Messages of a claim that are settled at once.
TEN = 10

#: How long that may take beside as many deletions.
MOST_RATIO = 0.15

#: Rounds before the clock runs.
WARM_UP = 10

WAYS = ('delete', 'release', 'extend')


class Rounds:
    """Rounds at the store, and over HTTP on one connection."""

    def __init__(self, target: Target) -> None:
        self.at_store, self.over_http = Timer(), Timer()
        self._queue = target.queue('settling')
        self._requests = Requests(self._queue)
        self._connection = Connection(target.port)

    def round(self) -> None:
        """Do everything once."""
        self.at_store.run('one by one', self._delete, *self._claim())
        self.over_http.run(
            'one by one', self._delete_over_http, *self._claim()
        )
        for way in WAYS:
            claim_id, ids = self._claim()
            self.at_store.run(way, self._settle, claim_id, ids, way)
            self._clear(ids)
            claim_id, ids = self._claim()
            step = self._step(claim_id, ids, way)
            self.over_http.run(way, self._connection.exchange, step)
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

    def _delete(self, claim_id: str, ids: Sequence[str]) -> None:
        for name in ids:
            self._queue.store.delete(
                self._queue.qid,
                name,
                now=self._queue.now(),
                claim_id=claim_id,
            )

    def _delete_over_http(self, claim_id: str, ids: Sequence[str]) -> None:
        for name in ids:
            href = f'{self._queue.path}/messages/{name}?claim_id={claim_id}'
            self._connection.exchange(self._requests.delete_href(href))

    def _settle(self, claim_id: str, ids: Sequence[str], way: str) -> None:
        act = Act[way.upper()]
        seconds = 0 if act is Act.DELETE else floor.CLAIM_TTL
        results = self._queue.store.settle(
            self._queue.qid,
            claim_id,
            [Settlement(name, act, seconds) for name in ids],
            now=self._queue.now(),
        )
        assert results == [True] * TEN

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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = _options(arguments)
    facts = machine.description()
    facts = {**facts, 'Rounds': f'{options.rounds}'}
    print(report.facts(facts))
    table = Table(
        'Median ms of ten',
        ['store', 'level', 'one by one', *WAYS, 'ratio of delete', ''],
    )
    timed_rounds.on_each(
        options.store,
        lambda source: _measure(source, options.rounds, table),
    )
    print(table.text())
    report.write_section(
        options.markdown, SECTION, report.facts(facts), table.markdown()
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
        single, *ways = (timer.median(name) for name in ('one by one', *WAYS))
        ratio = ways[0] / single
        cells = [f'{seconds * 1000:.2f}' for seconds in (single, *ways)]
        mark = 'SLOW' if ratio > MOST_RATIO else ''
        table.rows.append([source.title, level, *cells, f'{ratio:.3f}', mark])


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = program_options.parser('settling', __doc__)
    program_options.add_databases(parser)
    parser.add_argument('--rounds', type=int, default=200)
    return parser.parse_args(arguments)


if __name__ == '__main__':
    sys.exit(main())
