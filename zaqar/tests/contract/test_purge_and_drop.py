# SPDX-License-Identifier: Apache-2.0
"""Emptying a queue, for now and for good."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from zaqar.errors import QueueGone
from zaqar.tests.contract.probe import Hand, Probe, bodies, deleted, ids, token

#: How long a tombstone stands at least, in seconds.
TOMBSTONE = 3600

#: Calls on a queue, by name, with ids that exist nowhere.
CALLS: dict[str, Callable[[Probe], object]] = {
    'post': lambda queue: queue.post('x'),
    'post with a limit': lambda queue: queue.post('x', limit=9),
    'post of a dead letter': lambda queue: queue.letter('x', '0' * 32),
    'list': lambda queue: queue.list(),
    'list of everything': lambda queue: queue.list(
        include_claimed=True, include_delayed=True
    ),
    'list from a marker': lambda queue: queue.list(marker='0' * 32),
    'list without a client': lambda queue: queue.list(exclude_client='x'),
    'get': lambda queue: queue.get('0' * 32),
    'delete': lambda queue: queue.delete('0' * 32),
    'delete with a claim': lambda queue: queue.delete('0' * 32, token()),
    'delete_many': lambda queue: queue.delete_many('0' * 32),
    'pop': lambda queue: queue.pop(),
    'claim': lambda queue: queue.claim(),
    'claim with a maximum': lambda queue: queue.claim(max_claims=3),
    'claimed': lambda queue: queue.claimed(token()),
    'renew': lambda queue: queue.renew(token()),
    'release': lambda queue: queue.release(token()),
    'settle': lambda queue: queue.settle(token(), deleted('0' * 32)),
    'stats': lambda queue: queue.stats(),
    'purge': lambda queue: queue.purge(),
}


@pytest.fixture(params=['purge', 'drop'])
def empty(request: pytest.FixtureRequest) -> str:
    """Each way of emptying a queue."""
    return str(request.param)


@pytest.fixture
def full(queue: Probe) -> Probe:
    """A queue with messages in every state."""
    queue.post('claimed')
    queue.take()
    queue.post('free')
    queue.post('delayed', delay=600)
    return queue


def test_a_purge_takes_free_claimed_and_delayed_messages(
    full: Probe,
) -> None:
    posted = ids(full.walk(include_claimed=True, include_delayed=True))
    full.purge()
    assert full.everything() == []
    assert full.get(*posted) == []
    assert full.claim() is None
    assert full.pop() == []
    assert full.stats().total == 0


def test_a_purge_takes_the_claims(queue: Probe) -> None:
    (one,) = queue.post('a')
    claim = queue.take()
    queue.purge()
    assert queue.claimed(claim.id) is None
    assert not queue.renew(claim.id)
    queue.release(claim.id)
    queue.delete(one, claim.id)


def test_nothing_comes_back_after_a_purge(full: Probe, hand: Hand) -> None:
    full.purge()
    hand.move(600)
    assert full.everything() == []
    assert full.claim() is None


def test_a_purged_queue_is_used_on(full: Probe) -> None:
    full.purge()
    posted = full.post('new', 'newer')
    assert ids(full.walk()) == posted
    assert bodies(full.take(1).messages) == ['new']
    assert full.stats().total == 2


def test_a_sweep_takes_nothing_from_a_purged_queue_that_is_used_on(
    full: Probe, hand: Hand
) -> None:
    full.purge()
    full.post('new')
    claim = full.take()
    full.post('newer')
    full.sweep()
    assert full.everything() == ['new', 'newer']
    assert full.claimed(claim.id) == claim


def test_a_queue_may_be_purged_again_and_again(queue: Probe) -> None:
    for number in range(3):
        queue.post(number)
        queue.purge()
        queue.purge()
    assert queue.everything() == []


def test_a_purge_of_a_queue_never_seen_is_fine(queue: Probe) -> None:
    queue.purge()
    queue.post('a')
    assert queue.everything() == ['a']


def test_ids_are_never_given_twice(queue: Probe) -> None:
    first = queue.post('a', 'b', rnd='0' * 16)
    queue.purge()
    second = queue.post('a', 'b', rnd='0' * 16)
    assert not set(first) & set(second)


def test_emptying_one_queue_touches_no_other(
    full: Probe, another: Probe, hand: Hand, empty: str
) -> None:
    another.post('kept')
    claim = another.take()
    another.post('kept too')
    getattr(full, empty)()
    full.sweep()
    assert another.everything() == ['kept', 'kept too']
    assert another.claimed(claim.id) == claim


@pytest.mark.parametrize('call', CALLS)
def test_a_call_on_a_dropped_queue_says_so(full: Probe, call: str) -> None:
    full.drop()
    with pytest.raises(QueueGone):
        CALLS[call](full)


@pytest.mark.parametrize('call', CALLS)
def test_a_call_on_a_queue_never_seen_is_one_on_an_empty_queue(
    queue: Probe, call: str
) -> None:
    CALLS[call](queue)


def test_ids_of_a_dropped_queue_are_gone_with_it(queue: Probe) -> None:
    claimed, free = queue.post('claimed', 'free')
    claim = queue.take(1)
    queue.drop()
    for call in (
        lambda: queue.get(claimed, free),
        lambda: queue.delete(free),
        lambda: queue.delete(claimed, claim.id),
        lambda: queue.delete_many(claimed, free),
        lambda: queue.claimed(claim.id),
        lambda: queue.renew(claim.id),
        lambda: queue.release(claim.id),
        lambda: queue.list(marker=free),
    ):
        with pytest.raises(QueueGone):
            call()


def test_a_post_that_was_stored_before_is_gone_too(queue: Probe) -> None:
    name = token()
    queue.post('a', token=name)
    queue.drop()
    with pytest.raises(QueueGone):
        queue.post('a', token=name)


def test_a_tombstone_stands_for_an_hour(queue: Probe, hand: Hand) -> None:
    queue.post('a')
    queue.drop()
    hand.before(TOMBSTONE)
    queue.sweep()
    with pytest.raises(QueueGone):
        queue.post('b')


def test_a_queue_never_seen_gets_a_tombstone_too(queue: Probe) -> None:
    queue.drop()
    with pytest.raises(QueueGone):
        queue.post('a')


def test_a_queue_may_be_dropped_twice(queue: Probe) -> None:
    queue.post('a')
    queue.drop()
    queue.drop()
    with pytest.raises(QueueGone):
        queue.list()


def test_dropping_again_does_not_shorten_the_hour(
    queue: Probe, hand: Hand
) -> None:
    queue.drop()
    hand.move(60)
    queue.drop()
    hand.before(TOMBSTONE - 60)
    queue.sweep()
    with pytest.raises(QueueGone):
        queue.list()
