# SPDX-License-Identifier: Apache-2.0
"""Failure is visible, bounded, and no business of others."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from zaqar import metrics
from zaqar.controllers import message_extras_codec, posting, subscriptions
from zaqar.controllers.outbox_records import LIFETIME, REQUEUE_SECONDS
from zaqar.errors import InvalidRequest, NotFound, StoreUnavailable
from zaqar.metrics import Metrics
from zaqar.notification import (
    dead_letters,
    pending_delivery_counts_per_project,
    pending_delivery_limit_per_project,
)
from zaqar.notification.claimed_delivery_and_lease import LEASE
from zaqar.notification.delivery_event_loop import DeliveryLoop
from zaqar.notification.outbox_worker import OutboxWorker
from zaqar.notification.pending_delivery import PendingDelivery
from zaqar.notification.sender_interface import Delivery, Outcome, Verdict
from zaqar.objects import NewMessage, Scope
from zaqar.storage.abstract_stores import OUTBOX, PENDING
from zaqar.tests.functional.notification.conftest import (
    MakeReceiver,
    MakeRig,
    MakeSilent,
)
from zaqar.tests.functional.notification.rig import FEW, KEY, Rig, fan_out
from zaqar.tests.recorder import Recorder
from zaqar.tests.servers.receivers import Receiver, answer

SCOPE = Scope('p', 'q')
DAY = 86_400


def test_what_is_given_up_goes_to_the_queue_the_subscription_names(
    rig: Rig, make_receiver: MakeReceiver
) -> None:
    receiver = make_receiver(answer(404))
    one = rig.subscribe(receiver.url, _dead_letter_queue='dead')
    rig.post({'n': 1}, ttl=300)
    rig.rests()
    (message,) = rig.messages('dead')
    story = message_extras_codec.decode(message.extras).dead_letter
    assert story is not None
    assert (story.queue, story.reason) == ('q', 'answered 404')
    assert (story.claim_count, story.ttl) == (0, 300)
    assert abs(story.at - rig.now()) < 60_000
    (letter,) = rig.bodies('dead')
    assert letter == {
        'notification': {
            'body': {'n': 1},
            'ttl': 300,
            'queue_name': 'q',
            'Message_Type': 'Notification',
        },
        'subscription_id': one,
        'subscriber': receiver.url,
        'attempts': 1,
        'reason': 'answered 404',
    }


def test_dead_letters_are_announced_to_nobody(
    rig: Rig, make_receiver: MakeReceiver, receiver: Receiver
) -> None:
    refusing = make_receiver(answer(404))
    rig.subscribe(refusing.url, _dead_letter_queue='q')
    rig.post('x')
    refusing.wait(1)
    rig.rests()
    # The letter lies in the very queue, and does not go round.
    assert len(rig.bodies('q')) == 2
    assert len(refusing.got) == 1


def test_a_full_queue_takes_dead_letters(
    make_rig: MakeRig, make_receiver: MakeReceiver
) -> None:
    rig = make_rig()
    rig.queue('dead', _max_messages=1)
    rig.subscribe(make_receiver(answer(404)).url, _dead_letter_queue='dead')
    rig.post('a', 'b', 'c')
    rig.rests()
    letters = [one['notification']['body'] for one in rig.bodies('dead')]
    assert letters == ['a', 'b', 'c']


def test_the_owner_sees_that_a_letter_was_not_stored(
    rig: Rig, make_receiver: MakeReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    post = posting.post

    def refuse(*given: Any, is_bounded: bool = True, **more: Any) -> Any:
        if not is_bounded:
            raise InvalidRequest('No pool takes it.')
        return post(*given, **more)

    one = rig.subscribe(
        make_receiver(answer(404)).url, _dead_letter_queue='dead'
    )
    monkeypatch.setattr(posting, 'post', refuse)
    rig.post('x')
    rig.until(lambda: rig.deliveries(one)['given_up'] == 1)
    reason = rig.deliveries(one)['last_failure']['reason']
    assert reason.startswith('answered 404; it could not be stored in dead: ')
    assert 'No pool takes it.' in reason


def test_what_is_given_up_is_counted_once(
    rig: Rig, make_receiver: MakeReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    post, calls = posting.post, []

    def fail_once(
        *arguments: Any, is_bounded: bool = True, **more: Any
    ) -> Any:
        if not is_bounded:
            calls.append(1)
            if len(calls) == 1:
                raise StoreUnavailable
        return post(*arguments, is_bounded=is_bounded, **more)

    monkeypatch.setattr(posting, 'post', fail_once)
    one = rig.subscribe(
        make_receiver(answer(404)).url, _dead_letter_queue='dead'
    )
    rig.post('x')
    rig.rests()
    rig.until(lambda: rig.deliveries(one)['given_up'])
    assert len(calls) == 2
    assert rig.deliveries(one)['given_up'] == 1
    assert len(rig.bodies('dead')) == 1


def test_an_error_that_nobody_expects_loses_no_dead_letter(
    rig: Rig, make_receiver: MakeReceiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: Any, **more: Any) -> Any:
        raise LookupError('a fault of ours')

    receiver = make_receiver(answer(404))
    rig.subscribe(receiver.url, _dead_letter_queue='dead')
    rig.post('x', 'y')
    with monkeypatch.context() as patched:
        patched.setattr(dead_letters, 'dead_letter', fail)
        receiver.wait(2)
        rig.until(
            lambda: any(b'"first":1' in one.body for one in rig.waiting())
        )
    rig.ahead = REQUEUE_SECONDS + 2
    rig.rests()
    letters = [one['notification']['body'] for one in rig.bodies('dead')]
    assert sorted(letters) == ['x', 'y']


@pytest.mark.parametrize('name', ['', 'no/name', 7, None])
def test_a_dead_letter_queue_must_be_a_queue(rig: Rig, name: object) -> None:
    with pytest.raises(InvalidRequest, match='_dead_letter_queue'):
        rig.subscribe('http://a.example/', _dead_letter_queue=name)


def test_nothing_is_known_of_a_subscription_that_has_ended(
    rig: Rig, receiver: Receiver
) -> None:
    one = rig.subscribe(receiver.url)
    rig.post('x')
    rig.until(lambda: rig.deliveries(one)['delivered'])
    subscriptions.delete(rig.ctx, scope=SCOPE, subscription_id=one)
    with pytest.raises(NotFound):
        rig.deliveries(one)


def test_a_new_subscription_has_a_clean_record(rig: Rig) -> None:
    one = rig.subscribe('http://a.example/')
    assert rig.deliveries(one) == {
        'delivered': 0,
        'retried': 0,
        'given_up': 0,
        'last_delivery_at': None,
        'last_failure': None,
    }


def test_a_day_of_nothing_but_410_ends_a_subscription(
    rig: Rig, make_receiver: MakeReceiver
) -> None:
    receiver = make_receiver(answer(410))
    one = rig.subscribe(receiver.url, ttl=10 * DAY)
    rig.post('x')
    rig.until(lambda: rig.deliveries(one)['given_up'] == 1)
    rig.rests()
    rig.ahead = DAY - 10
    rig.post('y')
    rig.until(lambda: rig.deliveries(one)['given_up'] == 2)
    rig.rests()
    rig.ahead = DAY + 10
    rig.post('z')
    receiver.wait(3)

    def is_gone() -> bool:
        try:
            rig.deliveries(one)
        except NotFound:
            return True
        return False

    rig.until(is_gone)


def test_a_subscriber_that_is_replaced_while_it_answers_410_is_not_removed(
    rig: Rig, make_receiver: MakeReceiver, receiver: Receiver
) -> None:
    gone = make_receiver(answer(410))
    one = rig.subscribe(gone.url, ttl=10 * DAY)
    rig.post('x')
    rig.until(lambda: rig.deliveries(one)['given_up'] == 1)

    def replaced(handler: Any, number: int) -> None:
        subscriptions.update(
            rig.ctx,
            scope=SCOPE,
            subscription_id=one,
            document={'subscriber': receiver.url},
        )
        answer(410)(handler, number)

    rig.rests()
    gone.behave = replaced
    rig.ahead = DAY + 10
    rig.post('y')
    gone.wait(2)
    rig.rests()
    rig.post('z')
    assert receiver.wait(1)[0].json['body'] == 'z'


def test_a_day_with_anything_else_than_410_ends_nothing(
    rig: Rig, make_receiver: MakeReceiver
) -> None:
    receiver = make_receiver(answer(410))
    one = rig.subscribe(receiver.url, ttl=10 * DAY)
    rig.post('x')
    rig.until(lambda: rig.deliveries(one)['given_up'] == 1)
    rig.rests()
    receiver.behave = answer(200)
    rig.ahead = DAY / 2
    rig.post('y')
    rig.until(lambda: rig.deliveries(one)['delivered'] == 1)
    rig.rests()
    receiver.behave = answer(410)
    rig.ahead = DAY + 10
    rig.post('z')
    rig.until(lambda: rig.deliveries(one)['given_up'] == 2)
    rig.rests()
    assert rig.deliveries(one)['given_up'] == 2


def test_a_change_of_the_subscriber_counts_for_what_waits(
    rig: Rig, make_receiver: MakeReceiver, receiver: Receiver
) -> None:
    failing = make_receiver(answer(500))
    policy = {
        **FEW,
        'minimum_delay_retries': 9,
        'minimum_delay': 1,
        'maximum_delay': 11,
    }
    one = rig.subscribe(failing.url, _retry_policy=policy)
    rig.post('x')
    rig.put_off()
    subscriptions.update(
        rig.ctx,
        scope=SCOPE,
        subscription_id=one,
        document={'subscriber': receiver.url},
    )
    # An attempt or so may go by what was known a moment ago.
    assert receiver.wait(1)[0].json['body'] == 'x'


def test_ten_hosts_that_hang_hold_up_nobody(
    rig: Rig, make_silent: MakeSilent, make_receiver: MakeReceiver
) -> None:
    for number in range(10):
        silent = make_silent(f'127.0.0.{number + 10}')
        for path in range(3):
            rig.subscribe(f'{silent.url}/{path}')
    receiver = make_receiver()
    rig.subscribe(receiver.url)
    waits = []
    for number in range(20):
        began = time.monotonic()
        rig.post(number)
        receiver.wait(number + 1)
        waits.append(time.monotonic() - began)
    # Half, so that a machine that is busy does not count as a failure.
    assert sorted(waits)[10] < 1


def test_hundreds_of_new_hosts_that_hang_hold_up_no_other_project(
    make_rig: MakeRig, make_silent: MakeSilent, make_receiver: MakeReceiver
) -> None:
    # Longer than anybody waits here.
    rig = make_rig(request_timeout=300.0)
    silent, receiver = make_silent('0.0.0.0'), make_receiver()
    for number in range(1, 241):
        rig.subscribe(f'http://127.0.1.{number}:{silent.port}/')
    other = Scope('other', 'q')
    subscriptions.create(
        rig.ctx, scope=other, document={'subscriber': receiver.url}
    )
    rig.post('x')
    post = posting.Post([posting.PostedMessage(body=msgspec.Raw(b'"y"'))])
    for count in range(1, 11):
        posting.post(rig.ctx, scope=other, document=post)
        receiver.wait(count)


def _bodies(rig: Rig) -> list[bytes]:
    return [message.body for message in rig.waiting()]


def test_a_host_that_fails_on_and_on_is_only_probed(
    rig: Rig, make_receiver: MakeReceiver
) -> None:
    receiver = make_receiver(answer(500))
    rig.subscribe(
        receiver.url, _retry_policy={**FEW, 'retries_with_no_delay': 1}
    )
    for number in range(100):
        rig.post(number)
    receiver.wait(20)
    # Nothing is lost of those that wait, and nobody is asked for them.
    rig.until(lambda: b'"parks":1' in b''.join(_bodies(rig)))
    rig.until(lambda: len(rig.waiting()) == 100)
    assert len(receiver.got) < 40


def test_a_project_has_no_more_waiting_than_allowed(make_rig: MakeRig) -> None:
    rig = make_rig()
    policy = {
        **FEW,
        'minimum_delay_retries': 1,
        'minimum_delay': 1000,
        'maximum_delay': 1010,
    }
    one = rig.subscribe(
        'http://127.0.0.1:1/', _retry_policy=policy, _dead_letter_queue='dead'
    )
    for number in range(12):
        rig.post(number)
    rig.until(lambda: rig.deliveries(one)['retried'] == 12)
    rig.put_off()
    rig.stop()
    rig.settings = replace(rig.settings, max_outbox_per_project=10)
    rig.start()
    rig.until(lambda: rig.deliveries(one)['given_up'] == 2)
    rig.stop()
    assert len(rig.waiting()) == 10
    counts = pending_delivery_counts_per_project.count(
        rig.ctx.cipher, rig.store
    )
    assert [number for number, _ in counts.values()] == [10]
    text = b''.join(message.body for message in rig.waiting())
    # The oldest are gone, and their owner is told.
    assert b'"body":0,' not in text.replace(b' ', b'')
    assert b'"body":11,' in text.replace(b' ', b'')
    dead = rig.bodies('dead')
    assert [one['notification']['body'] for one in dead] == [0, 1]
    assert {one['reason'] for one in dead} == {
        'too many deliveries of the project are waiting'
    }


def test_what_is_under_way_is_not_given_up_for_want_of_room(
    make_rig: MakeRig,
) -> None:
    rig = make_rig(running=False)
    rig.subscribe('http://127.0.0.1:1/')
    for number in range(4):
        rig.post(number)
    fan_out(rig.ctx, rig.store)
    claim = rig.store.claim(
        PENDING,
        now=rig.now(),
        claim_id='of-a-notifier',
        ttl=LEASE,
        grace=LEASE,
        limit=2,
    )
    assert claim is not None
    dropped: list[PendingDelivery] = []
    count = pending_delivery_limit_per_project.trim(
        rig.ctx.cipher, rig.store, 1, lambda one, now: dropped.append(one)
    )
    # Without room for those that are, all others go.
    assert count == len(dropped) == 2
    left = [message.id for message in rig.stored(PENDING)]
    assert left == [message.id for message in claim.messages]


@pytest.mark.parametrize('is_expanded', [False, True])
def test_what_cannot_be_read_waits_and_holds_up_nobody(
    make_rig: MakeRig, receiver: Receiver, is_expanded: bool
) -> None:
    rig = make_rig(running=False, key=KEY, encrypted_over_http=True)
    rig.queue('sealed', _enable_encrypt_messages=True)
    for queue in ('sealed', 'q'):
        rig.subscribe(f'{receiver.url}/{queue}', queue)
    rig.post('a secret', queue='sealed')
    if is_expanded:
        assert fan_out(rig.ctx, rig.store) == 1
    other = make_rig(key='another key, long enough')
    other.post('plain')
    assert receiver.wait(1)[0].path == '/q'
    other.until(lambda: len(other.waiting()) == 1)
    other.stop()
    # Put back for a while, and then who has the key delivers it.
    rig.start()
    rig.ahead = REQUEUE_SECONDS + 1
    assert receiver.wait(2)[1].json['body'] == 'a secret'
    rig.rests()


def test_what_can_never_be_read_is_counted_until_it_expires(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorder = Recorder()
    monkeypatch.setattr(metrics, 'process', lambda: Metrics([recorder]))
    rig = make_rig(running=False)
    store = rig.store
    record = NewMessage(
        b'{"no": "notice"}', ttl=LIFETIME, rnd='0' * 16, client=''
    )
    store.post(OUTBOX, [record], now=rig.now(), token='t')
    for times in (1, 2):
        assert fan_out(rig.ctx, store) == 1
        assert fan_out(rig.ctx, store) == 0
        assert recorder.sum('notification_unreadable') == times
        rig.ahead += REQUEUE_SECONDS + 1
    (waiting,) = rig.waiting()
    assert waiting.ttl <= LIFETIME - REQUEUE_SECONDS
    rig.ahead = LIFETIME + 1
    assert fan_out(rig.ctx, store) == 0
    assert not rig.waiting()


def test_what_a_notifier_holds_is_given_back_at_its_end(
    make_rig: MakeRig,
    make_receiver: MakeReceiver,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stop, is_stopping = vars(DeliveryLoop)['_stop'], threading.Event()

    async def noted(*arguments: Any) -> None:
        is_stopping.set()
        await stop(*arguments)

    def slow(handler: object, number: int) -> None:
        is_stopping.wait(60)
        answer(200)(handler, number)  # type: ignore[arg-type]

    monkeypatch.setattr(DeliveryLoop, '_stop', noted)
    receiver = make_receiver(slow)
    rig = make_rig()
    rig.subscribe(receiver.url)
    for number in range(10):
        rig.post(number)
    receiver.wait(1)
    rig.stop()
    ended = len(receiver.got)
    assert ended < 10
    rig.start()
    receiver.wait(10)
    rig.rests()
    # What was under way was finished, so nothing comes twice.
    assert len(receiver.got) == 10


def test_what_is_offered_while_a_notifier_ends_is_given_back(
    make_rig: MakeRig,
    receiver: Receiver,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    offer, end = DeliveryLoop.offer, OutboxWorker.end
    is_offering, is_ending = threading.Event(), threading.Event()

    def late(loop: DeliveryLoop, jobs: Any) -> None:
        is_offering.set()
        assert is_ending.wait(60)
        offer(loop, jobs)

    def noted(worker: OutboxWorker) -> None:
        # The attempts have been finished.
        is_ending.set()
        end(worker)

    monkeypatch.setattr(DeliveryLoop, 'offer', late)
    monkeypatch.setattr(OutboxWorker, 'end', noted)
    rig = make_rig()
    rig.subscribe(receiver.url)
    rig.post(1)
    assert is_offering.wait(60)
    rig.stop()
    assert 'retrying' not in caplog.text
    (left,) = rig.waiting()
    assert not left.claim_ends_at
    monkeypatch.undo()
    rig.start()
    rig.rests()
    assert len(receiver.got) == 1


class Holding:
    """A sender that takes its time."""

    schemes: tuple[str, ...] = ('http',)

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.goes_on = False

    async def send(self, delivery: Delivery, *, now: int) -> Outcome:
        self.got.append(delivery.body)
        while not self.goes_on:
            await asyncio.sleep(0.01)
        return Outcome(Verdict.DELIVERED)

    def close(self) -> None:
        """Nothing is open."""


def test_an_attempt_may_take_longer_than_a_lease(make_rig: MakeRig) -> None:
    sender = Holding()
    rig = make_rig(senders={'http': sender}, request_timeout=60)

    def is_renewed() -> bool:
        ends = [one.claim_ends_at or 0 for one in rig.waiting()]
        return min(ends) > rig.now() + (LEASE - 5) * 1000

    rig.subscribe('http://a.example/')
    rig.until(lambda: rig.notifier.facts()['stores'])
    rig.post('x')
    rig.until(lambda: sender.got)
    while rig.ahead < LEASE + 10:
        rig.ahead += 11
        rig.until(is_renewed)
    sender.goes_on = True
    rig.rests()
    assert len(sender.got) == 1
