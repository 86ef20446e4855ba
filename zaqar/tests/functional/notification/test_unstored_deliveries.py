# SPDX-License-Identifier: Apache-2.0
"""Deliveries that are made of a claimed notice, without being stored."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from zaqar.controllers import posting, subscriptions
from zaqar.errors import StoreUnavailable
from zaqar.notification import fanout, outbox_worker
from zaqar.notification.cached_subscription_lookup import SubscriptionLookup
from zaqar.notification.claimed_delivery_and_lease import ClaimedDelivery
from zaqar.notification.claims_on_deliveries_and_notices import (
    RENEW,
    PendingClaims,
)
from zaqar.notification.delivery_decision_writer import DecisionWriter
from zaqar.notification.delivery_statistics_and_attempts_writer import (
    DeliveryRecorder,
)
from zaqar.notification.fanout import Fanout
from zaqar.notification.fanout_fairness_between_projects import ProjectShares
from zaqar.notification.referenced_notices import ReferencedNotices
from zaqar.notification.sender_interface import Delivery, Outcome, Verdict
from zaqar.objects import Scope
from zaqar.storage.abstract_stores import OUTBOX, PENDING
from zaqar.tests.functional.notification.conftest import MakeReceiver, MakeRig
from zaqar.tests.functional.notification.rig import Rig
from zaqar.tests.servers.receivers import answer

LONG = 'x' * 5000


class Hosts:
    """Sends to hosts, one of which may take its time."""

    schemes = ('http',)
    holds = ''

    def __init__(self) -> None:
        self.sent: list[Delivery] = []

    async def send(self, delivery: Delivery, *, now: int) -> Outcome:
        self.sent.append(delivery)
        while self.holds == delivery.subscriber:
            await asyncio.sleep(0.01)
        return Outcome(Verdict.DELIVERED)

    def close(self) -> None: ...


class Claims:
    """What a notifier does with notices whose claims may lapse."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._notices = ReferencedNotices(rig.ctx.cipher)
        self._claims = PendingClaims('', rig.ctx.cipher, self._notices)
        self._fanout = Fanout(rig.ctx, self._notices, is_quick=lambda _: True)
        self._writer = DecisionWriter(
            rig.ctx,
            SubscriptionLookup(rig.ctx),
            DeliveryRecorder(rig.management),
        )

    def take(self) -> Sequence[ClaimedDelivery]:
        """Take the deliveries of waiting notices."""
        made = self._fanout.expand(self._rig.store)
        assert made is not None
        return self._claims.take_notices(self._rig.store, made)

    def renew(self) -> None:
        self._claims.renew(self._rig.store)

    def finish(self, *jobs: ClaimedDelivery) -> None:
        for job in jobs:
            self._writer.finish(job)
        self._writer.flush(self._rig.store, self._notices)


def _start(rig: Rig) -> None:
    rig.start()
    rig.until(lambda: rig.notifier and rig.notifier.facts()['stores'])


def test_what_waits_for_a_slow_host_comes_before_later_posts(
    make_rig: MakeRig,
) -> None:
    hosts = Hosts()
    rig = make_rig(running=False, senders={'http': hosts})
    hosts.holds = 'http://a.example/'
    rig.subscribe(hosts.holds)
    _start(rig)
    rig.post(0)
    rig.until(lambda: hosts.sent)
    rig.post(1)
    # Stored since the host takes long, and then that is over.
    rig.until(lambda: rig.stored(PENDING))
    hosts.holds = ''
    rig.post(2)
    rig.rests()
    assert [json.loads(one.body)['body'] for one in hosts.sent] == [0, 1, 2]


def test_what_is_under_way_at_the_end_is_repeated_alone(
    make_rig: MakeRig,
) -> None:
    hosts = Hosts()
    rig = make_rig(running=False, senders={'http': hosts}, request_timeout=0.1)
    hosts.holds = 'http://a.example/'
    for name in 'ab':
        rig.subscribe(f'http://{name}.example/')
    _start(rig)
    rig.post('x')
    rig.until(lambda: len(hosts.sent) == 2)
    rig.stop()
    hosts.holds = ''
    rig.start()
    rig.rests()
    names = sorted(one.subscriber[7] for one in hosts.sent)
    assert names == ['a', 'a', 'b']


def test_what_goes_on_under_a_lapsed_claim_ends_nothing_for_others(
    make_rig: MakeRig,
) -> None:
    rig = make_rig(running=False)
    first, *_ = [rig.subscribe(f'http://{name}.example/') for name in 'abc']
    rig.post(LONG)
    claims = Claims(rig)
    former = claims.take()
    rig.ahead = fanout.NOTICE_LEASE + 1
    claims.renew()
    assert [one.is_lost for one in former] == [True] * 3
    place = {'scope': Scope('p', 'q'), 'subscription_id': first}
    subscriptions.delete(rig.ctx, **place)
    again = claims.take()
    assert [one.host[0] for one in again] == ['b', 'c']
    # All but the second one, which neither has notified.
    claims.finish(former[0], former[2], again[1])
    assert rig.stored(OUTBOX)
    claims.finish(again[0])
    assert not rig.waiting()


def test_a_notice_that_is_lost_takes_no_other_away(make_rig: MakeRig) -> None:
    rig = make_rig(running=False)
    rig.subscribe('http://a.example/')
    rig.post('x')
    rig.post('y')
    claims = Claims(rig)
    jobs = claims.take()
    # By a notifier that had claimed it before.
    done = rig.stored(OUTBOX)[0].id
    rig.store.delete_many(OUTBOX, [done], now=rig.now())
    rig.ahead = RENEW // 1000 + 1
    claims.renew()
    assert [one.is_lost for one in jobs] == [True, False]
    claims.finish(*jobs)
    assert not rig.waiting()


def test_dead_letters_that_cannot_be_stored_hold_up_no_other_project(
    make_rig: MakeRig,
    make_receiver: MakeReceiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    post = posting.post

    def fail(ctx: Any, *, scope: Scope, **more: Any) -> Any:
        if scope == Scope('p', 'dead'):
            raise StoreUnavailable
        return post(ctx, scope=scope, **more)

    # Two deliveries at a time.
    monkeypatch.setattr(
        outbox_worker, 'ProjectShares', lambda due: ProjectShares(2, 2, due)
    )
    monkeypatch.setattr(posting, 'post', fail)
    rig = make_rig(running=False)
    url = make_receiver(answer(404)).url
    for project in ('p', 'other'):
        subscriptions.create(
            rig.ctx,
            scope=Scope(project, 'q'),
            document={
                'subscriber': url,
                'options': {'_dead_letter_queue': 'dead'},
            },
        )
    _start(rig)
    for number in range(4):
        rig.post(number)
    post(
        rig.ctx,
        scope=Scope('other', 'q'),
        document=posting.Post(
            [posting.PostedMessage(body=msgspec.Raw(b'"x"'))]
        ),
    )
    rig.until(lambda: rig.catalogue.find(Scope('other', 'dead')))
    monkeypatch.setattr(posting, 'post', post)
    rig.rests()
    letters = [one['notification']['body'] for one in rig.bodies('dead')]
    assert sorted(letters) == [0, 1, 2, 3]
