# SPDX-License-Identifier: Apache-2.0
"""Dead letters, moved by the controllers over every store."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from msgspec import structs

from zaqar.controllers import message_extras_codec
from zaqar.controllers.caller_and_services import Context
from zaqar.controllers.message_extras_codec import DeadLetter
from zaqar.errors import QueueFull
from zaqar.objects import Act, Message, Settlement
from zaqar.pools.queue_catalogue import Catalogue
from zaqar.storage.abstract_stores import ManagementStore, MessageStore
from zaqar.tests.contract.caller import Caller, Died, Mortal
from zaqar.tests.contract.probe import Hand, bodies, ids

#: What a claim does that meets two exhausted messages of a queue whose
#: dead-letter queue is missing.
STEPS = ['claim', 'create', 'post', 'delete', 'post', 'delete']


@pytest.fixture
def work(ctx: Context) -> Caller:
    """A queue whose messages are handed out twice."""
    queue = Caller(ctx, 'work')
    queue.create(_max_claim_count=2, _dead_letter_queue='dead')
    return queue


@pytest.fixture
def dead(work: Caller) -> Caller:
    """Its dead-letter queue, not made yet."""
    return work.other('dead')


def wear_out(queue: Caller) -> None:
    """Hand all messages out as often as they may be."""
    for _ in range(2):
        queue.hand_out()


def test_a_message_is_handed_out_twice_and_moves_at_the_third_try(
    work: Caller, dead: Caller
) -> None:
    posted = work.post('x')
    for count in (1, 2):
        (message,) = work.hand_out()
        assert message.claim_count == count
        assert dead.everything() == []
    assert work.claim() is None
    assert work.everything() == []
    assert ids(dead.everything()) == posted


def test_lapsed_claims_count_as_released_ones(
    work: Caller, dead: Caller, hand: Hand
) -> None:
    work.post('x')
    for _ in range(2):
        assert work.claim(ttl=60) is not None
        hand.move(60)
    assert work.claim() is None
    assert bodies(dead.everything()) == ['x']


def test_a_dead_letter_keeps_id_body_client_and_checksum(
    ctx: Context, work: Caller, dead: Caller
) -> None:
    limits = dataclasses.replace(ctx.limits, enable_checksum=True)
    sender = Caller(structs.replace(ctx, limits=limits), 'work')
    (one,) = sender.post({'a': ['ä']})
    before = work.get(one)
    wear_out(work)
    work.claim()
    (after,) = dead.everything()
    assert (after.id, after.body) == (before.id, before.body)
    assert after.client == before.client
    assert after.checksum == before.checksum
    assert after.checksum is not None


def test_a_dead_letter_tells_where_it_comes_from(
    work: Caller, dead: Caller, hand: Hand
) -> None:
    dead.create(_max_claim_count=1, _dead_letter_queue='grave')
    work.post('x', ttl=3600)
    wear_out(work)
    work.claim()
    first = DeadLetter('work', 'claimed 2 times', 2, hand.now, 3600)
    assert story(dead.everything()[0]) == first
    hand.move(60)
    dead.hand_out()
    dead.claim()
    (message,) = dead.other('grave').everything()
    assert message.ttl < 3600
    # The ttl is still that of the post.
    again = DeadLetter('dead', 'claimed 1 times', 1, hand.now, 3600)
    assert story(message) == again


def test_a_dead_letter_tells_the_last_reason_of_a_worker(
    work: Caller, dead: Caller, store: MessageStore, hand: Hand
) -> None:
    work.post('x')
    queue = work.ctx.catalogue.find(work.scope)
    assert queue is not None
    for reason in ('first', 'ürgent'):
        claim = work.claim()
        assert claim is not None
        (message,) = claim.messages
        released = Settlement(message.id, Act.RELEASE, reason=reason)
        store.settle(queue.qid, claim.id, [released], now=hand.now)
    assert work.claim() is None
    letter = story(dead.everything()[0])
    assert letter is not None
    assert (letter.reason, letter.claim_count) == ('ürgent', 2)


def story(message: Message) -> DeadLetter | None:
    """Return where a message comes from."""
    return message_extras_codec.decode(message.extras).dead_letter


def test_a_dead_letter_is_free_at_once_and_its_count_is_0(
    work: Caller, dead: Caller
) -> None:
    work.post('x')
    wear_out(work)
    work.claim()
    (letter,) = dead.page(include_claimed=False).messages
    assert (letter.claim_id, letter.claim_count) == (None, 0)
    assert dead.stats().free == 1
    claim = dead.claim()
    assert claim is not None
    assert bodies(claim.messages) == ['x']


def test_a_dead_letter_lives_for_the_time_the_queue_names(
    ctx: Context, hand: Hand
) -> None:
    work = Caller(ctx, 'work')
    work.create(
        _max_claim_count=1,
        _dead_letter_queue='dead',
        _dead_letter_queue_messages_ttl=600,
    )
    (one,) = work.post('x', ttl=5000)
    work.hand_out()
    hand.move(100)
    assert work.claim() is None
    dead = work.other('dead')
    assert dead.get(one).ttl == 600
    hand.before(600)
    assert ids(dead.everything()) == [one]
    hand.at_last()
    assert dead.everything() == []


def test_a_dead_letter_lives_out_its_life_otherwise(
    work: Caller, dead: Caller, hand: Hand
) -> None:
    (one,) = work.post('x', ttl=5000)
    wear_out(work)
    hand.move(1000)
    work.claim()
    assert dead.get(one).ttl == 4000
    hand.before(4000)
    assert ids(dead.everything()) == [one]
    hand.at_last()
    assert dead.everything() == []


def test_a_dead_letter_takes_the_last_place(
    work: Caller, dead: Caller
) -> None:
    work.post('x')
    dead.post('before')
    wear_out(work)
    work.claim()
    dead.post('after')
    assert bodies(dead.everything()) == ['before', 'x', 'after']


def test_the_claim_is_filled_from_later_messages(
    work: Caller, dead: Caller
) -> None:
    work.post('worn', 'worn too')
    wear_out(work)
    work.post('a', 'b', 'c')
    claim = work.claim(2)
    assert claim is not None
    assert bodies(claim.messages) == ['a', 'b']
    assert claim.exhausted == ()
    assert bodies(dead.everything()) == ['worn', 'worn too']
    assert bodies(work.claimed(claim.id).messages) == ['a', 'b']


def test_a_dead_letter_is_found_and_deleted_by_its_id(
    work: Caller, dead: Caller
) -> None:
    (one,) = work.post('x')
    wear_out(work)
    work.claim()
    assert bodies(dead.get_many(one)) == ['x']
    claim = dead.claim()
    assert claim is not None
    dead.delete(one, claim.id)
    assert dead.everything() == []


@pytest.mark.parametrize(
    'metadata',
    [
        {},
        {'_max_claim_count': 1},
        {'_dead_letter_queue': 'dead'},
        {'_max_claim_count': 0, '_dead_letter_queue': 'dead'},
    ],
    ids=['neither', 'count alone', 'queue alone', 'count of 0'],
)
def test_dead_letters_are_off_unless_both_settings_are_made(
    ctx: Context, metadata: dict[str, Any]
) -> None:
    work = Caller(ctx, 'work')
    work.create(**metadata)
    work.post('x')
    for count in range(1, 5):
        (message,) = work.hand_out()
        assert message.claim_count == count
    assert work.other('dead').everything() == []


def test_neither_renewing_nor_popping_moves_or_counts(
    work: Caller, dead: Caller
) -> None:
    (one,) = work.post('x')
    claim = work.claim()
    assert claim is not None
    for _ in range(3):
        work.renew(claim.id)
    assert work.get(one).claim_count == 1
    work.release(claim.id)
    work.hand_out()
    assert bodies(work.pop()) == ['x']
    assert dead.everything() == []


def test_a_full_queue_takes_dead_letters_all_the_same(
    work: Caller, dead: Caller
) -> None:
    dead.create(_max_messages=1)
    dead.post('only')
    work.post('x')
    wear_out(work)
    work.claim()
    assert bodies(dead.everything()) == ['only', 'x']
    with pytest.raises(QueueFull):
        dead.post('more')


def test_more_letters_than_one_claim_meets_move_in_the_end(
    work: Caller, dead: Caller
) -> None:
    posted: list[str] = []
    for start in range(0, 120, 20):
        posted += work.post(*range(start, start + 20))
    claims = [work.claim(20) for _ in range(6)]
    for claim in claims:
        assert claim is not None
        work.release(claim.id)
    for _ in range(6):
        claim = work.claim(20)
        assert claim is not None
        claims.append(claim)
    for claim in claims[6:]:
        assert claim is not None
        work.release(claim.id)
    assert work.claim() is None
    assert work.claim() is None
    assert sorted(ids(dead.everything())) == sorted(posted)


def test_a_dead_letter_may_die_a_second_death(
    work: Caller, dead: Caller
) -> None:
    dead.create(_max_claim_count=1, _dead_letter_queue='grave')
    (one,) = work.post('x')
    wear_out(work)
    work.claim()
    dead.hand_out()
    assert dead.claim() is None
    assert dead.everything() == []
    assert ids(work.other('grave').everything()) == [one]


@pytest.fixture
def worn(work: Caller) -> Caller:
    """A queue with two messages that are due to move."""
    work.post('a', 'b')
    wear_out(work)
    return work


@pytest.mark.parametrize('steps', range(len(STEPS)))
def test_a_move_interrupted_after_any_step_is_finished_by_the_next_claim(
    worn: Caller,
    dead: Caller,
    management: ManagementStore,
    store: MessageStore,
    hand: Hand,
    steps: int,
) -> None:
    posted = ids(worn.everything())
    mortal = Mortal(steps)
    with pytest.raises(Died):
        worn.by(mortal.catalogue(management, store)).claim(ttl=60)
    assert mortal.changes == STEPS[:steps]
    survivor = worn.by(Catalogue(management, store))
    if steps:
        hand.before(60)
        # What has not moved is held by the claim of the dead.
        assert survivor.claim() is None
        assert survivor.stats().claimed == 2 - (steps > 3)
        hand.at_last()
    assert survivor.claim() is None
    assert survivor.everything() == []
    assert ids(dead.by(survivor.ctx.catalogue).everything()) == posted


def test_a_move_makes_no_steps_but_those(
    worn: Caller, management: ManagementStore, store: MessageStore
) -> None:
    mortal = Mortal(len(STEPS))
    worn.by(mortal.catalogue(management, store)).claim(ttl=60)
    assert mortal.changes == STEPS


@pytest.mark.parametrize('steps', [3, 4, 5])
def test_a_letter_consumed_before_the_move_is_repeated_comes_only_once(
    worn: Caller,
    dead: Caller,
    management: ManagementStore,
    store: MessageStore,
    hand: Hand,
    steps: int,
) -> None:
    mortal = Mortal(steps)
    with pytest.raises(Died):
        worn.by(mortal.catalogue(management, store)).claim(ttl=60)
    consumed = bodies(dead.pop())
    hand.move(60)
    assert worn.claim() is None
    assert consumed + bodies(dead.pop()) == ['a', 'b']
