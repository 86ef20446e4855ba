# SPDX-License-Identifier: Apache-2.0
"""Whatever keeps the outbox: each subscriber is told, at once or later."""

from __future__ import annotations

import collections
import os
import secrets
import threading
from collections.abc import Callable, Iterator
from typing import Any

import msgspec
import pytest

from zaqar.controllers import (
    posting,
    subscription_deliveries,
    subscription_expiry_and_count_records,
    subscription_records,
    subscriptions,
)
from zaqar.notification import fanout
from zaqar.notification.claimed_delivery_and_lease import LEASE
from zaqar.notification.fanout import Fanout
from zaqar.notification.fanout_fairness_between_projects import (
    HOLD,
    ProjectShares,
)
from zaqar.notification.host_fair_scheduler import Scheduler
from zaqar.notification.pending_delivery import PendingDelivery
from zaqar.objects import Record, Scope
from zaqar.storage.abstract_stores import PENDING
from zaqar.tests.contract import (  # noqa: F401
    harnesses,
    mongodb_harness,
    swift_harness,
)
from zaqar.tests.contract.harnesses import Harness
from zaqar.tests.functional.notification.conftest import MakeReceiver, MakeRig
from zaqar.tests.functional.notification.rig import FEW, Rig, fan_out
from zaqar.tests.servers.receivers import Receiver, answer, in_turn

SCOPE = Scope('p', 'q')
HOUR = 3600

#: A subscriber that is never notified here.
NOBODY = 'http://a.example/'

#: The life of Heat's subscriptions.
HEATS_TTL = 220_367_260_800

#: One more attempt, in a while.
LATER = {
    **FEW,
    'minimum_delay_retries': 1,
    'minimum_delay': 100,
    'maximum_delay': 110,
}


#: One of each driver: what they promise is tested by their contract.
KINDS = [
    kind
    for kind in harnesses.chosen()
    if 'ZAQAR_TEST_ENGINE' in os.environ
    or kind.name in ('sqlite', 'postgresql', 'redis', 'mongodb', 'swift')
]


@pytest.fixture(scope='module', params=KINDS, ids=lambda kind: kind.name)
def harness(request: pytest.FixtureRequest) -> Iterator[Harness]:
    """A driver with a server under it."""
    started: Harness = request.param()
    started.start()
    yield started
    started.stop()


@pytest.fixture
def rig(make_rig: MakeRig, harness: Harness) -> Rig:
    """A notifier that is still to be started, on a store of that kind."""
    uri = harness.database()
    stores = harness.open_messages(uri), harness.open_management(uri)
    return make_rig(running=False, stores=stores)


def test_each_subscriber_gets_each_message(
    rig: Rig, make_receiver: MakeReceiver
) -> None:
    receivers = [make_receiver() for _ in range(2)]
    failing = make_receiver(in_turn(answer(503), answer(200)))
    subscribers = [
        rig.subscribe(one.url, ttl=HEATS_TTL, _retry_policy=LATER)
        for one in (*receivers, failing)
    ]
    # Deliveries of a long one refer to the notice.
    long = 'c' * 2000
    rig.post('a', 'b')
    rig.post(long)
    rig.start()
    for receiver in receivers:
        assert sorted(got.json['body'] for got in receiver.wait(3)) == [
            *('a', 'b', long)
        ]
    # What has failed once waits for its time.
    failing.wait(3)
    rig.put_off()
    rig.ahead = 112
    again = failing.wait(4)[3]
    assert again.headers['x-zaqar-attempt'] == '2'
    rig.rests()
    for one in subscribers:
        rig.until(lambda one=one: rig.deliveries(one)['delivered'] == 3)
    assert [len(receiver.got) for receiver in receivers] == [3, 3]


def test_what_was_given_up_and_what_is_held_is_sent_again(
    rig: Rig, make_receiver: MakeReceiver
) -> None:
    receiver = make_receiver(in_turn(answer(404), answer(200)))
    one = rig.subscribe(receiver.url, ttl=HEATS_TTL)
    place = {'scope': SCOPE, 'subscription_id': one}
    rig.post({'n': 1})
    rig.start()
    (given_up,) = rig.until(
        lambda: (
            subscription_deliveries.attempts(
                rig.ctx, **place, state='given_up', marker=None, limit=None
            ).attempts
        )
    )
    subscription_deliveries.resend(rig.ctx, **place, attempt_id=given_up.id)
    again = receiver.wait(2)[1]
    assert again.headers['webhook-id'] == given_up.id
    rig.post({'n': 2})
    receiver.wait(3)
    rig.rests()
    document = {'since': '2020-01-01T00:00:00Z'}
    subscription_deliveries.replay(rig.ctx, **place, document=document)
    bodies = [got.json['body']['n'] for got in receiver.wait(5)]
    assert bodies == [1, 1, 2, 1, 2]
    rig.rests()


