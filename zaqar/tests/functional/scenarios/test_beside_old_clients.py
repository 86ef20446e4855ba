# SPDX-License-Identifier: Apache-2.0
"""What 2.1 makes is there for 2.0, by its rules and in the old words.

:source: reference/http, "Microversions"
"""

from __future__ import annotations

import concurrent.futures

from zaqar.tests.functional.scenarios.new_clients import NewClient
from zaqar.tests.functional.scenarios.old_clients import OldClient


def test_both_see_the_messages_of_each_other_in_one_order(
    new: NewClient, old: OldClient, queue: str
) -> None:
    new.post(queue, {'body': 'new 1'}, {'body': 'new 2', 'ttl': 300})
    old.post(queue, 'old 1', 'old 2')
    new.post(queue, {'body': 'new 3'})
    order = ['new 1', 'new 2', 'old 1', 'old 2', 'new 3']
    assert old.bodies(queue) == order
    assert [one['body'] for one in new.messages(queue)] == order
    assert old.total(queue) == 5
    taken = old.claim(queue)
    assert taken is not None
    assert list(taken.bodies) == order
    assert new.claim(queue) is None
    old.release(queue, taken)
    assert new.take(queue).bodies == order
    assert old.claim(queue) is None


def test_a_delay_holds_for_old_clients(
    new: NewClient, old: OldClient, queue: str
) -> None:
    delayed, free = new.post(
        queue, {'body': 'later', 'delay': 600}, {'body': 'now'}
    )
    taken = old.claim(queue)
    assert taken is not None
    assert (list(taken.ids), list(taken.bodies)) == ([free], ['now'])
    assert old.claim(queue) is None
    assert new.explain(queue, delayed)['state'] == 'delayed'
    stats = new.stats(queue)['messages']
    assert (stats['delayed'], stats['claimed']) == (1, 1)


def test_a_short_claim_of_2_1_lapses_for_old_clients(
    new: NewClient, second: NewClient, old: OldClient, queue: str
) -> None:
    new.post(queue, {'body': 'x'})
    lost = new.take(queue, ttl=1)
    # Somebody who waits gets it as soon as the claim has ended.
    claimed = second.take(queue, wait=20)
    assert claimed.ids == lost.ids
    second.release(queue, claimed.id)
    taken = old.claim(queue)
    assert taken is not None
    assert list(taken.bodies) == ['x']


def test_a_post_of_2_0_ends_the_wait_of_2_1(
    new: NewClient, old: OldClient, queue: str
) -> None:
    with concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = pool.submit(new.take, queue, wait=60)
        old.post(queue, 'hello')
        assert waiting.result(timeout=60).bodies == ['hello']


def test_claims_of_2_0_are_explained_to_2_1(
    new: NewClient, old: OldClient, queue: str
) -> None:
    old.post(queue, 'x')
    taken = old.claim(queue)
    assert taken is not None
    (message_id,) = taken.ids
    shown = new.explain(queue, message_id)
    assert shown['state'] == 'claimed'
    assert shown['claim']['id'] == taken.id
    assert shown['claim_count'] == 1
    (message,) = new.messages(queue, include_claimed=True)
    assert message['claim_count'] == 1
    assert message['created_at'].endswith('Z')
    new.delete(queue, message_id, taken.id)
    assert new.explain(queue, message_id)['state'] == 'absent'
    assert old.total(queue) == 0


def test_dead_letters_of_both_reach_both(
    new: NewClient, old: OldClient, queue: str
) -> None:
    letters = f'{queue}-dead'
    new.create(queue, _max_claim_count=1, _dead_letter_queue=letters)
    new.post(queue, {'body': 'bad'})
    taken = old.claim(queue)
    assert taken is not None
    old.release(queue, taken)
    assert new.claim(queue) is None
    assert old.bodies(letters) == ['bad']
    (letter,) = new.messages(letters)
    assert letter['dead_letter']['queue'] == queue
    assert letter['dead_letter']['claim_count'] == 1
    assert 'claimed 1 times' in letter['dead_letter']['reason']
    again = old.claim(letters)
    assert again is not None
    assert list(again.ids) == [letter['id']]
