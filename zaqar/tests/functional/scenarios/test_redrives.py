# SPDX-License-Identifier: Apache-2.0
"""Dead letters that 2.1 brings back are messages for 2.0 like any others."""

from __future__ import annotations

import time
from typing import Any

from zaqar.tests.functional.scenarios.new_clients import NewClient
from zaqar.tests.functional.scenarios.old_clients import OldClient

#: Seconds that a redrive may take on a busy machine.
PATIENCE = 60


def ended(client: NewClient, queue: str, redrive_id: str) -> Any:
    """Return a redrive once it has ended."""
    end = time.monotonic() + PATIENCE
    while True:
        shown = client.get(
            'redrive_get', queue_name=queue, redrive_id=redrive_id
        )
        if shown['status'] != 'running':
            return shown
        assert time.monotonic() < end, shown
        time.sleep(0.05)


def test_dead_letters_come_back_to_old_clients(
    new: NewClient, second: NewClient, old: OldClient, queue: str
) -> None:
    letters = f'{queue}-dead'
    new.create(queue, _max_claim_count=1, _dead_letter_queue=letters)
    old.post(queue, {'type': 'invoice', 'n': 1}, {'type': 'order', 'n': 2})
    taken = old.claim(queue)
    assert taken is not None
    old.release(queue, taken)
    # The claim that meets them moves them.
    assert old.claim(queue) is None
    assert old.total(letters) == 2

    wanted = {'source': queue, 'body': {'/type': ['invoice']}}
    dry = new.get(
        'redrive_create', queue_name=letters, filter=wanted, dry_run=True
    )
    assert (dry['matched'], dry['scanned']) == (1, 2)
    assert old.total(letters) == 2

    begun = new.get('redrive_create', 202, queue_name=letters, filter=wanted)
    # Whoever waits for the queue gets what comes back.
    claimed = second.take(queue, wait=PATIENCE)
    assert claimed.bodies == [{'type': 'invoice', 'n': 1}]
    assert claimed.messages[0]['claim_count'] == 1
    second.release(queue, claimed.id)
    shown = ended(new, letters, begun['redrive_id'])
    assert (shown['status'], shown['moved']) == ('done', 1)
    assert old.total(letters) == 1
    assert old.bodies(queue) == [{'type': 'invoice', 'n': 1}]

    begun = new.get('redrive_create', 202, queue_name=letters, to=f'{queue}-2')
    shown = ended(new, letters, begun['redrive_id'])
    assert (shown['status'], shown['moved']) == ('done', 1)
    again = old.claim(f'{queue}-2')
    assert again is not None
    assert list(again.bodies) == [{'type': 'order', 'n': 2}]
    assert old.total(letters) == 0
