# SPDX-License-Identifier: Apache-2.0
"""What a webhook gets, and whether it is sent at all."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

import msgspec
import pytest

from zaqar.controllers import posting, queues, subscriptions
from zaqar.controllers.message_encryption import is_encrypted
from zaqar.notification import cached_subscription_lookup
from zaqar.objects import Kind, Scope
from zaqar.tests.functional.notification.conftest import MakeReceiver, MakeRig
from zaqar.tests.functional.notification.rig import FEW, Rig
from zaqar.tests.servers.receivers import Receiver, answer

#: Heat's default for a subscription.
HEATS_TTL = 220_367_260_800


def test_a_message_is_sent_with_exactly_four_keys(
    rig: Rig, receiver: Receiver
) -> None:
    rig.subscribe(f'{receiver.url}/hook?x=1')
    rig.post({'event': 'Ünïcode', 'n': [1.50, None]}, ttl=300)
    (got,) = receiver.wait(1)
    assert got.path == '/hook?x=1'
    assert got.json == {
        'body': {'event': 'Ünïcode', 'n': [1.5, None]},
        'ttl': 300,
        'queue_name': 'q',
        'Message_Type': 'Notification',
    }
    assert got.headers['content-type'] == 'application/json'
    assert got.headers['accept'] == '*/*'
    assert re.fullmatch(r'zaqar/[0-9]\S*', got.headers['user-agent'])


def test_a_queue_with_a_default_delay_shows_delays_too(
    rig: Rig, receiver: Receiver
) -> None:
    rig.queue(_default_message_delay=60)
    rig.subscribe(receiver.url)
    rig.post('late', ttl=300)
    rig.post('now', ttl=300, delay=0)
    # Both are told of at once.
    delays = {got.json['body']: got.json['delay'] for got in receiver.wait(2)}
    assert delays == {'late': 60, 'now': 0}
    assert set(receiver.got[0].json) == {
        *('body', 'ttl', 'queue_name', 'Message_Type', 'delay')
    }


def test_messages_of_one_post_come_one_after_the_other(
    rig: Rig, receiver: Receiver
) -> None:
    rig.subscribe(receiver.url)
    rig.post(*range(20))
    assert [got.json['body'] for got in receiver.wait(20)] == list(range(20))


def test_each_subscriber_is_told(
    rig: Rig, make_receiver: MakeReceiver
) -> None:
    receivers = [make_receiver() for _ in range(3)]
    for receiver in receivers:
        rig.subscribe(receiver.url)
    rig.post('x')
    for receiver in receivers:
        assert receiver.wait(1)[0].json['body'] == 'x'
    rig.rests()
    assert [len(receiver.got) for receiver in receivers] == [1, 1, 1]


def test_a_template_gets_the_message_wherever_the_marker_stands(
    rig: Rig, receiver: Receiver
) -> None:
    rig.subscribe(
        receiver.url,
        post_data='{"a": "$zaqar_message$", "ü": ["$zaqar_message$"]}',
    )
    rig.post('"quoted" Ärger')
    (got,) = receiver.wait(1)
    message = {
        'body': '"quoted" Ärger',
        'ttl': 3600,
        'queue_name': 'q',
        'Message_Type': 'Notification',
    }
    assert got.json == {'a': message, 'ü': [message]}


def test_a_template_without_the_marker_is_sent_as_it_is(
    rig: Rig, receiver: Receiver
) -> None:
    rig.subscribe(receiver.url, post_data='$zaqar_message$ is missing')
    rig.post('x')
    assert receiver.wait(1)[0].body == b'$zaqar_message$ is missing'


def test_a_template_that_makes_too_much_is_given_up_with_a_reason(
    make_rig: MakeRig, receiver: Receiver
) -> None:
    rig = make_rig(max_rendered_size=20_000)
    one = rig.subscribe(
        receiver.url,
        post_data='["$zaqar_message$", "$zaqar_message$"]',
        _dead_letter_queue='dead',
    )
    rig.post('x' * 10_000)
    rig.rests()
    rig.until(lambda: rig.deliveries(one)['given_up'])
    reason = rig.deliveries(one)['last_failure']['reason']
    assert reason.startswith('post_data with the message has 20')
    assert reason.endswith('bytes, more than 20000')
    (letter,) = rig.bodies('dead')
    assert letter['reason'] == reason
    assert not receiver.got


def test_headers_of_the_user_go_before_ours(
    rig: Rig, receiver: Receiver
) -> None:
    rig.subscribe(
        receiver.url,
        post_headers={
            'content-type': 'text/plain',
            'X-Mine': 'yes',
            'User-agent': 'mine/1',
        },
    )
    rig.post('x')
    headers = receiver.wait(1)[0].headers
    assert headers['user-agent'] == 'mine/1'
    assert headers['content-type'] == 'text/plain'
    assert headers['x-mine'] == 'yes'


def test_whatever_is_taken_as_a_header_is_sent(
    rig: Rig, receiver: Receiver
) -> None:
    wanted = {
        'X-Latin': 'caf\xe9 \xff',
        'X-Empty': '',
        'X-Tab': 'a\tb',
        "!#$%&'*+-.^_`|~9": '~',
    }
    rig.subscribe(receiver.url, post_headers=wanted)
    rig.post('x')
    headers = receiver.wait(1)[0].headers
    assert {name: headers[name.lower()] for name in wanted} == wanted


def test_a_login_in_the_url_is_sent_as_such(
    rig: Rig, make_receiver: MakeReceiver
) -> None:
    plain, replaced = make_receiver(), make_receiver()
    for target, options in (
        (plain, {}),
        (replaced, {'post_headers': {'authorization': 'Bearer x'}}),
    ):
        url = target.url.replace('//', '//me:p%40ss@')
        rig.subscribe(f'{url}/hook?a=b', **options)
    rig.post('x')
    (got,) = plain.wait(1)
    login = base64.b64decode(got.headers['authorization'].split()[1])
    assert (got.path, login) == ('/hook?a=b', b'me:p@ss')
    assert replaced.wait(1)[0].headers['authorization'] == 'Bearer x'


def test_a_subscription_outlives_its_queue(
    rig: Rig, receiver: Receiver
) -> None:
    rig.subscribe(receiver.url)
    rig.post('first')
    receiver.wait(1)
    queues.delete(rig.ctx, scope=Scope('p', 'q'))
    rig.post('second')
    assert receiver.wait(2)[1].json['body'] == 'second'


def test_a_queue_falls_silent_without_subscriptions_and_wakes_up(
    rig: Rig, receiver: Receiver
) -> None:
    rig.post('unheard')
    rig.rests()
    queue = rig.catalogue.find(Scope('p', 'q'))
    assert queue is not None
    mark = rig.until
    mark(lambda: not rig.store.subscribed_epoch(queue.qid, now=rig.now()))
    one = rig.subscribe(receiver.url)
    rig.post('heard')
    assert receiver.wait(1)[0].json['body'] == 'heard'
    subscriptions.delete(rig.ctx, scope=queue.scope, subscription_id=one)
    rig.post('unheard again')
    mark(lambda: not rig.store.subscribed_epoch(queue.qid, now=rig.now()))
    assert len(receiver.got) == 1


def test_a_change_holds_for_all_that_is_posted_after_it(
    make_rig: MakeRig, make_receiver: MakeReceiver, monkeypatch: Any
) -> None:
    # Whatever is remembered of a subscription is so for the whole test.
    monkeypatch.setattr(cached_subscription_lookup, 'CACHE_SECONDS', 3600.0)
    rig, first, second = make_rig(), make_receiver(), make_receiver()
    one = rig.subscribe(first.url, post_data='one')
    rig.post('x')
    assert first.wait(1)[0].body == b'one'

    def update(**changes: Any) -> None:
        subscriptions.update(
            rig.ctx,
            scope=Scope('p', 'q'),
            subscription_id=one,
            document=changes,
        )

    update(options={'post_data': 'two'})
    rig.post('x')
    assert first.wait(2)[1].body == b'two'
    update(subscriber=second.url)
    rig.post('x')
    assert second.wait(1)[0].body == b'two'
    rig.rests()
    assert len(first.got) == 2


def test_a_subscription_that_has_expired_is_told_no_more(
    rig: Rig, receiver: Receiver
) -> None:
    rig.subscribe(receiver.url, ttl=60)
    rig.post('x')
    receiver.wait(1)
    rig.rests()
    rig.ahead = 61
    rig.post('y')
    rig.rests()
    assert len(receiver.got) == 1


def test_a_life_as_heat_wants_it_is_fine(rig: Rig, receiver: Receiver) -> None:
    rig.subscribe(receiver.url, ttl=HEATS_TTL)
    rig.post('x')
    receiver.wait(1)


def test_a_topic_has_subscribers_too(rig: Rig, receiver: Receiver) -> None:
    scope = Scope('p', 't', Kind.TOPIC)
    subscriptions.create(
        rig.ctx, scope=scope, document={'subscriber': receiver.url}
    )
    post = posting.Post([posting.PostedMessage(body=_raw('x'))])
    posting.post(rig.ctx, scope=scope, document=post)
    assert receiver.wait(1)[0].json['queue_name'] == 't'


def _raw(value: Any) -> Any:
    return msgspec.Raw(json.dumps(value).encode())


# Encrypted queues.

KEY = 'a key for messages at rest'


def test_nothing_of_an_encrypted_queue_is_readable_in_the_outbox(
    make_rig: MakeRig, receiver: Receiver
) -> None:
    rig = make_rig(running=False, key=KEY, encrypted_over_http=True)
    rig.queue(_enable_encrypt_messages=True)
    rig.subscribe(receiver.url)
    rig.post('a secret')
    (notice,) = rig.waiting()
    assert b'secret' not in notice.body
    rig.start()
    assert receiver.wait(1)[0].json['body'] == 'a secret'


@pytest.mark.proves('encryption on delivery')
def test_messages_of_an_encrypted_queue_are_not_sent_without_tls(
    make_rig: MakeRig, receiver: Receiver
) -> None:
    rig = make_rig(key=KEY)
    rig.queue(_enable_encrypt_messages=True)
    one = rig.subscribe(receiver.url)
    rig.post('a secret')
    rig.until(lambda: rig.deliveries(one)['given_up'])
    assert not receiver.got
    assert 'https' in rig.deliveries(one)['last_failure']['reason']


@pytest.mark.proves('encryption on delivery')
def test_a_dead_letter_of_an_encrypted_queue_is_encrypted_too(
    make_rig: MakeRig, receiver: Receiver
) -> None:
    rig = make_rig(key=KEY)
    rig.queue(_enable_encrypt_messages=True)
    rig.subscribe(receiver.url, _dead_letter_queue='dead')
    rig.post('a secret')
    rig.rests()
    assert not receiver.got
    queue = rig.catalogue.find(Scope('p', 'dead'))
    assert queue is not None
    (stored,) = rig.store.list(queue.qid, now=rig.now(), limit=10).messages
    assert is_encrypted(stored.body)
    # Its owner reads it as any other.
    (letter,) = rig.bodies('dead')
    assert letter['notification']['body'] == 'a secret'


def test_a_letter_is_not_encrypted_where_its_message_was_not(
    make_rig: MakeRig, make_receiver: MakeReceiver
) -> None:
    rig = make_rig(key=KEY)
    rig.subscribe(make_receiver(answer(404)).url, _dead_letter_queue='dead')
    rig.post('no secret')
    rig.rests()
    queue = rig.catalogue.find(Scope('p', 'dead'))
    assert queue is not None
    (stored,) = rig.store.list(queue.qid, now=rig.now(), limit=10).messages
    assert not is_encrypted(stored.body)


def test_dues_of_an_encrypted_queue_that_wait_are_sealed_too(
    make_rig: MakeRig,
) -> None:
    rig = make_rig(key=KEY, encrypted_over_http=True)
    rig.queue(_enable_encrypt_messages=True)
    one = rig.subscribe(
        'http://127.0.0.1:1/',
        _retry_policy={**FEW, 'maximum_delay_retries': 1},
    )
    rig.post('a secret')
    rig.until(lambda: rig.deliveries(one)['retried'])
    waiting = rig.until(rig.waiting)
    assert all(b'secret' not in one.body for one in waiting)
