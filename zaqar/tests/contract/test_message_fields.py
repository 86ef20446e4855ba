# SPDX-License-Identifier: Apache-2.0
"""What belongs to a message beside its body, on every way out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pytest

from zaqar.objects import Message, NewMessage
from zaqar.tests.contract.probe import Hand, Probe, message

#: The longest group, of the first and the last characters that it may have.
GROUP = '!~' * 64

EXTRAS = {
    'every byte': bytes(range(256)),
    'no byte': b'',
    'a line': b'\n-1 0 3\n',
    'SQL': b'\\\'"`;--%s :now {0}',
    'a reference of Swift': b'\x02ff name',
    'long': b'x\xff' * 50_000,
}

#: Members of a message: group and extras.
Fields = tuple[str | None, bytes | None]


@pytest.fixture(params=EXTRAS)
def extras(request: pytest.FixtureRequest) -> bytes:
    """Extras of each kind."""
    return EXTRAS[request.param]


def fields(messages: Sequence[Message]) -> list[Fields]:
    """Return what else the messages have."""
    return [(item.group, item.extras) for item in messages]


def _ways_out(queue: Probe, names: Sequence[str]) -> Iterator[list[Fields]]:
    """Yield the messages of a queue by each call that returns some."""
    # Those of a client are left out by another query.
    for client in (None, 'nobody'):
        yield fields(queue.list(exclude_client=client).messages)
    yield fields(queue.get(*names))
    claim_id = 'claim'
    for _ in range(2):
        claim = queue.take(max_claims=1, claim_id=claim_id)
        yield fields(claim.messages)
    stored = queue.claimed(claim_id)
    assert stored is not None
    yield fields(stored.messages)
    assert queue.renew(claim_id, ttl=5000)
    yield fields(queue.list(include_claimed=True).messages)
    yield fields(queue.get(*names))
    queue.release(claim_id)
    yield fields(queue.list().messages)
    exhausted = queue.take(max_claims=1)
    yield fields(exhausted.exhausted)
    queue.release(exhausted.id)
    queue.take(ttl=60)
    queue.hand.move(60)
    yield fields(queue.list().messages)
    yield fields(queue.pop())


def test_extras_come_back_to_the_byte(queue: Probe, extras: bytes) -> None:
    names = queue.post('x', extras=extras)
    for shown in _ways_out(queue, names):
        assert shown == [(None, extras)]


def test_a_message_without_fields_has_none(queue: Probe) -> None:
    for shown in _ways_out(queue, queue.post('x')):
        assert shown == [(None, None)]
    queue.post('x')
    (one,) = queue.pop()
    assert (one.group, one.extras, one.reason) == (None, None, None)


def test_each_message_has_its_own_fields(queue: Probe) -> None:
    each = [
        {},
        {'extras': b'first'},
        {'extras': b''},
        {},
        {'extras': b'last'},
    ]
    names = queue.send([message('x', **one) for one in each])
    wanted = [(None, one.get('extras')) for one in each]
    for shown in _ways_out(queue, names):
        assert shown == wanted


def test_a_group_comes_back_as_it_was_posted(queue: Probe) -> None:
    wanted: list[Fields] = [(GROUP, None)]
    names = [*queue.post('x', group=GROUP)]
    for more in ((), ((GROUP, b'1'), ('b', b'2'), (None, b'3'))):
        for group, extras in more:
            names += queue.send([message('x', group=group, extras=extras)])
        wanted += more
        assert fields(queue.get(*names)) == wanted
        assert fields(queue.list().messages) == wanted
        claim = queue.take()
        assert fields(claim.messages) == wanted
        queue.release(claim.id)
    assert fields(queue.pop()) == wanted


def test_fields_of_a_delayed_message_come_back(queue: Probe) -> None:
    (one,) = queue.post('x', delay=60, extras=b'later')
    assert fields(queue.get(one)) == [(None, b'later')]
    listed = queue.list(include_delayed=True)
    assert fields(listed.messages) == [(None, b'later')]
    queue.hand.move(60)
    assert fields(queue.pop()) == [(None, b'later')]


def test_a_repeated_post_leaves_the_fields_as_they_are(queue: Probe) -> None:
    first = [message('x', extras=b'first')]
    names = queue.send(first, token='token')
    again = [message('x', extras=b'second')]
    assert queue.send(again, token='token') == names
    assert fields(queue.list().messages) == [(None, b'first')]


def test_a_dead_letter_keeps_its_extras_and_leaves_its_group(
    queue: Probe, another: Probe, hand: Hand
) -> None:
    (old,) = another.post('x', group='g', extras=b'extras')
    (taken,) = another.pop()
    letter = taken.to_post(hand.now)
    assert isinstance(letter, NewMessage)
    assert queue.send([letter]) == [old]
    assert fields(queue.get(old)) == [(None, b'extras')]
    moved = taken.to_post(hand.now, group=taken.group)
    queue.pop()
    queue.send([moved])
    assert fields(queue.get(old)) == [('g', b'extras')]


def test_a_purge_leaves_no_fields_to_later_messages(queue: Probe) -> None:
    queue.post('x', extras=b'before')
    queue.purge()
    queue.post('y')
    assert fields(queue.pop()) == [(None, None)]
