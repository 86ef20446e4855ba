# SPDX-License-Identifier: Apache-2.0
"""Attempts, and what is sent again: reference/delivery, "Attempts"."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any

import pytest

from zaqar.controllers import (
    message_reading_and_deletion,
    subscription_deliveries,
)
from zaqar.controllers.delivery_attempt_history import Attempt
from zaqar.errors import Conflict, StoreUnavailable
from zaqar.microversion_constants import V2_1
from zaqar.notification import fanout, resend_and_replay
from zaqar.notification.pending_delivery import PendingDelivery
from zaqar.objects import Scope
from zaqar.storage.abstract_stores import GIVEN_UP, OUTBOX, PENDING
from zaqar.tests.functional.notification.conftest import MakeReceiver, MakeRig
from zaqar.tests.functional.notification.rig import FEW, Rig, fan_out
from zaqar.tests.servers.receivers import Receiver, answer, in_turn


@pytest.fixture
def new(make_rig: MakeRig) -> Rig:
    """A notifier, and a user of the version that has attempts."""
    return make_rig(version=V2_1)


def place(one: str) -> dict[str, Any]:
    """Return where a subscription is."""
    return {'scope': Scope('p', 'q'), 'subscription_id': one}


def attempts(rig: Rig, one: str) -> Sequence[Attempt]:
    """Return the attempts of a subscription, the newest first."""
    return subscription_deliveries.attempts(
        rig.ctx, **place(one), state=None, marker=None, limit=100
    ).attempts


def kept(rig: Rig) -> int:
    """Return how many deliveries are kept to be sent again."""
    page = rig.store.list(GIVEN_UP, now=rig.now(), limit=100)
    return len(page.messages)


def test_each_failure_is_recorded_and_the_last_success(
    new: Rig, make_receiver: MakeReceiver
) -> None:
    failing = make_receiver(
        in_turn(answer(503), answer(200), answer(404), answer(200))
    )
    one = new.subscribe(
        failing.url, _retry_policy={**FEW, 'retries_with_no_delay': 1}
    )
    new.post('a', 'b', 'c')
    failing.wait(4)
    new.until(lambda: len(attempts(new, one)) == 3)
    last, second, first = attempts(new, one)
    ids = [got.headers['webhook-id'] for got in failing.got]
    assert [(one.outcome, one.http_status) for one in (first, second)] == [
        *(('retried', 503), ('given_up', 404))
    ]
    assert (last.outcome, last.http_status) == ('delivered', 200)
    assert [first.id, second.id, last.id] == [ids[0], *ids[2:]]
    assert (first.attempt, first.error) == (1, 'answered 503')
    assert first.next_at is not None
    assert last.next_at is None
    assert first.at <= second.at <= last.at <= new.now()


def test_what_was_given_up_is_sent_again_under_its_id(
    new: Rig, make_receiver: MakeReceiver
) -> None:
    receiver = make_receiver(
        in_turn(answer(200), answer(404), answer(404), answer(200))
    )
    one = new.subscribe(receiver.url)
    new.post('a', 'b')
    receiver.wait(2)
    again: dict[str, Any] = {}

    def is_given_up(count: int) -> bool:
        found = [
            each for each in attempts(new, one) if each.outcome == 'given_up'
        ]
        again.update(attempt_id=found[0].id if found else '')
        return len(found) == count

    new.until(lambda: is_given_up(1))
    assert kept(new) == 1
    subscription_deliveries.resend(new.ctx, **place(one), **again)
    receiver.wait(3)
    # It may be sent again as often as it is given up.
    new.until(lambda: is_given_up(2))
    new.until(lambda: kept(new) == 1)
    subscription_deliveries.resend(new.ctx, **place(one), **again)
    last = receiver.wait(4)[1:]
    assert {got.json['body'] for got in last} == {'b'}
    assert {got.headers['webhook-id'] for got in last} == set(again.values())
    new.until(lambda: attempts(new, one)[0].outcome == 'delivered')
    assert kept(new) == 0
    with pytest.raises(Conflict):
        subscription_deliveries.resend(new.ctx, **place(one), **again)


def test_only_so_many_are_recorded_and_kept(
    make_rig: MakeRig,
    make_receiver: MakeReceiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rig = make_rig(version=V2_1, max_attempts_recorded=3)
    post, posted = rig.store.post, []

    def noted(qid: str, *arguments: Any, **more: Any) -> Any:
        posted.append(qid)
        return post(qid, *arguments, **more)

    monkeypatch.setattr(rig.store, 'post', noted)
    refusing = make_receiver(answer(404))
    one = rig.subscribe(refusing.url)
    rig.post(*range(7))
    refusing.wait(7)
    rig.until(lambda: rig.deliveries(one)['given_up'] == 7)
    rig.until(lambda: kept(rig) == 3)
    assert posted.count(GIVEN_UP) == 1
    assert [each.id[-2:] for each in attempts(rig, one)] == ['.6', '.5', '.4']


def test_a_replay_sends_what_the_queue_holds_in_order(
    make_rig: MakeRig, make_receiver: MakeReceiver
) -> None:
    rig = make_rig(version=V2_1)
    others, receiver = make_receiver(), make_receiver()
    rig.subscribe(others.url)
    for start in range(0, 120, 60):
        rig.post(*({'n': n} for n in range(start, start + 60)))
    since = datetime.datetime.fromtimestamp(rig.now() / 1000, datetime.UTC)
    rig.ahead = 5
    rig.post({'n': 120}, delay=60)
    others.wait(121)
    one = rig.subscribe(receiver.url, _filter={'n': [{'numeric': ['>=', 55]}]})
    marker = rig.messages('q')[9].id
    replay = subscription_deliveries.replay
    replay(rig.ctx, **place(one), document={'marker': marker})
    got = receiver.wait(66)
    bodies = sorted(each.json['body']['n'] for each in got)
    assert bodies == [*range(55, 121)]
    rig.rests()
    rig.until(lambda: rig.deliveries(one).get('filtered') == 45)
    with pytest.raises(Conflict):
        replay(rig.ctx, **place(one), document={'marker': marker})
    rig.ahead = 65
    document = {'since': (since + datetime.timedelta(seconds=1)).isoformat()}
    replay(rig.ctx, **place(one), document=document)
    got = receiver.wait(67)
    assert got[-1].json['body'] == {'n': 120}
    rig.rests()
    assert (len(receiver.got), len(others.got)) == (67, 121)
    assert len({each.headers['webhook-id'] for each in got}) == 67


def test_a_replay_whose_notifier_dies_skips_nothing(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resend_and_replay, 'PAGE', 2)
    rig = make_rig(running=False, version=V2_1)
    rig.post(*range(5))
    one = rig.subscribe('http://localhost/')
    subscription_deliveries.replay(
        rig.ctx, **place(one), document={'since': '2020-01-01T00:00:00Z'}
    )
    post = rig.store.post

    def die(qid: str, *given: Any, **more: Any) -> Any:
        if qid == OUTBOX:
            raise StoreUnavailable
        return post(qid, *given, **more)

    with monkeypatch.context() as dying, pytest.raises(StoreUnavailable):
        dying.setattr(rig.store, 'post', die)
        while True:
            fan_out(rig.ctx, rig.store)
    # Pages have others now.
    message_reading_and_deletion.delete(
        rig.ctx,
        scope=Scope('p', 'q'),
        message_id=rig.messages('q')[0].id,
        claim_id=None,
    )
    rig.ahead = fanout.NOTICE_LEASE + 1
    while fan_out(rig.ctx, rig.store):
        pass
    sent = {
        int(bytes(payload.body))
        for record in rig.store.list(PENDING, now=rig.now(), limit=9).messages
        for payload in PendingDelivery.read(rig.ctx.cipher, record).messages
    }
    assert sent == {*range(5)}


def test_a_replay_ends_after_ten_thousand(
    make_rig: MakeRig, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscription_deliveries, 'MAX_REPLAYED', 70)
    rig = make_rig(version=V2_1)
    rig.post(*range(80))
    rig.rests()
    one = rig.subscribe(receiver.url)
    subscription_deliveries.replay(
        rig.ctx, **place(one), document={'since': '2020-01-01T00:00:00Z'}
    )
    got = receiver.wait(70)
    rig.rests()
    assert sorted(each.json['body'] for each in got) == [*range(70)]
    assert len(receiver.got) == 70
