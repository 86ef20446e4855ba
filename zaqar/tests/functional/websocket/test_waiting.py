# SPDX-License-Identifier: Apache-2.0
"""Frames that wait for messages."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from zaqar.tests.functional.websocket.client import Closed, Said, Talk
from zaqar.tests.functional.websocket.conftest import Connect, MakeServer

VERSION = {'OpenStack-API-Version': 'messaging 2.1'}

#: Longer than any of these tests may take.
LONG = 60


def wait(talk: Talk, request_id: Any, action: str, **body: Any) -> None:
    """Send a frame that waits."""
    body.setdefault('wait', LONG)
    headers = {**VERSION, 'request_id': request_id}
    talk.send(action, headers=headers, queue_name='q', **body)


def post(talk: Talk, *bodies: Any) -> Said:
    messages = [{'body': body} for body in bodies]
    return talk.ask('message_post', queue_name='q', messages=messages)


def bodies(said: Said) -> list[Any]:
    return [message['body'] for message in said.body['messages']]


@pytest.mark.parametrize(
    ('action', 'members', 'status'),
    [
        ('claim_create', {}, 201),
        ('message_list', {'echo': True}, 200),
        ('message_delete_many', {'pop': 1}, 200),
    ],
)
def test_later_frames_are_answered_meanwhile(
    talk: Talk, action: str, members: dict[str, Any], status: int
) -> None:
    wait(talk, 7, action, **members)
    assert talk.ask('queue_create', queue_name='r').status == 201
    assert post(talk, 'a').status == 201
    said = talk.said()
    assert said.status == status
    assert said.headers['request_id'] == 7
    assert said.headers['OpenStack-API-Version'] == 'messaging 2.1'
    assert bodies(said) == ['a']


def test_answers_are_matched_by_their_ids(
    talk: Talk, connect: Connect
) -> None:
    for name in ('one', 'two', 'three'):
        wait(talk, name, 'claim_create', limit=1)
    assert talk.ask('queue_create', queue_name='q').status in (201, 204)
    other = connect()
    for number in range(3):
        post(other, number)
    said = [talk.said() for _ in range(3)]
    # The frames began to wait beside each other, so in any order.
    assert {one.headers['request_id'] for one in said} == {
        'one',
        'two',
        'three',
    }
    assert sorted(bodies(one) for one in said) == [[0], [1], [2]]


def test_the_time_is_over(talk: Talk) -> None:
    wait(talk, 1, 'claim_create', wait=1)
    wait(talk, 2, 'message_list', wait=1)
    said = {
        one.headers['request_id']: one for one in (talk.said(), talk.said())
    }
    assert said[1].status == 204
    assert said[1].body == {'claim_id': None}
    assert said[2].body == {'messages': []}


def test_a_frame_that_waits_needs_an_id(talk: Talk) -> None:
    more: dict[str, Any] = {'queue_name': 'q', 'wait': 1}
    said = talk.ask('claim_create', headers=VERSION, **more)
    assert said.is_error(400, 'request_id')
    more['wait'] = 0
    assert talk.ask('claim_create', headers=VERSION, **more).status == 204
    # There is no such member before version 2.1.
    more['wait'] = LONG
    assert talk.ask('claim_create', **more).status == 204


@pytest.mark.parametrize(
    ('action', 'members'),
    [
        ('claim_create', {'wait': LONG + 1}),
        ('claim_create', {'wait': -1}),
        ('claim_create', {'wait': '1'}),
        ('message_delete_many', {'message_ids': ['a'], 'wait': 1}),
        ('queue_get_stats', {'wait': 1}),
    ],
)
def test_waits_that_are_refused(
    talk: Talk, action: str, members: dict[str, Any]
) -> None:
    wait(talk, 1, action, **members)
    said = talk.said()
    assert said.is_error(400, 'wait')
    assert said.headers['request_id'] == 1


def test_nothing_is_claimed_for_a_connection_that_has_gone(
    connect: Connect,
) -> None:
    gone, other = connect(), connect()
    for number in range(3):
        wait(gone, number, 'claim_create')
    assert gone.ask('queue_create', queue_name='q').status == 201
    gone.cut()
    wait(other, 1, 'claim_create')
    assert other.ask('queue_create', queue_name='q').status == 204
    post(other, 'a')
    assert bodies(other.said()) == ['a']


def test_a_shutdown_answers_all_that_wait(make_server: MakeServer) -> None:
    server = make_server()
    with Talk(server.socket_url) as talk:
        for number in range(5):
            wait(talk, number, 'claim_create')
        assert talk.ask('queue_create', queue_name='r').status == 201
        server.process.child.send_signal(signal.SIGTERM)
        said = [talk.said() for _ in range(5)]
        assert [one.status for one in said] == [204] * 5
        with pytest.raises(Closed):
            talk.said()


def test_more_than_may_wait_are_answered_at_once(talk: Talk) -> None:
    for number in range(101):
        wait(talk, number, 'claim_create')
    said = talk.said()
    assert said.headers['request_id'] == 100
    assert said.status == 204


def test_claims_wait_by_default_where_their_queue_says_so(talk: Talk) -> None:
    metadata = {'_default_wait': LONG, '_default_claim_ttl': 7}
    talk.ask('queue_create', {'queue_name': 'q'}, VERSION, metadata=metadata)
    # Without an id it could not be answered later.
    claim = talk.ask('claim_create', {'queue_name': 'q'}, VERSION)
    assert claim.status == 204
    assert claim.headers == {'status': 204, **VERSION}
    headers = {**VERSION, 'request_id': 7}
    talk.send('claim_create', {'queue_name': 'q'}, headers)
    assert post(talk, 'a').status == 201
    said = talk.said()
    assert (said.status, said.headers['request_id']) == (201, 7)
    wanted = {'queue_name': 'q', 'claim_id': said.body['claim_id']}
    assert talk.ask('claim_get', wanted).body['ttl'] == 7


def test_a_claim_of_2_1_may_last_a_second(talk: Talk) -> None:
    post(talk, 'a')
    short = {'queue_name': 'q', 'ttl': 1, 'grace': 0}
    talk.ask('claim_create', short).is_error(400, 'at least 60 seconds')
    assert talk.ask('claim_create', short, VERSION).status == 201
