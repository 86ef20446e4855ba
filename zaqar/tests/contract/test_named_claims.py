# SPDX-License-Identifier: Apache-2.0
"""Claims of messages by their ids, which moves of messages need."""

from __future__ import annotations

import threading

import pytest

from zaqar.objects import Claim
from zaqar.tests.contract.harnesses import Feature
from zaqar.tests.contract.probe import Hand, Probe, bodies, ids, token

LETTER = '00000000000000070123456789abcdef'


def test_a_claim_takes_only_the_named_messages(queue: Probe) -> None:
    posted = queue.post('a', 'b', 'c', 'd')
    name = token()
    claim = queue.take(only=[posted[3], posted[1]], claim_id=name)
    # In queue order, whatever the order of the ids.
    assert bodies(claim.messages) == ['b', 'd']
    assert {one.claim_id for one in claim.messages} == {name}
    assert not claim.exhausted
    assert queue.claimed(name) is not None
    assert bodies(queue.list().messages) == ['a', 'c']
    assert bodies(queue.take().messages) == ['a', 'c']


def test_a_named_message_that_is_not_free_is_not_taken(
    queue: Probe, hand: Hand
) -> None:
    claimed, gone, free = queue.post('claimed', 'gone', 'free')
    (delayed,) = queue.post('delayed', delay=60)
    (expired,) = queue.post('expired', ttl=60)
    queue.take(only=[claimed])
    queue.delete(gone)
    hand.before(60)
    hand.at_last()
    (late,) = queue.post('late', delay=1)
    named = [claimed, gone, free, expired, late, 'x', '0' * 32]
    assert ids(queue.take(only=named).messages) == [free]
    # Its delay is over.
    assert ids(queue.take(only=[delayed]).messages) == [delayed]
    assert queue.claim(only=named) is None


def test_a_named_message_is_taken_after_its_claim(
    queue: Probe, hand: Hand
) -> None:
    posted = queue.post('released', 'lapsed', 'other')
    queue.release(queue.take(only=posted[:1]).id)
    queue.take(only=posted[1:2], ttl=60)
    hand.before(60)
    assert ids(queue.take(only=posted[:2], ttl=60).messages) == posted[:1]
    hand.at_last()
    assert ids(queue.take(only=posted[:2], ttl=60).messages) == posted[1:2]


def test_a_dead_letter_is_claimed_by_its_id(queue: Probe) -> None:
    queue.post('a')
    queue.letter('letter', LETTER)
    claim = queue.take(only=[LETTER])
    assert bodies(claim.messages) == ['letter']
    queue.delete_many(LETTER, claim_ids=[claim.id])
    assert bodies(queue.list().messages) == ['a']


def test_no_names_take_nothing(queue: Probe) -> None:
    queue.post('a')
    assert queue.claim(only=[]) is None
    assert queue.claim(only=['nonsense']) is None
    assert bodies(queue.list().messages) == ['a']


def test_a_named_claim_has_a_limit(queue: Probe) -> None:
    posted = queue.post('a', 'b', 'c')
    assert ids(queue.take(2, only=posted).messages) == posted[:2]


def test_repeating_a_named_claim_takes_nothing_twice(queue: Probe) -> None:
    posted = queue.post('a', 'b', 'c')
    name = token()
    first = queue.take(only=posted[:1], claim_id=name)
    assert queue.take(only=posted[:1], claim_id=name) == first
    # Nor anything else.
    assert queue.take(only=posted, claim_id=name) == first
    assert ids(queue.list().messages) == posted[1:]


def test_a_named_message_lives_as_long_as_its_claim(
    queue: Probe, hand: Hand
) -> None:
    posted = queue.post('a', ttl=60)
    claim = queue.take(only=posted, ttl=90, grace=60)
    assert claim.messages[0].ttl == 150
    assert claim.messages[0].expires_at == hand.now + 150_000
    hand.move(61)
    assert ids(queue.get(*posted)) == posted


def test_named_claims_and_others_share_no_message(queue: Probe) -> None:
    posted = queue.post(*range(40))
    claims: list[Claim] = []

    def work(number: int) -> None:
        for _ in range(10):
            only = posted if number % 2 else None
            claim = queue.claim(2, only=only)
            if claim is not None:
                claims.append(claim)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    taken = [one.id for claim in claims for one in claim.messages]
    assert len(taken) == len(set(taken))
    rest = queue.claim(100, only=posted)
    taken += ids(rest.messages) if rest else []
    assert sorted(taken) == sorted(posted)


@pytest.mark.needs(Feature.GROUPS)
def test_a_named_message_of_a_group_is_not_taken(
    queue: Probe, hand: Hand
) -> None:
    grouped = queue.post('a', 'b', group='g')
    other = queue.post('c')
    assert ids(queue.take(only=[*grouped, *other]).messages) == other
    # Nor one that comes back, by itself or from its worker.
    queue.take(1, ttl=60)
    hand.move(60)
    assert queue.claim(only=grouped) is None
    queue.release(queue.take(1, ttl=60).id)
    assert queue.claim(only=grouped) is None
    assert ids(queue.take().messages) == grouped
