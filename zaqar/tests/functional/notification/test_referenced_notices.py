# SPDX-License-Identifier: Apache-2.0
"""A body is stored once, whoever waits for it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from msgspec import structs

from zaqar.controllers import (
    outbox_notices,
    subscription_records,
    subscriptions,
)
from zaqar.controllers.outbox_notices import FANNED_OUT
from zaqar.controllers.rate_limits import DELIVERIES, RateSettings, Throttle
from zaqar.errors import StoreUnavailable
from zaqar.notification import referenced_notices
from zaqar.notification.fanout import Fanout
from zaqar.notification.pending_delivery import PendingDelivery
from zaqar.notification.referenced_notices import (
    DELAY,
    SCAN_INTERVAL,
    ReferencedNotices,
)
from zaqar.notification.sender_interface import Delivery, Outcome, Verdict
from zaqar.objects import Message, Scope
from zaqar.storage.abstract_stores import OUTBOX, PENDING
from zaqar.tests.functional.notification.conftest import (
    MakeReceiver,
    MakeRig,
)
from zaqar.tests.functional.notification.rig import FEW, KEY, Rig, fan_out
from zaqar.tests.servers.receivers import Receiver, answer, in_turn

LONG = 'x' * 5000

#: A retry after a second.
SOON = {
    **FEW,
    'minimum_delay_retries': 9,
    'minimum_delay': 1,
    'maximum_delay': 11,
}

SCOPE = Scope('p', 'q')


@pytest.mark.parametrize('key', [None, KEY])
def test_deliveries_refer_to_the_notice_until_all_are_made(
    make_rig: MakeRig, make_receiver: MakeReceiver, key: str | None
) -> None:
    receiver = make_receiver()
    rig = make_rig(running=False, key=key, encrypted_over_http=True)
    rig.queue(_enable_encrypt_messages=key is not None)
    for path in range(3):
        rig.subscribe(f'{receiver.url}/{path}')
    rig.post(LONG, 'short', ttl=300)
    assert fan_out(rig.ctx, rig.store) == 1
    (notice,) = rig.stored(OUTBOX)
    assert notice.reason == FANNED_OUT
    pending = rig.stored(PENDING)
    assert [len(one.body) < 1000 for one in pending] == [True] * 3
    # Nothing is fanned out twice.
    assert fan_out(rig.ctx, rig.store) == 0
    rig.start()
    got = receiver.wait(6)
    assert sorted((one.path, one.json['body']) for one in got) == sorted(
        (f'/{path}', body) for path in range(3) for body in (LONG, 'short')
    )
    rig.until(lambda: not rig.stored(PENDING))
    # Who has fanned out is not this notifier, which does not know whether
    # there are others.
    assert rig.stored(OUTBOX)
    rig.ahead = DELAY
    rig.rests()


def test_the_notice_goes_with_the_last_delivery(
    make_rig: MakeRig, make_receiver: MakeReceiver
) -> None:
    receiver = make_receiver()
    failing = make_receiver(in_turn(answer(500), answer(200)))
    rig = make_rig()
    rig.subscribe(receiver.url)
    rig.subscribe(failing.url, _retry_policy=FEW)
    rig.post(LONG)
    receiver.wait(1)
    rig.put_off()
    rig.until(lambda: len(rig.stored(PENDING)) == 1)
    # The retry refers to it, too.
    (retried,) = rig.stored(PENDING)
    assert len(retried.body) < 1000
    assert len(rig.stored(OUTBOX)) == 1
    rig.ahead = FEW['minimum_delay'] * 1.2
    assert failing.wait(2)[1].json['body'] == LONG
    rig.rests()


def test_a_notice_stays_for_what_is_not_finished(make_rig: MakeRig) -> None:
    retry, fine = Outcome(Verdict.RETRY), Outcome(Verdict.DELIVERED)
    server = Server({'a': [retry, fine], 'b': [retry, fine]})
    rig = make_rig(running=False, senders={'http': server})
    for name in 'ab':
        rig.subscribe(f'http://{name}.example/{name}', _retry_policy=SOON)
    server.holds = 'b'
    rig.start()
    rig.until(lambda: rig.notifier and rig.notifier.facts()['stores'])
    rig.post(LONG)
    # One has failed, and then succeeded, while the other is under way.
    rig.until(lambda: rig.stored(PENDING))
    rig.ahead = 3
    rig.until(lambda: len(server.sent) == 3 and not rig.stored(PENDING))
    server.holds = ''
    rig.put_off()
    rig.ahead = 6
    rig.rests()
    bodies = [json.loads(one.body)['body'] for one in server.sent]
    assert bodies == [LONG] * 4


def test_a_notice_stays_while_anything_refers_to_it(
    make_rig: MakeRig, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make_rig(running=False)
    rig.subscribe(receiver.url)
    rig.post(LONG)
    fan_out(rig.ctx, rig.store)
    fanout = Fanout(rig.ctx)
    for _ in range(2):
        rig.ahead += DELAY
        assert fanout.expand(rig.store) is not None
        assert len(rig.stored(OUTBOX)) == 1
    # Without a look at all deliveries nothing is removed, and that is rare.
    rig.store.delete_many(
        PENDING, [one.id for one in rig.stored(PENDING)], now=rig.now()
    )
    rig.ahead += DELAY
    fanout.expand(rig.store)
    assert len(rig.stored(OUTBOX)) == 1
    rig.ahead += DELAY
    later = referenced_notices.time.monotonic() + SCAN_INTERVAL
    monkeypatch.setattr(referenced_notices.time, 'monotonic', lambda: later)
    fanout.expand(rig.store)
    assert not rig.waiting()


def test_more_deliveries_than_are_remembered_have_their_notice(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(referenced_notices, 'MAX_AWAITED', 2)
    rig = make_rig(running=False)
    for path in range(4):
        rig.subscribe(f'http://127.0.0.1:1/{path}')
    rig.post(LONG)
    notices = ReferencedNotices(rig.ctx.cipher)
    Fanout(rig.ctx, notices).expand(rig.store)
    for one in rig.stored(PENDING)[1:]:
        notices.finish(rig.store, [one.id])
    assert rig.stored(OUTBOX)


def test_a_full_cache_loses_no_delivery(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(referenced_notices, 'MAX_CACHED', 1)
    rig = make_rig(running=False)
    rig.subscribe('http://127.0.0.1:1/')
    rig.post(LONG)
    rig.post(LONG)
    notices = ReferencedNotices(rig.ctx.cipher)
    Fanout(rig.ctx, notices).expand(rig.store)
    pending = [
        (one, PendingDelivery.read(rig.ctx.cipher, one))
        for one in rig.stored(PENDING)
    ]
    # The first one that is read takes the place of the other one.
    assert len(notices.load(rig.store, pending).ready) == 2


def test_deliveries_whose_notice_cannot_be_read_now_are_made_later(
    make_rig: MakeRig,
    make_receiver: MakeReceiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    receiver = make_receiver()
    rig = make_rig(running=False)
    rig.subscribe(receiver.url)
    rig.post(LONG)
    assert fan_out(rig.ctx, rig.store) == 1
    errors, get = [StoreUnavailable()], rig.store.get

    def fail_once(qid: str, *given: Any, **more: Any) -> Sequence[Message]:
        if qid == OUTBOX and errors:
            raise errors.pop()
        return get(qid, *given, **more)

    monkeypatch.setattr(rig.store, 'get', fail_once)
    rig.start()
    receiver.wait(1)
    rig.until(lambda: not rig.stored(PENDING))
    assert not errors


def test_a_late_retry_has_its_messages(rig: Rig) -> None:
    pending = PendingDelivery(
        *('id', 'p', 'q', 's', 'h', rig.now()),
        messages=[outbox_notices.Payload(msgspec.Raw(b'"x"'), 60)],
        source='a notice',
    )
    day = 86_400

    def body(days: int) -> bytes:
        return pending.to_store(
            rig.ctx.cipher, ttl=60, delay=days * day, now=rig.now()
        ).body

    assert b'"x"' not in body(14)
    # The notice lives for thirty days.
    assert b'"x"' in body(16)


def test_dead_letters_have_the_body(
    make_rig: MakeRig, make_receiver: MakeReceiver
) -> None:
    receiver = make_receiver(answer(404))
    rig = make_rig()
    rig.subscribe(receiver.url, _dead_letter_queue='dead')
    rig.post(LONG)
    rig.rests()
    (letter,) = rig.bodies('dead')
    assert letter['notification']['body'] == LONG


class Server:
    """A WebSocket server as its notifiers see it.

    :param outcomes: of each connection, by its name
    """

    schemes = ('websocket',)
    #: The connection that takes its time.
    holds = ''

    def __init__(self, outcomes: dict[str, list[Outcome]]) -> None:
        self._outcomes = outcomes
        self.pushes: list[tuple[str, Sequence[str], Sequence[bytes]]] = []
        self.sent: list[Delivery] = []

    async def send(self, delivery: Delivery, *, now: int) -> Outcome:
        self.sent.append(delivery)
        name = delivery.subscriber.rpartition('/')[2]
        while self.holds == name:
            await asyncio.sleep(0.01)
        return self._outcome(name)

    async def push(
        self,
        node: str,
        connections: Sequence[str],
        texts: Sequence[bytes],
        **times: int,
    ) -> Any:
        self.pushes.append((node, connections, texts))
        if 'server' in self._outcomes:
            outcome = self._outcome('server')
            if outcome.verdict is not Verdict.DELIVERED:
                return outcome
        outcomes = [self._outcome(one) for one in connections]
        return [outcomes] * len(texts)

    def close(self) -> None: ...

    def _outcome(self, name: str) -> Outcome:
        outcomes = self._outcomes.get(name) or [Outcome(Verdict.DELIVERED)]
        return outcomes.pop(0) if len(outcomes) > 1 else outcomes[0]


def _sockets(
    make_rig: MakeRig,
    throttle: Throttle | None = None,
    **outcomes: list[Outcome],
) -> tuple[Rig, Server, list[str]]:
    """Return a notifier with three connections of one server, by their ids."""
    server = Server(outcomes)
    rig = make_rig(
        running=False, senders={'websocket': server}, throttle=throttle
    )
    ids = []
    for name in 'abc':
        # As a request by that connection.
        identity = structs.replace(
            rig.ctx.identity, address=f'websocket://node/{name}'
        )
        ctx = structs.replace(rig.ctx, identity=identity)
        created = subscriptions.create(ctx, scope=SCOPE, document={})
        ids.append(created.id)
    return rig, server, ids


def _count(rig: Rig) -> int:
    return len(list(subscription_records.live(rig.ctx, SCOPE, rig.now())))


@pytest.mark.parametrize('body', ['short', LONG, 'lone \ud800'])
def test_connections_of_a_server_are_handed_over_together(
    make_rig: MakeRig, body: str
) -> None:
    throttle = Throttle(RateSettings(deliveries=0.01, burst=1000.0))
    rig, server, ids = _sockets(make_rig, throttle)
    rig.post_raw(json.dumps(body).encode(), b'"other"')
    rig.start()
    rig.rests()
    ((node, connections, texts),) = server.pushes
    assert (node, sorted(connections)) == ('node', ['a', 'b', 'c'])
    assert [json.loads(text)['body'] for text in texts] == [body, 'other']
    assert server.sent == []
    rig.stop()
    assert [rig.deliveries(one)['delivered'] for one in ids] == [2, 2, 2]
    # Of the ten that the project had.
    pauses = [throttle.pause('p', [DELIVERIES]) for _ in range(5)]
    assert [bool(pause) for pause in pauses] == [False] * 4 + [True]


def test_what_one_does_not_take_is_its_own_delivery(
    make_rig: MakeRig,
) -> None:
    full = Outcome(Verdict.RETRY, 'the connection takes nothing')
    gone = Outcome(Verdict.GONE, 'the connection is gone')
    rig, server, ids = _sockets(
        make_rig, b=[full, full, Outcome(Verdict.DELIVERED)], c=[gone]
    )
    rig.post(LONG)
    rig.start()
    rig.rests()
    assert len(server.pushes) == 1
    assert {one.subscription for one in server.sent} == set(ids[1:])
    rig.stop()
    counts = [rig.deliveries(one) for one in ids[:2]]
    assert [one['delivered'] for one in counts] == [1, 1]
    assert [one['retried'] for one in counts] == [0, 1]
    assert _count(rig) == 2


def test_a_server_that_cannot_be_reached_is_tried_again_for_all(
    make_rig: MakeRig,
) -> None:
    away = Outcome(Verdict.RETRY, 'the server cannot be reached')
    rig, server, _ = _sockets(
        make_rig, server=[away, Outcome(Verdict.DELIVERED)]
    )
    rig.post(LONG)
    rig.start()
    rig.until(lambda: server.pushes)
    rig.ahead = 2
    rig.rests()
    assert [sorted(one) for _, one, _ in server.pushes] == [
        ['a', 'b', 'c']
    ] * 2
    assert server.sent == []


def test_who_has_unsubscribed_meanwhile_gets_nothing(
    make_rig: MakeRig,
) -> None:
    rig, server, ids = _sockets(make_rig)
    rig.post('x')
    fan_out(rig.ctx, rig.store)
    subscriptions.delete(rig.ctx, scope=SCOPE, subscription_id=ids[0])
    rig.ahead = 2
    rig.start()
    rig.rests()
    ((_, connections, _),) = server.pushes
    assert sorted(connections) == ['b', 'c']
