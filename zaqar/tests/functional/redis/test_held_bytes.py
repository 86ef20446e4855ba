# SPDX-License-Identifier: Apache-2.0
"""The bytes of queues on Redis."""

from __future__ import annotations

from zaqar.tests.contract.probe import Hand, Probe
from zaqar.tests.functional.redis.conftest import Open
from zaqar.tests.servers.redis import Redis

#: Bytes that Redis has received at most so often for a call.
FEW = 6


def test_many_queues_are_read_at_once(server: Redis, opened: Open) -> None:
    store, hand = opened(server.url), Hand()
    queues = [Probe(store, hand) for _ in range(40)]
    for queue in queues:
        queue.post('a')
    qids = [queue.qid for queue in queues]
    first = store.held_bytes(qids, now=hand.now)
    with server.client() as client:
        before = client.info('stats')['total_reads_processed']
        assert store.held_bytes(qids, now=hand.now) == first
        reads = client.info('stats')['total_reads_processed'] - before
    assert reads <= FEW


def test_an_empty_queue_holds_nothing_whoever_emptied_it(
    server: Redis, opened: Open
) -> None:
    queue = Probe(opened(server.url), Hand())
    queue.post('a')
    queue.store.held_bytes([queue.qid], now=queue.hand.now)
    queue.pop()
    # As a program of an earlier release leaves it.
    with server.client() as client:
        client.hset(f'zq:{{{queue.qid}}}:s', 'bytes', 500)
    assert queue.store.held_bytes([queue.qid], now=queue.hand.now) == 0
