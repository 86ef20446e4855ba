# SPDX-License-Identifier: Apache-2.0
"""The clock of a store: one for all processes, whatever their own say."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator

import pytest

from zaqar import store_clock
from zaqar.pools.queue_catalogue import Catalogue
from zaqar.storage.abstract_stores import ManagementStore, MessageStore
from zaqar.tests.contract.crowd import each
from zaqar.tests.contract.harnesses import Feature, Harness
from zaqar.tests.contract.probe import Hand, Probe, bodies

#: Milliseconds that two clocks may be apart.
NEAR = 2000

MINUTES = 60_000

#: Seconds within which something expired is removed: longer than a sweeper
#: that was killed keeps its turn.
GIVEN_UP = 60


class Skewed:
    """A process whose own clock is off.

    :param offset: milliseconds
    """

    def __init__(
        self, store: MessageStore, offset: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.store = store
        self._offset = offset * 1_000_000
        self._patch = monkeypatch

    def now(self) -> int:
        """Return now by the store's clock, as this process sees it."""
        true = time.time_ns
        with self._patch.context() as patch:
            patch.setattr(time, 'time_ns', lambda: true() + self._offset)
            return self.store.clock.now()

    def probe(
        self,
        qid: str | None = None,
        later: float = 0,
        since: float | None = None,
    ) -> Probe:
        """Return a queue, worked at this process's now or later.

        :param later: seconds
        :param since: moment of the monotonic clock after which that is, None
            for now
        """
        hand = Hand()
        hand.now = self.now()
        if since is not None:
            # Read last: who is held up between the two comes too early.
            later -= time.monotonic() - since
        hand.move(later)
        return Probe(self.store, hand, qid)


