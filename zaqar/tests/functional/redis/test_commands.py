# SPDX-License-Identifier: Apache-2.0
"""What each operation costs, as the server itself counts it."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable, Mapping
from functools import partial

import pytest

from zaqar.tests.contract.probe import (
    Probe,
    deleted,
    extended,
    ids,
    message,
    released,
    token,
)
from zaqar.tests.functional.redis.conftest import Open, OpenRecords
from zaqar.tests.servers.redis import Redis

#: What brings a script to the server.
SCRIPT = frozenset({'evalsha', 'eval'})

#: Each greater than all before.
VERSIONS = itertools.count(1)

OPERATIONS: dict[str, Callable[[Probe], object]] = {
    'post 1': lambda queue: queue.post('x'),
    'post 10': lambda queue: queue.post(*range(10)),
    'post with a limit': lambda queue: queue.post('x', limit=10_000_000),
    'list 10': lambda queue: queue.list(10),
    'list 10 of others': lambda queue: queue.list(10, exclude_client='x'),
    'list 10 in every state': lambda queue: queue.list(
        10, include_claimed=True, include_delayed=True
    ),
    'get': lambda queue: queue.get('0' * 32),
    'claim 10': lambda queue: queue.take(10),
    'claim 10 with a maximum': lambda queue: queue.take(10, max_claims=3),
    'query claim': lambda queue: queue.claimed(token()),
    'renew': lambda queue: queue.renew(token()),
    'release': lambda queue: queue.release(token()),
    'settle': lambda queue: queue.settle(token(), deleted('0' * 32)),
    'delete': lambda queue: queue.delete('0' * 32),
    'bulk delete': lambda queue: queue.delete_many(*['0' * 32] * 10),
    'pop 10': lambda queue: queue.pop(10),
    'stats': lambda queue: queue.stats(),
    'availability': lambda queue: queue.availability(),
    'require a version': lambda queue: queue.store.require_version(
        queue.qid, next(VERSIONS), now=queue.hand.now
    ),
    'post of a version': lambda queue: queue.store.post(
        queue.qid,
        [message('x')],
        now=queue.hand.now,
        token=token(),
        version=10**6,
    ),
    'claim of a version': lambda queue: queue.store.claim(
        queue.qid,
        now=queue.hand.now,
        claim_id=token(),
        ttl=60,
        grace=60,
        limit=10,
        version=10**6,
    ),
}
LAST: dict[str, Callable[[Probe], object]] = {
    'purge': lambda queue: queue.purge(),
    'drop': lambda queue: queue.drop(),
}


def counted(server: Redis, work: Callable[[], object]) -> Mapping[str, int]:
    """Return how often a work has the server run each command."""
    before = server.calls()
    work()
    after = server.calls()
    counts = {name: after[name] - before.get(name, 0) for name in after}
    # That is ours.
    counts.pop('info', None)
    return {name: count for name, count in counts.items() if count}


@pytest.fixture
def deep(own_server: Callable[..., Redis], opened: Open) -> Redis:
    """A server for a test that counts, where nobody else asks."""
    return own_server()


def filled(store: Probe, depth: int) -> Probe:
    """Return a queue of some depth, the older half claimed."""
    queue = Probe(store.store, store.hand)
    for start in range(0, depth, 1000):
        queue.post(*range(start, min(start + 1000, depth)))
    for _ in range(0, depth // 2, 500):
        queue.take(min(500, depth // 2))
    return queue


@pytest.mark.parametrize('name', [*OPERATIONS, *LAST])
def test_each_operation_is_one_call_of_a_script(
    own_server: Callable[..., Redis],
    deep: Redis,
    opened: Open,
    queue: Probe,
    name: str,
) -> None:
    there = filled(Probe(opened(deep.url), queue.hand), 40)
    call = {**OPERATIONS, **LAST}[name]
    # Once for the server to learn the script.
    call(filled(there, 40))
    counts = counted(deep, lambda: call(there))
    assert {one: counts.get(one, 0) for one in SCRIPT} == {
        'evalsha': 1,
        'eval': 0,
    }
    assert 'wait' not in counts


def test_scripts_do_as_much_in_a_deep_queue_as_in_a_shallow_one(
    deep: Redis, opened: Open, queue: Probe
) -> None:
    start = Probe(opened(deep.url), queue.hand)
    shallow, far = filled(start, 100), filled(start, 20_000)
    for name, call in OPERATIONS.items():
        call(shallow)
        costs = [counted(deep, partial(call, one)) for one in (shallow, far)]
        assert costs[0] == costs[1], name


def test_claims_do_as_much_whatever_groups_there_are(
    deep: Redis, opened: Open, queue: Probe
) -> None:
    start = Probe(opened(deep.url), queue.hand)
    costs = []
    for depth in (100, 5000):
        busy, single = (Probe(start.store, start.hand) for _ in range(2))
        for first in range(0, depth, 100):
            numbers = range(first, first + 100)
            busy.send([message(one, group='a') for one in numbers])
            single.send([message(one, group=f'g{one}') for one in numbers])
        busy.take(1)
        busy.send([message(one, group=f'b{one}') for one in range(40)])
        for there in (busy, single):
            there.release(there.take(5).id)
        costs.append(
            [counted(deep, partial(there.take, 5)) for there in (busy, single)]
        )
    assert costs[0] == costs[1]


def test_settling_ten_is_one_call_of_one_script(
    deep: Redis, opened: Open, queue: Probe
) -> None:
    there = Probe(opened(deep.url), queue.hand)
    there.settle(token())
    there.post(*range(30))
    claim = there.take(30)
    names = ids(claim.messages)
    for change in (deleted, partial(extended, seconds=9), released):
        mine = [change(names.pop()) for _ in range(10)]
        counts = counted(deep, partial(there.settle, claim.id, *mine))
        assert counts['evalsha'] == 1
        # Far less than ten calls.
        assert sum(counts.values()) < 50


def test_a_notice_costs_no_further_call(
    deep: Redis, opened: Open, queue: Probe
) -> None:
    store = opened(deep.url)

    def post(qid: str) -> None:
        store.post(
            qid,
            [message('a')],
            now=queue.hand.now,
            token=token(),
            notice=lambda _: message(qid),
        )

    marked, silent = secrets.token_hex(16), secrets.token_hex(16)
    post(marked)
    store.unmark_subscribed(silent, 1, now=queue.hand.now)
    post(silent)
    for qid in (marked, silent):
        assert counted(deep, partial(post, qid))['evalsha'] == 1


def test_each_call_on_records_is_one(
    deep: Redis, records: OpenRecords
) -> None:
    store = records(deep.url)
    calls: list[tuple[str, Callable[[str], object]]] = [
        ('evalsha', lambda name: store.create('queue', 'p', name, {})),
        ('hget', lambda name: store.get('queue', 'p', name)),
        (
            'evalsha',
            lambda name: store.replace('queue', 'p', name, {}, version=1),
        ),
        (
            'evalsha',
            lambda name: store.list('queue', 'p', after=None, limit=10),
        ),
        ('hlen', lambda name: store.count('queue', 'p')),
        ('evalsha', lambda name: store.delete('queue', 'p', name)),
    ]
    for _, call in calls:
        call('warm')
    for command, call in calls:
        counts = counted(deep, partial(call, 'a'))
        assert counts[command] == 1
        assert not {'keys', 'scan', 'eval'} & set(counts)


def test_a_claim_behind_many_dead_ones_stops_now_and_then(
    deep: Redis, opened: Open, queue: Probe
) -> None:
    there = Probe(opened(deep.url), queue.hand)
    for _ in range(4):
        there.post(*range(5000), ttl=60)
    there.post('live')
    there.hand.move(60)
    there.claimed(token())
    counts = counted(deep, lambda: there.take(1))
    # So that none keeps others waiting, and they are few all the same.
    assert 10 < counts['evalsha'] + counts.get('eval', 0) < 60
    assert counted(deep, lambda: there.claim(1))['evalsha'] == 1


def test_a_claim_takes_as_many_as_it_is_told_to(
    deep: Redis, opened: Open, queue: Probe
) -> None:
    there = Probe(opened(deep.url), queue.hand)
    for _ in range(3):
        there.post(*range(5000))
    assert len(there.take(15_000).messages) == 15_000


def test_many_that_come_back_at_once_are_taken_in_order(
    deep: Redis, opened: Open, queue: Probe
) -> None:
    there = Probe(opened(deep.url), queue.hand)
    there.post(*range(5000))
    there.post('late', delay=60)
    there.take(2500, ttl=60)
    there.take(2000, ttl=60)
    there.hand.move(60)
    taken = there.take(5001)
    assert [item.body for item in taken.messages[:-1]] == [
        b'%d' % number for number in range(5000)
    ]
    assert taken.messages[-1].body == b'"late"'


def test_many_queues_are_looked_at_in_one_pipeline(
    deep: Redis, opened: Open, queue: Probe
) -> None:
    store, hand = opened(deep.url), queue.hand
    qids = [token() for _ in range(300)]

    def reads() -> int:
        with deep.client() as client:
            return int(client.info('stats')['total_reads_processed'])

    # Once for the server to learn the script.
    store.availability(qids, now=hand.now)
    before = reads()
    counts = counted(deep, lambda: store.availability(qids, now=hand.now))
    assert counts['evalsha'] == 300
    # What comes in one piece of some kilobytes is one read.
    assert reads() - before < 100
