# SPDX-License-Identifier: Apache-2.0
"""Filters of subscriptions: reference/delivery, "Filters"."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import pytest

from zaqar.controllers import posting, subscriptions
from zaqar.controllers.outbox_notices import FANNED_OUT
from zaqar.errors import StoreUnavailable
from zaqar.microversion_constants import V2_1
from zaqar.notification import notice_subscribers_and_filters
from zaqar.notification.fanout import Fanout
from zaqar.notification.fanout_fairness_between_projects import (
    HOLD,
    ProjectShares,
)
from zaqar.notification.pending_delivery import PendingDelivery
from zaqar.notification.referenced_notices import ReferencedNotices
from zaqar.objects import Scope
from zaqar.storage.abstract_stores import PENDING
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


def test_a_notice_whose_filters_cost_much_is_fanned_out_in_parts(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Filters and bodies of tenants could take as long as they like.
    rig = make_rig(running=False, version=V2_1)
    condition = {'a': [1, {'prefix': 'x'}], '$or': [{'b': [2]}, {'c': [3]}]}
    for path in range(5):
        rig.subscribe(f'http://localhost/{path}', _filter=condition)
    rig.subscribe('http://localhost/', 'other')
    rig.post(body := {'a': 1, 'b': 2, 'd': 'x' * 2000})
    rig.post('y', queue='other')
    cost = len(json.dumps(body)) * 4
    # Two evaluations each time.
    monkeypatch.setattr(
        notice_subscribers_and_filters, 'EVALUATED', cost * 2 - 100
    )
    notices, shares = ReferencedNotices(rig.ctx.cipher), ProjectShares()
    fanout = Fanout(rig.ctx, notices, shares)
    made = []
    for _ in range(4):
        expansion = fanout.expand(rig.store)
        assert expansion is not None
        expansion.finish()
        shares.due.claim([], is_all=True)
        shares.give_back(rig.store)
        made.append(len(rig.stored(PENDING)))
        if made[-1] == 6:
            break
    assert made == [2, 4, 6]
    pending = rig.store.list(PENDING, now=rig.now(), limit=10).messages
    records = [PendingDelivery.read(rig.ctx.cipher, one) for one in pending]
    assert len({one.subscription for one in records}) == 6
    # The last part ends while others may wait for the notice.
    (last,) = (
        one
        for one, record in zip(pending, records, strict=True)
        if record.subscription == records[4].subscription
    )
    notices.finish(rig.store, [last.id])
    assert [one for one in rig.waiting() if one.reason == FANNED_OUT]


def test_a_part_that_cannot_be_stored_is_not_left_out(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make_rig(running=False, version=V2_1)
    for path in range(4):
        rig.subscribe(f'http://localhost/{path}', _filter=COSTLY)
    rig.post(MATCHING)
    monkeypatch.setattr(notice_subscribers_and_filters, 'EVALUATED', TWO)
    expand = _expander(rig)

    def fail(*given: Any, **more: Any) -> Any:
        raise StoreUnavailable

    with monkeypatch.context() as failing:
        failing.setattr(rig.store, 'post', fail)
        with pytest.raises(StoreUnavailable):
            expand()
    rig.ahead = HOLD + 1
    for _ in range(3):
        records = expand()
    assert len({one.subscription for one in records}) == 4


def test_costly_filters_of_some_projects_do_not_hold_up_others(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make_rig(running=False, version=V2_1)
    for project, count in (('loud', 9), ('louder', 9), ('quiet', 1)):
        for path in range(count):
            subscriptions.create(
                rig.ctx,
                scope=Scope(project, 'q'),
                document={
                    'subscriber': f'http://localhost/{path}',
                    'ttl': 3600,
                    'options': {'_filter': COSTLY},
                },
            )
        body = msgspec.Raw(json.dumps(MATCHING).encode())
        posting.post(
            rig.ctx,
            scope=Scope(project, 'q'),
            document=posting.Post([posting.PostedMessage(body=body)]),
        )
    monkeypatch.setattr(notice_subscribers_and_filters, 'EVALUATED', TWO)
    expand = _expander(rig)
    for _ in range(3):
        records = expand()
    # Each of the others has had a turn before it, and another one beside it.
    assert 'quiet' in [one.project for one in records]


#: A filter, what it admits, and nearly the cost of doing that twice.
COSTLY = {'a': [1, {'prefix': 'x'}], '$or': [{'b': [2]}, {'c': [3]}]}
MATCHING = {'a': 1, 'b': 2, 'd': 'x' * 2000}
TWO = len(json.dumps(MATCHING)) * 8 - 100


def _expander(rig: Rig) -> Callable[[], Sequence[PendingDelivery]]:
    """Return a function that fans out once, and returns what is stored."""
    shares = ProjectShares()
    fanout = Fanout(rig.ctx, shares=shares)

    def expand() -> Sequence[PendingDelivery]:
        expansion = fanout.expand(rig.store)
        if expansion is not None:
            expansion.finish()
        shares.due.claim([], is_all=True)
        shares.give_back(rig.store)
        page = rig.store.list(PENDING, now=rig.now(), limit=100)
        return [
            PendingDelivery.read(rig.ctx.cipher, one) for one in page.messages
        ]

    return expand
