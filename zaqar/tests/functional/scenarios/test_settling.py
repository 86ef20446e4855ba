# SPDX-License-Identifier: Apache-2.0
"""2.1 settles what 2.0 has claimed, and the other way round."""

from __future__ import annotations

from zaqar.tests.functional.scenarios.new_clients import NewClient
from zaqar.tests.functional.scenarios.old_clients import OldClient


def test_messages_that_2_0_has_claimed_are_settled(
    new: NewClient, second: NewClient, old: OldClient, queue: str
) -> None:
    letters = f'{queue}-dead'
    new.create(queue, _max_claim_count=9, _dead_letter_queue=letters)
    old.post(queue, 'delete', 'release', 'delay', 'extend', 'reject')
    taken = old.claim(queue)
    assert taken is not None
    deleted, released, delayed, extended, rejected = taken.ids
    assert new.settle(
        queue,
        taken.id,
        delete=[deleted],
        release=[
            {'id': released, 'failed': False},
            {'id': delayed, 'delay': 600, 'reason': 'rate limit'},
        ],
        extend=[{'id': extended, 'ttl': 3600}],
        reject=[{'id': rejected, 'reason': 'unknown schema 3'}],
    ) == {
        deleted: 'deleted',
        released: 'released',
        delayed: 'released',
        extended: 'extended',
        rejected: 'rejected',
    }
    assert old.bodies(letters) == ['reject']
    (letter,) = new.messages(letters)
    assert letter['dead_letter']['reason'] == 'unknown schema 3'
    assert letter['dead_letter']['queue'] == queue

    again = old.claim(queue)
    assert again is not None
    assert list(again.ids) == [released]
    assert new.explain(queue, released)['claim_count'] == 1
    assert new.explain(queue, deleted)['state'] == 'absent'
    assert new.explain(queue, delayed)['state'] == 'delayed'
    shown = new.explain(queue, extended)
    assert (shown['state'], shown['claim']['id']) == ('claimed', taken.id)
    # The last message of the claim was extended beyond the others.
    other = new.explain(queue, released)
    assert shown['claim']['ends_at'] > other['claim']['ends_at']
    # The old client deletes with the claim that it was given.
    second.delete(queue, extended, taken.id)
    assert old.total(queue) == 2


def test_repeating_a_settlement_is_harmless(
    new: NewClient, old: OldClient, queue: str
) -> None:
    old.post(queue, 'a', 'b')
    taken = old.claim(queue)
    assert taken is not None
    one, two = taken.ids
    assert new.settle(queue, taken.id, delete=[one]) == {one: 'deleted'}
    assert new.settle(queue, taken.id, delete=[one]) == {one: 'not_held'}
    assert new.settle(queue, taken.id, delete=[two]) == {two: 'deleted'}
    # The claim is gone with its last message.
    new.get(
        'claim_settle', 404, queue_name=queue, claim_id=taken.id, delete=[two]
    )
    assert old.total(queue) == 0
