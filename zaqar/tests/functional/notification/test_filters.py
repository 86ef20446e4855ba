# SPDX-License-Identifier: Apache-2.0
"""Filters of subscriptions: reference/delivery, "Filters"."""

from __future__ import annotations

import json
from typing import Any

import pytest

from zaqar.api_versions import V2_1
from zaqar.notification import fanout, notice_deliveries
from zaqar.storage.base import OUTBOX
from zaqar.tests.functional.notification.conftest import MakeReceiver, MakeRig
from zaqar.tests.functional.notification.rig import FEW, Rig
from zaqar.tests.servers.receivers import Receiver, answer


@pytest.fixture
def new(make_rig: MakeRig) -> Rig:
    """A notifier, and a user of the version that has filters."""
    return make_rig(version=V2_1)


def test_a_filter_chooses_among_the_messages_of_a_post(
    new: Rig, make_receiver: MakeReceiver
) -> None:
    some, every, none = (make_receiver() for _ in range(3))
    wanted = {'/kind/name': ['a', {'prefix': 'x'}]}
    one = new.subscribe(some.url, _filter=wanted)
    new.subscribe(every.url)
    other = new.subscribe(none.url, _filter={'kind': [{'exists': False}]})
    bodies = [{'kind': {'name': name}} for name in ('a', 'b', 'xy', 'c')]
    new.post(*bodies)
    assert [got.json['body'] for got in every.wait(4)] == bodies
    assert [got.json['body'] for got in some.wait(2)] == [
        *(bodies[0], bodies[2])
    ]
    new.rests()
    new.until(lambda: new.deliveries(one).get('delivered') == 2)
    shown = new.deliveries(one)
    assert (shown['filtered'], shown['pending']) == (2, 0)
    assert shown['oldest_pending_at'] is None
    assert new.deliveries(other)['filtered'] == 4
    ids = [got.headers['webhook-id'] for got in some.got]
    assert len(set(ids)) == 2
    assert not none.got


def test_a_filter_of_an_encrypted_queue_sees_the_clear_body(
    make_rig: MakeRig, receiver: Receiver
) -> None:
    rig = make_rig(version=V2_1, key='k' * 32, encrypted_over_http=True)
    rig.queue(_enable_encrypt_messages=True)
    rig.subscribe(receiver.url, _filter={'n': [{'numeric': ['>', 1]}]})
    rig.post({'n': 1}, {'n': 2})
    assert receiver.wait(1)[0].json['body'] == {'n': 2}


def test_what_waits_is_counted_whether_a_notifier_has_read_it_or_not(
    make_rig: MakeRig, make_receiver: MakeReceiver
) -> None:
    rig = make_rig(running=False, version=V2_1)
    failing = make_receiver(answer(503))
    one = rig.subscribe(failing.url, _retry_policy=FEW)
    before = rig.deliveries(one)
    assert (before['pending'], before['oldest_pending_at']) == (0, None)
    rig.post('x', 'y')

    def waits() -> Any:
        rig.until(lambda: rig.deliveries(one)['pending'] == 2)
        return rig.deliveries(one)['oldest_pending_at']

    at = waits()
    assert at is not None
    rig.start()
    failing.wait(2)
    rig.put_off()
    assert waits() == at


def test_notices_stay_claimed_while_filters_are_evaluated(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Filters and bodies of tenants may take longer than the lease.
    rig = make_rig(running=False, version=V2_1)
    condition = {'a': [1, {'prefix': 'x'}], '$or': [{'b': [2]}, {'c': [3]}]}
    for path in range(5):
        rig.subscribe(f'http://localhost/{path}', _filter=condition)
    rig.post(body := {'a': 1, 'b': 2, 'd': 'x' * 600})
    cost = len(json.dumps(body)) * 4
    # Two evaluations each time.
    monkeypatch.setattr(notice_deliveries, 'EVALUATED', cost * 2 - 100)
    claims = []

    def pause() -> None:
        rig.ahead += fanout.LEASE * 0.8
        claims.append(
            rig.store.claim(
                OUTBOX,
                now=rig.now(),
                claim_id=f'other{len(claims)}',
                ttl=60,
                grace=60,
                limit=1,
            )
        )

    expansion = fanout.expand(rig.ctx, rig.store, pause=pause)
    assert claims == [None, None]
    assert expansion is not None
    assert expansion.deliveries == 5
    assert cost * 5 - 100 < expansion.evaluated <= cost * 5