@pytest.fixture
def node(
    harness: Harness, uri: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[type]:
    """Make processes with clocks of their own."""
    with contextlib.ExitStack() as stack:

        def make(minutes: int) -> Skewed:
            store = harness.open_messages(uri)
            stack.callback(store.close)
            return Skewed(store, minutes * MINUTES, monkeypatch)

        yield make  # type: ignore[misc]


def are_near(one: Callable[[], int], other: Callable[[], int]) -> bool:
    """Tell whether two clocks are near, however long reading them takes."""
    before, now, after = one(), other(), one()
    return before - NEAR < now < after + NEAR


def test_the_clock_of_a_store_is_near_the_true_time(
    messages: MessageStore,
) -> None:
    assert are_near(messages.clock.now, store_clock.wall_ms)


def test_both_planes_go_by_the_same_clock(
    messages: MessageStore, management: ManagementStore
) -> None:
    assert are_near(messages.clock.now, management.clock.now)


def test_the_clock_of_a_store_does_not_stand_still(
    messages: MessageStore,
) -> None:
    first = messages.clock.now()
    end = time.monotonic() + GIVEN_UP
    while messages.clock.now() == first:
        assert time.monotonic() < end


@pytest.mark.needs(Feature.SERVER_CLOCK)
@pytest.mark.parametrize('minutes', [-5, 5])
def test_a_process_whose_clock_is_off_goes_by_the_stores(
    node: type, minutes: int
) -> None:
    off, right = node(minutes), node(0)
    assert are_near(off.now, right.now)


@pytest.mark.needs(Feature.SERVER_CLOCK)
@pytest.mark.parametrize('minutes', [-5, 5])
def test_a_claim_of_one_process_lapses_at_its_end_for_another(
    node: type, minutes: int
) -> None:
    off, right = node(minutes), node(0)
    begun = time.monotonic()
    queue = off.probe()
    queue.post('a')
    queue.take(ttl=60)
    assert right.probe(queue.qid).claim() is None
    assert right.probe(queue.qid, later=57, since=begun).claim() is None
    assert bodies(right.probe(queue.qid, later=62).take().messages) == ['a']


@pytest.mark.needs(Feature.SERVER_CLOCK)
@pytest.mark.parametrize('minutes', [-5, 5])
def test_a_claim_is_respected_by_a_process_whose_clock_is_off(
    node: type, minutes: int
) -> None:
    off, right = node(minutes), node(0)
    begun = time.monotonic()
    queue = right.probe()
    queue.post('a')
    queue.take(ttl=60)
    assert off.probe(queue.qid).claim() is None
    assert off.probe(queue.qid, later=57, since=begun).claim() is None
    assert bodies(off.probe(queue.qid, later=62).take().messages) == ['a']


@pytest.mark.needs(Feature.SERVER_CLOCK)
@pytest.mark.parametrize('minutes', [-5, 5])
def test_messages_and_delays_end_at_the_same_time_for_all(
    node: type, minutes: int
) -> None:
    off, right = node(minutes), node(0)
    begun = time.monotonic()
    queue = off.probe()
    queue.post('dies', ttl=60)
    queue.post('wakes', delay=60)
    assert bodies(right.probe(queue.qid, later=57, since=begun).walk()) == [
        'dies'
    ]
    assert bodies(right.probe(queue.qid, later=62).walk()) == ['wakes']


@pytest.mark.needs(Feature.SERVER_CLOCK)
@pytest.mark.parametrize('minutes', [-120, 120])
def test_a_process_whose_clock_is_set_removes_nothing_that_lives(
    node: type, management: ManagementStore, minutes: int
) -> None:
    off, right = node(minutes), node(0)
    queue = right.probe()
    # It samples the server's clock while its own is off.
    off.probe(queue.qid).post(1, ttl=60)
    queue.post(2, 3, ttl=60)
    claim = queue.take(ttl=60, limit=1)
    # Now its clock is right.
    Catalogue(management, off.store).sweep(10_000)
    hand = Hand()
    hand.now = off.store.clock.now()
    # Claims remove what they take for dead, too.
    taken = Probe(off.store, hand, queue.qid).take(limit=1)
    assert bodies(taken.messages) == [2]
    assert bodies(queue.walk(include_claimed=True)) == [1, 2, 3]
    assert queue.claimed(claim.id) is not None


@pytest.mark.needs(Feature.SERVER_CLOCK)
@pytest.mark.parametrize('minutes', [-120, 120])
def test_what_expired_is_removed_while_a_processes_clock_is_off(
    node: type, management: ManagementStore, minutes: int
) -> None:
    off, right = node(minutes), node(0)
    queue = right.probe(later=-120)
    queue.post('dead', ttl=60)
    off.now()
    catalogue = Catalogue(management, off.store)
    end = time.monotonic() + GIVEN_UP
    # At the time of the post it would be there still. One sweep may be short:
    # another process had its turn, or other tests left much.
    while bodies(queue.walk()):
        assert time.monotonic() < end
        catalogue.sweep(10_000)


@pytest.mark.needs(Feature.SERVER_CLOCK)
def test_eight_claimers_with_clocks_apart_take_each_message_once(
    node: type, many: Callable[[int], int]
) -> None:
    nodes = [node(minutes) for minutes in (-5, 0, 5)]
    queue = nodes[1].probe()
    queue.post(*range(many(400)))
    workers = [nodes[number % 3].probe(queue.qid) for number in range(8)]

    def take_all(one: Probe) -> list[int]:
        taken: list[int] = []
        while claim := one.claim(10, ttl=60):
            taken += bodies(claim.messages)
        return taken

    taken = [body for some in each(take_all, workers) for body in some]
    assert sorted(taken) == list(range(many(400)))


@pytest.mark.needs(Feature.SERVER_CLOCK)
def test_the_order_is_that_of_posts_whatever_the_processes_clocks(
    node: type,
) -> None:
    nodes = [node(minutes) for minutes in (5, -5, 0)]
    first = nodes[0].probe()
    first.post(0)
    for number in range(1, 9):
        nodes[number % 3].probe(first.qid).post(number)
    assert bodies(first.walk(2)) == list(range(9))
