# SPDX-License-Identifier: Apache-2.0
"""Claims of 2.0 keep the order of groups that 2.1 has posted."""

from __future__ import annotations

from zaqar.tests.functional.scenarios.new_clients import NewClient
from zaqar.tests.functional.scenarios.old_clients import OldClient


def test_a_busy_group_is_passed_over_by_old_clients(
    new: NewClient, old: OldClient, queue: str
) -> None:
    names = new.post(
        queue,
        {'body': 'a1', 'group': 'a'},
        {'body': 'a2', 'group': 'a'},
        {'body': 'b1', 'group': 'b'},
    )
    old.post(queue, 'none')
    first = new.take(queue, 1)
    assert first.ids == names[:1]
    assert first.messages[0]['group'] == 'a'

    taken = old.claim(queue)
    assert taken is not None
    assert list(taken.bodies) == ['b1', 'none']
    assert old.claim(queue) is None
    # Lists know no groups.
    assert old.bodies(queue) == ['a2']

    shown = new.explain(queue, names[1])
    assert (shown['state'], shown['group']) == ('held_by_group', 'a')
    assert (shown['listed'], shown['claimable']) == (
        new.messages(queue, echo=False) != [],
        False,
    )
    assert shown['claim'] is None
    stats = new.stats(queue)
    assert stats['messages']['held_by_groups'] == 1
    assert stats['oldest_free_age'] is None

    new.delete(queue, names[0], first.id)
    rest = old.claim(queue)
    assert rest is not None
    assert list(rest.bodies) == ['a2']


def test_old_claims_hold_groups_against_new_ones(
    new: NewClient, old: OldClient, queue: str
) -> None:
    new.post(queue, *({'body': n, 'group': 'a'} for n in range(12)))
    taken = old.claim(queue)
    assert taken is not None
    assert list(taken.bodies) == list(range(10))
    assert new.claim(queue) is None
    old.release(queue, taken)
    claimed = new.take(queue, 3)
    assert claimed.bodies == [0, 1, 2]
    assert old.claim(queue) is None
    new.release(queue, claimed.id)
    again = old.claim(queue)
    assert again is not None
    assert list(again.ids) == list(taken.ids)