def test_nobody_is_woken_for_nothing(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make_rig(running=False)
    calls: collections.Counter[str] = collections.Counter()

    def counted(owner: object, name: str) -> None:
        original = getattr(owner, name)

        def call(*arguments: object, **more: object) -> object:
            thread, _, _ = threading.current_thread().name.partition(' ')
            calls[f'{thread}: {name}'] += 1
            return original(*arguments, **more)

        monkeypatch.setattr(owner, name, call)

    rig.start()
    rig.post('x')
    rig.rests()
    counted(rig.store, 'claim')
    counted(Scheduler, 'check')
    counted(Scheduler, 'take')
    rig.until(lambda: calls['outbox: claim'] >= 24)
    # The event loop rests while there is nothing to send: it looks once more
    # after what it has sent.
    assert calls['deliveries: check'] <= 1
    assert calls['deliveries: take'] <= 1


#: JSON by its grammar that no decoder of proper text takes.
SURROGATE = rb'{"text": "\ud800 caf\u00e9", "n":  1}'


def test_a_lone_surrogate_loses_nothing_of_its_post(
    rig: Rig, receiver: Receiver, make_receiver: MakeReceiver
) -> None:
    rig.subscribe(receiver.url)
    failing = make_receiver(in_turn(answer(503), answer(200)))
    rig.subscribe(failing.url, _retry_policy=LATER)
    bodies = [b'"before"', SURROGATE, b'"after"']
    rig.post_raw(*bodies)
    rig.start()
    for got, body in zip(receiver.wait(3), bodies, strict=True):
        # As it came: not a byte of it is another one.
        assert body in got.body
    failing.wait(3)
    rig.put_off()
    rig.ahead = 112
    assert bodies[0] in failing.wait(4)[3].body
    rig.rests()


def test_a_lone_surrogate_arrives_by_template_and_as_a_dead_letter(
    rig: Rig, receiver: Receiver, make_receiver: MakeReceiver
) -> None:
    rig.subscribe(receiver.url, post_data='["$zaqar_message$"]')
    refusing = make_receiver(answer(404))
    rig.subscribe(refusing.url, _dead_letter_queue='dead')
    rig.post_raw(SURROGATE)
    rig.start()
    assert SURROGATE in receiver.wait(1)[0].body
    rig.rests()
    (letter,) = rig.messages('dead')
    assert SURROGATE in letter.body


def test_what_a_dead_notifier_held_is_told_by_another(
    rig: Rig, receiver: Receiver
) -> None:
    rig.subscribe(receiver.url)
    rig.post('x')
    rig.start()
    receiver.wait(1)
    rig.rests()
    rig.stop()
    # As far as it got before it died: expanded, claimed, not told.
    rig.post('y')
    with_due = expanded(rig)
    claim = rig.store.claim(
        PENDING,
        now=rig.now(),
        claim_id=secrets.token_hex(16),
        ttl=LEASE,
        grace=LEASE,
        limit=10,
    )
    assert claim is not None
    assert [one.id for one in claim.messages] == with_due
    rig.start()
    rig.post('z')
    receiver.wait(2)
    assert [got.json['body'] for got in receiver.got] == ['x', 'z']
    # The latter is written, too; else its claim would lapse as well.
    rig.until(lambda: [one.id for one in rig.waiting()] == with_due)
    rig.ahead = LEASE + 1
    assert receiver.wait(3)[2].json['body'] == 'y'
    rig.rests()


def _post(rig: Rig, project: str, *bodies: int) -> None:
    for body in bodies:
        messages = [posting.PostedMessage(body=msgspec.Raw(b'%d' % body))]
        posting.post(
            rig.ctx,
            scope=Scope(project, 'q'),
            document=posting.Post(messages),
        )


def _made(rig: Rig, shares: ProjectShares) -> list[tuple[str, int]]:
    """Fan out once, and take what is due then: projects, and bodies."""
    expansion = Fanout(rig.ctx, shares=shares).expand(rig.store)
    if expansion is not None:
        expansion.finish()
    due = rig.store.pop(PENDING, now=rig.now(), limit=100)
    pending = [PendingDelivery.read(rig.ctx.cipher, one) for one in due]
    shares.due.claim([], is_all=True)
    shares.give_back(rig.store)
    return [(one.project, int(bytes(one.messages[0].body))) for one in pending]


def test_a_project_with_a_backlog_does_not_stand_before_others(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fanout, 'BATCH', 5)
    for project in ('loud', 'quiet'):
        subscriptions.create(
            rig.ctx,
            scope=Scope(project, 'q'),
            document={'subscriber': NOBODY, 'ttl': HOUR, 'options': {}},
        )
    _post(rig, 'loud', *range(12))
    _post(rig, 'quiet', 0)
    shares = ProjectShares(2, 2)
    # It comes as soon as its notice is read, not when it is the first one.
    made = [_made(rig, shares) for _ in range(4)]
    assert ('quiet', 0) in made[3]
    assert sum(map(len, made)) <= 8
    # Who dies has given nothing back: another one has it a while later.
    shares = ProjectShares(2, 2)
    rig.ahead = HOLD + fanout.NOTICE_LEASE
    while some := _made(rig, shares):
        made.append(some)
    loud = [
        body for some in made for project, body in some if project == 'loud'
    ]
    assert loud == list(range(12))
    assert not rig.waiting()


def test_what_is_not_stored_is_made_again_if_the_notifier_dies(
    rig: Rig,
) -> None:
    ids = {rig.subscribe(f'{NOBODY}{name}') for name in ('a', 'b')}
    rig.post('x')
    counted: list[Any] = []

    def unstored() -> Any:
        expansion = Fanout(
            rig.ctx,
            is_quick=lambda _: True,
            count_bytes=lambda *change: counted.append(change),
        ).expand(rig.store)
        if expansion is None:
            return None
        expansion.finish()
        (made,) = expansion.unstored.values()
        assert {pending.subscription for pending in made} == ids
        return [pending.id for pending in made]

    first = unstored()
    # The notice is all that there is, and nobody else has it.
    assert len(rig.waiting()) == 1
    assert unstored() is None
    rig.ahead = fanout.NOTICE_LEASE + 1
    assert unstored() == first
    # Who dies gives nothing back.
    assert not counted


def _enrol(rig: Rig) -> None:
    rig.subscribe(NOBODY)


def _list(rig: Rig) -> None:
    fan_out(rig.ctx, rig.store)


def _sweep(rig: Rig) -> None:
    subscription_records.sweep(rig.ctx, 10)


@pytest.mark.parametrize('remove', [_enrol, _list, _sweep])
def test_a_subscription_that_is_renewed_while_it_is_removed_stays(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, remove: Callable[[Rig], None]
) -> None:
    one = rig.subscribe(NOBODY, ttl=HOUR)
    rig.post('before')
    delete = rig.management.delete

    def renew_first(kind: str, *key: str, **more: Any) -> Record | None:
        if kind == subscription_records.SUBSCRIPTION:
            monkeypatch.undo()
            # By a request that came in time, and took long.
            rig.ahead = HOUR - 10
            subscriptions.update(
                rig.ctx,
                scope=SCOPE,
                subscription_id=one,
                document={'ttl': 2 * HOUR},
            )
            rig.ahead = HOUR + 10
        return delete(kind, *key, **more)

    monkeypatch.setattr(rig.management, 'delete', renew_first)
    rig.ahead = HOUR + 10
    remove(rig)
    assert rig.management.delete == delete, 'nobody has removed it'
    subscriptions.show(rig.ctx, scope=SCOPE, subscription_id=one)
    assert rig.subscribe(NOBODY, ttl=2 * HOUR) == one
    # The queue is marked, and the subscription will be swept.
    _fan_out_all(rig)
    waiting = len(rig.waiting())
    rig.post('after')
    _fan_out_all(rig)
    assert len(rig.waiting()) == waiting + 1
    rig.ahead = 3 * HOUR
    for _ in range(2):
        subscription_records.sweep(rig.ctx, 10)
    assert not rig.management.count(
        subscription_expiry_and_count_records.ENDING,
        subscription_expiry_and_count_records.PARENT,
    )


def _fan_out_all(rig: Rig) -> None:
    while fan_out(rig.ctx, rig.store):
        pass


def expanded(rig: Rig) -> list[str]:
    """Make dues of the notices, as a notifier does; return their ids."""
    assert fan_out(rig.ctx, rig.store) == 1
    page = rig.store.list(PENDING, now=rig.now(), limit=10)
    return [one.id for one in page.messages]
