# SPDX-License-Identifier: Apache-2.0
"""Isolation: what belongs to another queue does not exist."""

from __future__ import annotations

import pytest

from zaqar.errors import InvalidDeletion
from zaqar.tests.contract.probe import Hand, Probe, bodies, ids, token

#: Texts a client may send as an id.
TEXTS = [
    '',
    'x',
    ' ',
    '\0',
    '%',
    '_' * 32,
    '0' * 31,
    '0' * 33,
    'g' * 32,
    'F' * 32,
    'f' * 32,
    '8' + '0' * 31,
    '-' + '1' * 31,
    '\N{ARABIC-INDIC DIGIT ONE}' * 32,
    'ä' * 32,
    '\N{PILE OF POO}' * 32,
    '\ud800' * 32,
    "' OR '1'='1",
    '0' * 32 + '\n',
    'a' * 4000,
]


@pytest.fixture
def foreign(queue: Probe, another: Probe) -> tuple[str, str, str]:
    """A free message, a claimed one and its claim, of the other queue.

    Our own queue holds one message of each kind, too.
    """
    for one in (queue, another):
        one.post('claimed')
        claim = one.take()
        one.post('free')
    claimed, free = ids(another.walk(include_claimed=True))
    return free, claimed, claim.id


@pytest.mark.proves('ids are scoped')
def test_a_message_of_another_queue_is_not_found(
    queue: Probe, foreign: tuple[str, str, str]
) -> None:
    assert queue.get(*foreign) == []


@pytest.mark.proves('ids are scoped')
def test_a_message_of_another_queue_is_not_deleted(
    queue: Probe, another: Probe, foreign: tuple[str, str, str]
) -> None:
    free, claimed, claim = foreign
    queue.delete(free)
    queue.delete(claimed)
    queue.delete(claimed, claim)
    queue.delete_many(free, claimed)
    assert another.everything() == ['claimed', 'free']
    assert queue.everything() == ['claimed', 'free']


@pytest.mark.proves('ids are scoped')
def test_a_claim_of_another_queue_is_unknown(
    queue: Probe, another: Probe, foreign: tuple[str, str, str]
) -> None:
    claim = foreign[2]
    assert queue.claimed(claim) is None
    assert not queue.renew(claim, ttl=9000)
    queue.release(claim)
    stored = another.claimed(claim)
    assert stored is not None
    assert stored.ttl == 300


@pytest.mark.proves('ids are scoped')
def test_a_claim_of_another_queue_deletes_nothing(
    queue: Probe, foreign: tuple[str, str, str]
) -> None:
    for one in ids(queue.walk(include_claimed=True)):
        with pytest.raises(InvalidDeletion):
            queue.delete(one, foreign[2])
        with pytest.raises(InvalidDeletion):
            queue.delete_many(one, claim_ids=[foreign[2]])
    assert queue.everything() == ['claimed', 'free']


def test_a_claim_id_in_use_elsewhere_may_be_chosen(
    queue: Probe, another: Probe
) -> None:
    queue.post('a')
    another.post('b')
    name = token()
    first = queue.take(claim_id=name)
    assert bodies(another.take(claim_id=name).messages) == ['b']
    another.release(name)
    assert queue.claimed(name) == first


@pytest.mark.proves('ids are scoped')
def test_a_marker_of_another_queue_shows_nothing_of_it(
    queue: Probe, another: Probe, foreign: tuple[str, str, str]
) -> None:
    own = {*ids(queue.walk(include_claimed=True))}
    markers = [item.marker for item in another.walk(include_claimed=True)]
    for marker in (*markers, *foreign):
        page = queue.list(marker=marker, include_claimed=True)
        assert {*ids(page.messages)} <= own


def test_a_dead_letter_is_found_in_its_own_queue_only(
    queue: Probe, another: Probe
) -> None:
    (old,) = another.post('x')
    queue.letter('x', old)
    another.delete(old)
    assert another.get(old) == []
    another.delete(old)
    another.delete_many(old)
    assert ids(queue.get(old)) == [old]


def test_both_halves_of_an_id_must_fit(queue: Probe) -> None:
    one, two = queue.post('a', 'b')
    wrong = [one[:16] + two[16:], two[:16] + one[16:]]
    assert queue.get(*wrong) == []
    for name in wrong:
        queue.delete(name)
    queue.delete_many(*wrong)
    assert queue.everything() == ['a', 'b']


def test_ids_of_another_kind_do_not_exist(queue: Probe) -> None:
    (one,) = queue.post('a')
    claim = queue.take()
    assert queue.get(claim.id) == []
    queue.delete(claim.id)
    queue.delete_many(claim.id)
    assert queue.claimed(one) is None
    assert not queue.renew(one)
    queue.release(one)
    assert queue.claimed(claim.id) == claim


@pytest.mark.parametrize('text', TEXTS)
def test_any_text_as_an_id_is_unknown(queue: Probe, text: str) -> None:
    queue.post('a')
    claim = queue.take()
    queue.post('b')
    assert queue.get(text) == []
    queue.delete(text)
    queue.delete(text, claim.id)
    queue.delete(text, text)
    queue.delete_many(text)
    assert queue.claimed(text) is None
    assert not queue.renew(text)
    queue.release(text)
    assert queue.everything() == ['a', 'b']
    assert queue.claimed(claim.id) == claim


@pytest.mark.parametrize('text', TEXTS)
def test_any_text_among_ids_hides_no_other(queue: Probe, text: str) -> None:
    one, two = queue.post('a', 'b')
    assert ids(queue.get(one, text, two)) == [one, two]
    queue.delete_many(text, one)
    assert queue.everything() == ['b']


@pytest.mark.parametrize('text', TEXTS)
def test_any_text_as_a_claim_deletes_nothing(queue: Probe, text: str) -> None:
    (one,) = queue.post('a')
    queue.take()
    with pytest.raises(InvalidDeletion):
        queue.delete(one, text)
    with pytest.raises(InvalidDeletion):
        queue.delete_many(one, claim_ids=[text])
    assert queue.everything() == ['a']


def test_the_upper_case_of_an_id_is_no_id(queue: Probe) -> None:
    (one,) = queue.post('a', rnd='abcdefabcdefabcd')
    assert one.upper() != one
    assert queue.get(one.upper()) == []


def test_queues_never_mix(queue: Probe, another: Probe, hand: Hand) -> None:
    queue.post('a')
    another.post('b')
    hand.move(1)
    queue.post('c')
    another.post('d')
    assert (queue.everything(), another.everything()) == (
        ['a', 'c'],
        ['b', 'd'],
    )
    assert bodies(queue.pop()) == ['a', 'c']
    assert bodies(another.take().messages) == ['b', 'd']
    assert queue.claim() is None
