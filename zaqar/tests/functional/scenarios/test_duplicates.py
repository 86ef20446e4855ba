# SPDX-License-Identifier: Apache-2.0
"""Duplicates of 2.1 are stored once, whoever receives them."""

from __future__ import annotations

from zaqar.tests.functional.scenarios.new_clients import NewClient
from zaqar.tests.functional.scenarios.old_clients import OldClient


def test_a_duplicate_is_not_stored_for_old_clients_either(
    new: NewClient, second: NewClient, old: OldClient, queue: str
) -> None:
    (first,) = new.post(queue, {'body': 'paid', 'dedup_id': 'order-17'})
    names = second.post(
        queue,
        {'body': 'paid', 'dedup_id': 'order-17'},
        {'body': 'paid', 'dedup_id': 'order-18'},
    )
    assert names[0] == first
    old.post(queue, 'paid')
    assert old.total(queue) == 3
    taken = old.claim(queue)
    assert taken is not None
    assert list(taken.ids)[:2] == names
    # Deleting it does not shorten the window.
    new.delete(queue, first, taken.id)
    assert new.post(queue, {'body': 'paid', 'dedup_id': 'order-17'}) == [first]
    assert old.total(queue) == 2


def test_the_window_is_that_of_the_queue(
    new: NewClient, old: OldClient, queue: str
) -> None:
    new.create(queue, _dedup_window=0)
    message = {'body': 1, 'dedup_id': 'x'}
    names = new.post(queue, message, message)
    assert len({*names}) == 2
    assert old.bodies(queue) == [1, 1]
    shown = new.get('queue_get_guarantees', queue_name=queue)
    assert shown['dedup_window'] == 0
    new.create(f'{queue}-2')
    shown = new.get('queue_get_guarantees', queue_name=f'{queue}-2')
    assert shown['dedup_window'] == 300


def test_a_repeated_post_is_stored_once_on_any_way(
    new: NewClient, second: NewClient, old: OldClient, queue: str
) -> None:
    message = {'body': 'invoice 17'}
    posted = new.post_by_key(queue, 'invoice-17', message)
    assert posted[1] is False
    # The answer was lost; somebody else goes on.
    for client in (second, new):
        assert client.post_by_key(queue, 'invoice-17', message) == (
            posted[0],
            True,
        )
    taken = old.claim(queue)
    assert taken is not None
    assert list(taken.ids) == posted[0]
    new.delete(queue, *taken.ids, taken.id)
    assert second.post_by_key(queue, 'invoice-17', message)[1] is True
    assert old.total(queue) == 0
    other, is_repeated = new.post_by_key(queue, 'invoice-18', message)
    assert (is_repeated, old.total(queue)) == (False, 1)
    assert other != posted[0]
