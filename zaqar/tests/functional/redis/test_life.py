# SPDX-License-Identifier: Apache-2.0
"""How long keys live, and that nothing outlives its use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from zaqar.storage.redis import key_names
from zaqar.tests.contract.probe import Hand, Probe, token
from zaqar.tests.servers.redis import Redis

HOUR = 3600


def names(server: Redis, queue: Probe) -> Sequence[str]:
    """Return the last parts of the keys of a queue."""
    with server.client() as client:
        keys = client.keys(f'zq:{{{queue.qid}}}:*')
    return sorted(name.decode().rpartition(':')[2] for name in keys)


def lives(server: Redis, queue: Probe) -> dict[str, Any]:
    """Return the seconds that each key of a queue has left, -1 for ever."""
    with server.client() as client:
        return {
            name: client.ttl(f'zq:{{{queue.qid}}}:{name}')
            for name in names(server, queue)
        }


@pytest.fixture
def busy(queue: Probe, another: Probe) -> Probe:
    """A queue that has something of each kind."""
    (old,) = another.post('letter')
    queue.post('claimed', 'worn', ttl=600)
    queue.release(queue.take(max_claims=5).id)
    queue.take(1)
    queue.post('delayed', delay=300, ttl=900)
    queue.letter('letter', old, ttl=600, extras=b'extras')
    return queue


@pytest.fixture
def another(queue: Probe) -> Probe:
    """A second queue."""
    return Probe(queue.store, queue.hand)


def test_an_idle_queue_is_forgotten_an_hour_after_its_last_message(
    server: Redis, busy: Probe
) -> None:
    lifetimes = lives(server, busy)
    assert lifetimes.pop('s') == -1
    tokens = [name for name in lifetimes if name.startswith('t')]
    for name in tokens:
        # Looked for during twenty minutes.
        assert 1200 < lifetimes.pop(name) <= HOUR
    # All that was ever made but what is empty.
    assert set(lifetimes) == set('mafcdwxkqeoy')
    for name, life in lifetimes.items():
        assert 900 + HOUR - 60 < life <= 900 + 2 * HOUR, name


def test_a_longer_message_lets_all_live_longer(
    server: Redis, busy: Probe
) -> None:
    busy.post('long', ttl=90_000)
    busy.take(1, ttl=600)
    lifetimes = lives(server, busy)
    for name in 'mafcxkqe':
        assert lifetimes[name] > 90_000 + HOUR - 120, name


def test_a_claim_that_prolongs_a_life_prolongs_that_of_its_keys(
    server: Redis, queue: Probe
) -> None:
    queue.post('a', ttl=60)
    claim = queue.take(ttl=40_000, grace=100)
    assert min(
        v for k, v in lives(server, queue).items() if k in 'maxckqe'
    ) > (40_000 + HOUR - 60)
    queue.renew(claim.id, ttl=80_000, grace=100)
    assert min(
        v for k, v in lives(server, queue).items() if k in 'maxckqe'
    ) > (80_000 + HOUR - 60)


def test_of_what_was_deleted_nothing_is_left(
    server: Redis, busy: Probe, hand: Hand
) -> None:
    hand.move(301)
    while busy.pop():
        pass
    hand.move(10_000)
    busy.pop()
    assert [name for name in names(server, busy) if name[0] != 't'] == ['s']


def test_a_purge_leaves_numbers_and_tokens_alone(
    server: Redis, busy: Probe
) -> None:
    busy.purge()
    assert {name[0] for name in names(server, busy)} == {'s', 't'}


def test_a_drop_leaves_a_tombstone_that_goes_by_itself(
    server: Redis, busy: Probe
) -> None:
    busy.drop()
    lifetimes = lives(server, busy)
    assert list(lifetimes) == ['s']
    assert HOUR < lifetimes['s'] < 2 * HOUR


def test_who_posts_to_a_queue_that_nobody_reads_removes_the_dead(
    server: Redis, queue: Probe, hand: Hand
) -> None:
    for _ in range(20):
        queue.post(*range(50), ttl=60)
        hand.move(61)
    with server.client() as client:
        key, *_ = key_names.of_queue('zq', queue.qid, hand.now)[1:2]
        assert client.hlen(key) <= 150


def test_a_prefix_keeps_services_apart(
    server: Redis, opened: Any, records: Any, hand: Hand
) -> None:
    qid = token()
    one, two = (
        Probe(opened(f'{server.url}?prefix={name}'), hand, qid)
        for name in ('one', 'two')
    )
    one.post('a')
    assert two.everything() == []
    two.drop()
    assert one.everything() == ['a']
    stores = [
        records(f'{server.url}?prefix={name}') for name in ('one', 'two')
    ]
    assert all(store.create('queue', 'p', qid, {}) for store in stores)
