# SPDX-License-Identifier: Apache-2.0
"""Claims from queues with groups beside those from one without.

On the store itself, in turns: a claim of five messages, which is released
afterwards. The queues hold as many messages, without groups; of one group that
is busy, with some behind that are free; and each in a group of its own.
"""

from __future__ import annotations

import argparse
import pathlib
import secrets
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from benchmarks import machine, report
from zaqar.models import NewMessage
from zaqar.storage.base import MessageStore
from zaqar.tests.contract import (  # noqa: F401
    harnesses,
    mongodb_harness,
    swift_harness,
)
from zaqar.tests.contract.harnesses import Feature, Harness

#: How many times slower a claim may be where there are groups.
MOST_RATIO = 1.25

#: Messages of one post, of one claim, and behind the busy group.
BATCH = 500
LIMIT = 5
BEHIND = 200

#: Claims before the clock runs.
WARM_UP = 20

_PLAIN = 'without groups'
_QUEUES = (_PLAIN, 'a busy group ahead', 'a group for each message')


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = _options(arguments)
    facts = {
        **machine.description(),
        'Settings': f'{options.messages} messages, {options.rounds} rounds',
        'Load average at the start': machine.load(),
    }
    print(report.facts(facts))
    parts, code = [report.facts(facts)], 0
    for kind in harnesses.chosen():
        if Feature.GROUPS not in kind.features:
            continue
        table, is_slow = _measured(kind, options.messages, options.rounds)
        print(table.text())
        parts.append(table.markdown())
        code = code or int(is_slow)
    if options.markdown:
        report.write_section(options.markdown, 'Groups', '\n'.join(parts))
    return code


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        'python -m benchmarks.groups',
        description=__doc__,
        epilog='ZAQAR_TEST_ENGINE names the stores, as for the tests.',
    )
    add = parser.add_argument
    add('--messages', type=int, default=10_000, help='of a queue (10,000)')
    add('--rounds', type=int, default=300, help='of each figure (300)')
    add('--markdown', type=pathlib.Path, metavar='FILE', help='write there')
    return parser.parse_args(arguments)


def _measured(
    kind: type[Harness], count: int, rounds: int
) -> tuple[report.Table, bool]:
    """Return the times of a store, and whether groups cost too much."""
    harness = kind()
    harness.start()
    try:
        store = harness.open_messages(harness.database())
        try:
            times = _times(store, count, rounds)
        finally:
            store.close()
    finally:
        harness.stop()
    plain = statistics.median(times[_PLAIN])
    table = report.Table(
        f'{kind.name}: milliseconds of a claim of {LIMIT}',
        ('queue', 'median', 'p95', 'ratio'),
    )
    slow = False
    for name, seconds in times.items():
        ratio = statistics.median(seconds) / plain
        slow = slow or ratio > MOST_RATIO
        table.rows.append(
            (
                name,
                f'{statistics.median(seconds) * 1000:.3f}',
                f'{report.quantile(seconds, 0.95) * 1000:.3f}',
                f'{ratio:.2f}',
            )
        )
    return table, slow


def _times(
    store: MessageStore, count: int, rounds: int
) -> dict[str, list[float]]:
    """Return the seconds of each round by queue."""
    groups: dict[str, Callable[[int], str | None]] = {
        _QUEUES[0]: lambda _: None,
        _QUEUES[1]: lambda at: 'a' if at < count - BEHIND else f'b{at % 20}',
        _QUEUES[2]: lambda at: f'g{at}',
    }
    qids = {name: secrets.token_hex(16) for name in groups}
    for name, group_of in groups.items():
        for messages in _batches(count, group_of):
            token = secrets.token_hex(16)
            store.post(
                qids[name], messages, now=store.clock.now(), token=token
            )
    # It lasts for longer than the measurement.
    _claim(store, qids[_QUEUES[1]], 1, ttl=43_200)
    times: dict[str, list[float]] = {name: [] for name in qids}
    for number in range(-WARM_UP, rounds):
        for name, qid in qids.items():
            start = time.perf_counter()
            claim_id = _claim(store, qid, LIMIT)
            duration = time.perf_counter() - start
            store.release(qid, claim_id, now=store.clock.now())
            if number >= 0:
                times[name].append(duration)
    return times


def _batches(
    count: int, group_of: Callable[[int], str | None]
) -> Iterator[list[NewMessage]]:
    for start in range(0, count, BATCH):
        yield [
            NewMessage(
                b'{"a": 1}',
                86_400,
                secrets.token_hex(8),
                'client',
                group=group_of(at),
            )
            for at in range(start, min(start + BATCH, count))
        ]


def _claim(store: MessageStore, qid: str, limit: int, ttl: int = 300) -> str:
    claim_id = secrets.token_hex(16)
    claim = store.claim(
        qid,
        now=store.clock.now(),
        claim_id=claim_id,
        ttl=ttl,
        grace=60,
        limit=limit,
    )
    if claim is None or len(claim.messages) != limit:
        raise RuntimeError('the claim has not taken what is free')
    return claim_id


if __name__ == '__main__':
    sys.exit(main())
