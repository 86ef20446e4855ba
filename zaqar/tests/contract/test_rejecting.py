# SPDX-License-Identifier: Apache-2.0
"""Rejected messages, moved by the controllers over every store."""

from __future__ import annotations

from typing import Any

import pytest

from zaqar.controllers.caller_and_services import Context
from zaqar.pools.queue_catalogue import Catalogue
from zaqar.storage import store_call_interceptor
from zaqar.storage.abstract_stores import ManagementStore, MessageStore
from zaqar.tests.contract.caller import Caller, Died, Mortal
from zaqar.tests.contract.probe import Hand, bodies, ids

#: What rejecting two messages changes, where the dead-letter queue is missing.
STEPS = ['create', 'post', 'post', 'settle']


@pytest.fixture
def work(ctx: Context) -> Caller:
    """A queue with a dead-letter queue."""
    queue = Caller(ctx, 'work')
    queue.create(_dead_letter_queue='dead')
    return queue


@pytest.fixture
def dead(work: Caller) -> Caller:
    """Its dead-letter queue, not made yet."""
    return work.other('dead')


def rejections(*names: str) -> list[dict[str, str]]:
    """Return entries that reject messages."""
    return [{'id': name, 'reason': f'not {name}'} for name in names]


def test_rejected_messages_die_at_once(work: Caller, dead: Caller) -> None:
    one, two, three = work.post('a', 'b', 'c')
    claim = work.claim()
    assert claim is not None
    done = work.settle(claim.id, delete=[two], reject=rejections(one, three))
    assert done == {two: 'deleted', one: 'rejected', three: 'rejected'}
    assert work.everything() == []
    letters = dead.everything()
    assert ids(letters) == [one, three]
    assert bodies(letters) == ['a', 'c']
    assert {letter.claim_count for letter in letters} == {0}


def test_what_is_not_held_is_not_moved(
    work: Caller, dead: Caller, hand: Hand
) -> None:
    one, two = work.post('a', 'b')
    claim, other = work.claim(1, ttl=60), work.claim(1, ttl=600)
    assert claim is not None
    assert other is not None
    done = work.settle(claim.id, reject=rejections(two, 'f' * 32))
    assert set(done.values()) == {'not_held'}
    hand.move(60)
    work.claim()
    done = work.settle(other.id, reject=rejections(one, two))
    assert done == {one: 'not_held', two: 'rejected'}
    assert bodies(dead.everything()) == ['b']
    assert bodies(work.everything()) == ['a']


@pytest.mark.parametrize('steps', range(len(STEPS)))
def test_a_rejection_interrupted_after_any_step_can_be_repeated(
    work: Caller,
    dead: Caller,
    management: ManagementStore,
    store: MessageStore,
    steps: int,
) -> None:
    one, two, three = work.post('a', 'b', 'c')
    claim = work.claim(ttl=60)
    assert claim is not None
    entries = rejections(one, two)
    mortal = Mortal(steps)
    with pytest.raises(Died):
        work.by(mortal.catalogue(management, store)).settle(
            claim.id, reject=entries
        )
    assert mortal.changes == STEPS[:steps]
    survivor = work.by(Catalogue(management, store))
    # What was to be moved is still held.
    assert survivor.claim() is None
    done = survivor.settle(claim.id, reject=entries)
    assert set(done.values()) == {'rejected'}
    assert ids(dead.by(survivor.ctx.catalogue).everything()) == [one, two]
    assert ids(survivor.everything()) == [three]


@pytest.mark.parametrize('steps', range(1, len(STEPS)))
def test_a_rejection_that_nobody_repeats_loses_nothing(
    work: Caller,
    dead: Caller,
    management: ManagementStore,
    store: MessageStore,
    hand: Hand,
    steps: int,
) -> None:
    posted = work.post('a', 'b')
    claim = work.claim(ttl=60)
    assert claim is not None
    mortal = Mortal(steps)
    with pytest.raises(Died):
        work.by(mortal.catalogue(management, store)).settle(
            claim.id, reject=rejections(*posted)
        )
    hand.move(60)
    survivor = work.by(Catalogue(management, store))
    again = survivor.claim()
    assert again is not None
    assert ids(again.messages) == posted
    survivor.settle(again.id, reject=rejections(*posted))
    assert ids(dead.by(survivor.ctx.catalogue).everything()) == posted
    assert survivor.everything() == []


def test_messages_are_held_until_they_have_been_moved(
    work: Caller,
    dead: Caller,
    management: ManagementStore,
    store: MessageStore,
    hand: Hand,
) -> None:
    dead.create()
    posted = work.post('a', 'b', ttl=3600)
    claim = work.claim(ttl=60)
    assert claim is not None
    hand.before(60)
    rivals: list[object] = []

    def run(name: str, method: Any, *arguments: Any, **more: Any) -> Any:
        if name == 'post':
            hand.move(2)
            rivals.append(work.claim())
        return method(*arguments, **more)

    slow = store_call_interceptor.through(store, run)
    done = work.by(Catalogue(management, slow)).settle(
        claim.id, reject=rejections(*posted)
    )
    assert rivals == [None, None]
    assert set(done.values()) == {'rejected'}
    assert ids(dead.everything()) == posted
    assert work.everything() == []
