# SPDX-License-Identifier: Apache-2.0
"""Connections cut within a call, at every piece that goes to and fro.

The first, second, third, ... request or answer of a call is lost together
with its connection, until the call needs no more of them. That includes the
answer to a commit which the server has made.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import pytest

from zaqar.errors import StaleMetadata, StoreUnavailable
from zaqar.storage.abstract_stores import OUTBOX, ManagementStore, MessageStore
from zaqar.tests.contract.harnesses import Feature
from zaqar.tests.contract.probe import (
    Probe,
    bodies,
    deleted,
    extended,
    ids,
    message,
    released,
    token,
)
from zaqar.tests.contract.proxy import Proxy, Way

pytestmark = [
    pytest.mark.needs(Feature.ENDPOINT),
    pytest.mark.parametrize('way', list(Way)),
]

T = TypeVar('T')

#: Pieces of one call; none has so many.
MOST = 200


def insist(call: Callable[[], T]) -> T:
    """Repeat a call, as its caller does, until the store is available."""
    for _ in range(3):
        try:
            return call()
        except StoreUnavailable:
            continue
    raise AssertionError('the store stays unavailable')


def at_every_piece(
    proxy: Proxy, way: Way, test: Callable[[Cut], None]
) -> None:
    """Run a test with its first, second, ... piece lost.

    :param test: is given what makes the call that is cut
    """
    for number in range(MOST):
        cut = Cut(proxy, way, number)
        test(cut)
        if not cut.happened:
            assert number > 0
            return
    raise AssertionError('the call does not come to an end')


class Cut:
    """Makes calls of which one piece is lost.

    :ivar happened: whether one was
    """

    def __init__(self, proxy: Proxy, way: Way, number: int) -> None:
        self._proxy = proxy
        self._blow = partial(proxy.blow, way, number)
        self.happened = False

    def __call__(self, call: Callable[[], T]) -> T:
        self._blow()
        result = insist(call)
        self.happened |= self._proxy.defuse()
        return result


@pytest.fixture
def far(distant: MessageStore, queue: Probe) -> Callable[[Probe], Probe]:
    """See a queue through the proxy."""
    distant.ping()
    return lambda queue: Probe(distant, queue.hand, queue.qid)


@pytest.fixture
def fresh(store: MessageStore, queue: Probe) -> Callable[..., Probe]:
    """Make queues with messages."""

    def make(*texts: str) -> Probe:
        probe = Probe(store, queue.hand)
        if texts:
            probe.post(*texts)
        return probe

    return make


Far = Callable[[Probe], Probe]
Fresh = Callable[..., Probe]


@pytest.mark.parametrize(('limit', 'used'), [(0, False), (0, True), (3, True)])
def test_a_post_is_stored_once(
    proxy: Proxy, way: Way, far: Far, fresh: Fresh, limit: int, used: bool
) -> None:
    def test(cut: Cut) -> None:
        queue = fresh(*['old'] * used)
        call = partial(far(queue).post, 'a', 'b', token=token(), limit=limit)
        posted = cut(call)
        assert queue.everything() == ['old'] * used + ['a', 'b']
        assert ids(queue.walk())[-2:] == list(posted)

    at_every_piece(proxy, way, test)


@pytest.mark.parametrize('print', ['', 'print'])
def test_a_post_with_duplicates_is_stored_once(
    proxy: Proxy, far: Far, fresh: Fresh, way: Way, print: str
) -> None:
    outbox = Probe(fresh().store, fresh().hand, OUTBOX)

    def test(cut: Cut) -> None:
        queue = fresh()
        options = {'dedup_window': 300, 'fingerprint': print}
        (old,) = queue.send([message('a', dedup_id='a')], **options)
        name, marker = token(), token()
        new = [
            message(text, dedup_id=text, extras=text.encode())
            for text in ('b', 'a', 'b', 'c')
        ]
        again = partial(
            far(queue).send,
            new,
            token=name,
            notice=lambda places: message([marker, *places], ttl=86_400),
            **options,
        )
        posted = cut(again)
        assert posted[1] == old
        assert posted[0] == posted[2]
        assert ids(queue.walk()) == [old, posted[0], posted[3]]
        assert bodies(queue.walk()) == ['a', 'b', 'c']
        assert [item.extras for item in queue.walk()] == [None, b'b', b'c']
        assert queue.send(new, token=name, **options) == posted
        noticed = [item for item in bodies(outbox.walk()) if marker in item]
        assert noticed == [[marker, 0, 3]]

    at_every_piece(proxy, way, test)


def test_a_dead_letter_is_stored_once(
    proxy: Proxy, way: Way, far: Far, fresh: Fresh
) -> None:
    def test(cut: Cut) -> None:
        source, target = fresh('x'), fresh('old')
        (old,) = ids(source.walk())
        assert cut(partial(far(target).letter, 'x', old)) == [old]
        assert target.everything() == ['old', 'x']

    at_every_piece(proxy, way, test)


def test_a_claim_takes_its_messages_once(
    proxy: Proxy, way: Way, far: Far, fresh: Fresh
) -> None:
    def test(cut: Cut) -> None:
        queue = fresh('a', 'b', 'c')
        claim = cut(
            partial(far(queue).take, 3, claim_id=token(), max_claims=5)
        )
        assert bodies(claim.messages) == ['a', 'b', 'c']
        assert {message.claim_count for message in claim.messages} == {1}
        assert queue.claimed(claim.id) == claim
        assert bodies(queue.walk()) == []

    at_every_piece(proxy, way, test)


def test_a_claim_tells_the_exhausted_ones_apart(
    proxy: Proxy, way: Way, far: Far, fresh: Fresh
) -> None:
    def test(cut: Cut) -> None:
        queue = fresh('spent')
        queue.release(queue.take(max_claims=1).id)
        queue.post('fresh')
        call = partial(far(queue).take, claim_id=token(), max_claims=1)
        claim = cut(call)
        assert bodies(claim.messages) == ['fresh']
        assert bodies(claim.exhausted) == ['spent']

    at_every_piece(proxy, way, test)


def test_a_pop_hands_nothing_out_twice(
    proxy: Proxy, way: Way, far: Far, fresh: Fresh
) -> None:
    def test(cut: Cut) -> None:
        queue = fresh('a', 'b', 'c', 'd', 'e', 'f')
        popped = bodies(cut(partial(far(queue).pop, 2)))
        left = queue.everything()
        assert popped == sorted(popped)
        assert len(popped) == 2
        # What was popped when the answer was lost is lost; never given twice.
        assert left == ['c', 'd', 'e', 'f'][-len(left) :]
        assert not set(popped) & set(left)
        assert popped[-1] < left[0]

    at_every_piece(proxy, way, test)


@pytest.mark.parametrize('claimed', [False, True])
def test_a_message_is_deleted(
    proxy: Proxy, way: Way, far: Far, fresh: Fresh, claimed: bool
) -> None:
    def test(cut: Cut) -> None:
        queue = fresh('a', 'b')
        one, _ = ids(queue.walk())
        claim_id = queue.take(1).id if claimed else None
        cut(partial(far(queue).delete, one, claim_id))
        assert queue.everything() == ['b']

    at_every_piece(proxy, way, test)


def test_a_counted_message_is_taken_off_once(
    proxy: Proxy, way: Way, far: Far, fresh: Fresh
) -> None:
    def test(cut: Cut) -> None:
        queue = fresh()
        one, _ = queue.post('a', 'b', limit=2)
        cut(partial(far(queue).delete, one))
        queue.post('c', limit=2)
        assert queue.everything() == ['b', 'c']
        assert queue.stats().total == 2

    at_every_piece(proxy, way, test)


@pytest.mark.parametrize('claimed', [False, True])
def test_many_messages_are_deleted(
    proxy: Proxy, way: Way, far: Far, fresh: Fresh, claimed: bool
) -> None:
    def test(cut: Cut) -> None:
        queue = fresh('a', 'b', 'c')
        names = ids(queue.walk())[:2]
        claims = [queue.take(2).id] if claimed else None
        cut(partial(far(queue).delete_many, *names, claim_ids=claims))
        assert queue.everything() == ['c']

    at_every_piece(proxy, way, test)


def test_a_claim_is_renewed(
    proxy: Proxy, way: Way, far: Far, fresh: Fresh
) -> None:
    def test(cut: Cut) -> None:
        queue = fresh('a', 'b')
        claim = queue.take(1)
        assert cut(partial(far(queue).renew, claim.id, ttl=900))
        renewed = queue.claimed(claim.id)
        assert renewed is not None
        assert (renewed.ttl, bodies(renewed.messages)) == (900, ['a'])

    at_every_piece(proxy, way, test)


def test_a_claim_is_released(
    proxy: Proxy, way: Way, far: Far, fresh: Fresh
) -> None:
    def test(cut: Cut) -> None:
        queue = fresh('a', 'b')
        claim = queue.take(1)
        other = queue.take(1)
        cut(partial(far(queue).release, claim.id))
        assert bodies(queue.walk()) == ['a']
        assert queue.claimed(other.id) == other

    at_every_piece(proxy, way, test)


def test_messages_are_settled(
    proxy: Proxy, way: Way, far: Far, fresh: Fresh
) -> None:
    def test(cut: Cut) -> None:
        queue = fresh('a', 'b', 'c', 'd', 'e')
        claim = queue.take(4, ttl=60)
        one, two, three, _ = ids(claim.messages)
        settlements = (
            deleted(one),
            released(two, failed=False, reason='why'),
            extended(three, 90),
        )
        results = cut(partial(far(queue).settle, claim.id, *settlements))
        # Told by the second try, of what the first one has done.
        assert results in ([True] * 3, [False, False, True])
        assert queue.everything() == ['b', 'c', 'd', 'e']
        assert bodies(queue.walk()) == ['b', 'e']
        (message,) = queue.get(two)
        assert (message.claim_count, message.reason) == (0, 'why')
        held = queue.claimed(claim.id)
        assert held is not None
        assert bodies(held.messages) == ['c', 'd']
        assert held.expires_at == queue.hand.now + 90_000

    at_every_piece(proxy, way, test)


def test_the_last_message_of_a_claim_is_settled(
    proxy: Proxy, way: Way, far: Far, fresh: Fresh
) -> None:
    def test(cut: Cut) -> None:
        queue = fresh('a', 'b')
        claim = queue.take(1)
        (one,) = ids(claim.messages)
        call = partial(far(queue).settle, claim.id, deleted(one))
        assert cut(call) in ([True], None)
        assert queue.everything() == ['b']
        assert queue.claimed(claim.id) is None

    at_every_piece(proxy, way, test)


@pytest.mark.parametrize('how', ['purge', 'drop'])
def test_a_queue_is_emptied(
    proxy: Proxy, way: Way, far: Far, fresh: Fresh, how: str
) -> None:
    def test(cut: Cut) -> None:
        queue = fresh('a', 'b')
        cut(getattr(far(queue), how))
        if how == 'purge':
            assert queue.everything() == []
            queue.post('c')
            assert queue.everything() == ['c']
        else:
            queue.drop()

    at_every_piece(proxy, way, test)


def test_a_version_is_required(
    proxy: Proxy, way: Way, far: Far, fresh: Fresh
) -> None:
    def test(cut: Cut) -> None:
        queue = fresh('a')
        there = far(queue)
        cut(partial(there.require, 3))
        for version in (1, 2):
            with pytest.raises(StaleMetadata):
                queue.post('b', version=version)
        queue.post('c', version=3)
        # A late repetition of an older one lowers nothing.
        there.require(2)
        with pytest.raises(StaleMetadata):
            queue.post('d', version=2)
        assert queue.everything() == ['a', 'c']

    at_every_piece(proxy, way, test)


def test_what_is_read_is_right(
    proxy: Proxy, way: Way, far: Far, fresh: Fresh
) -> None:
    queue = fresh('a', 'b')
    posted = ids(queue.walk())
    claim = queue.take(1)
    there = far(queue)
    reads: list[tuple[Callable[[], object], object]] = [
        (partial(there.get, *posted), queue.get(*posted)),
        (there.stats, queue.stats()),
        (partial(there.claimed, claim.id), claim),
        (there.everything, ['a', 'b']),
    ]

    for call, answer in reads:

        def test(
            cut: Cut,
            call: Callable[[], object] = call,
            answer: object = answer,
        ) -> None:
            assert cut(call) == answer

        at_every_piece(proxy, way, test)


def test_a_sweep_goes_on(
    proxy: Proxy, way: Way, far: Far, fresh: Fresh
) -> None:
    # What other tests have left may have expired by now.
    queue = fresh('live')
    while queue.store.sweep(now=queue.hand.now, batch=1000):
        continue

    def test(cut: Cut) -> None:
        queue = fresh('live')
        there = far(queue)
        now = queue.hand.now
        cut(partial(there.store.sweep, now=now, batch=100))
        assert queue.everything() == ['live']
        assert queue.store.sweep(now=now, batch=100) < 100

    at_every_piece(proxy, way, test)


def test_who_makes_a_record_is_told_so(
    proxy: Proxy, way: Way, distant_records: ManagementStore
) -> None:
    distant_records.ping()

    def test(cut: Cut) -> None:
        key = ('queue', token(), 'a')
        assert cut(partial(distant_records.create, *key, {'n': 1}))
        assert not distant_records.create(*key, {'n': 2})
        record = distant_records.get(*key)
        assert record is not None
        assert dict(record.data) == {'n': 1}

    at_every_piece(proxy, way, test)


def test_who_replaces_a_record_is_told_so(
    proxy: Proxy, way: Way, distant_records: ManagementStore
) -> None:
    def test(cut: Cut) -> None:
        key = ('queue', token(), 'a')
        distant_records.create(*key, {'n': 1})
        replace = distant_records.replace
        assert cut(partial(replace, *key, {'n': 2}, version=1))
        assert not replace(*key, {'n': 3}, version=1)
        record = distant_records.get(*key)
        assert record is not None
        assert dict(record.data) == {'n': 2}

    at_every_piece(proxy, way, test)


@pytest.mark.parametrize('version', [None, 1])
def test_a_record_is_deleted(
    proxy: Proxy,
    way: Way,
    distant_records: ManagementStore,
    version: int | None,
) -> None:
    def test(cut: Cut) -> None:
        key = ('queue', token(), 'a')
        distant_records.create(*key, {'n': 1})
        # After a lost answer nobody knows who deleted it: None is fine.
        cut(partial(distant_records.delete, *key, version=version))
        assert distant_records.get(*key) is None

    at_every_piece(proxy, way, test)
