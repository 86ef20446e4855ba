# SPDX-License-Identifier: Apache-2.0
"""What 2.1 shows of queues and messages, over WebSocket."""

from __future__ import annotations

from typing import Any

from zaqar.tests.functional.websocket.client import Talk

VERSION = {'OpenStack-API-Version': 'messaging 2.1'}


def post(talk: Talk, **fields: Any) -> str:
    """Post a message and return its id."""
    said = talk.ask(
        'message_post',
        headers=VERSION,
        queue_name='q',
        messages=[{'body': 1, **fields}],
    )
    assert said.status == 201, said
    (name,) = said.body['message_ids']
    return str(name)


def test_statistics_show_what_waits(talk: Talk) -> None:
    post(talk)
    post(talk, delay=60)
    said = talk.ask('queue_get_stats', headers=VERSION, queue_name='q')
    assert said.status == 200
    assert said.body['messages']['delayed'] == 1
    assert said.body['messages']['held_by_groups'] == 0
    assert said.body['oldest_free_age'] in range(60)
    assert said.body['rates'] == {'posted': None, 'deleted': None}
    old = talk.ask('queue_get_stats', queue_name='q').body
    assert set(old) == {'messages'}
    assert set(old['messages']) == {
        *('claimed', 'free', 'total', 'oldest', 'newest')
    }


def test_guarantees_are_those_of_the_store(talk: Talk) -> None:
    body = {'queue_name': 'q'}
    said = talk.ask('queue_get_guarantees', headers=VERSION, **body)
    assert said.status == 404
    talk.ask('queue_create', **body)
    said = talk.ask('queue_get_guarantees', headers=VERSION, **body)
    assert said.status == 200
    assert said.body['store'] == 'sqlite'
    assert said.body['acknowledged_survives']['process_kill'] is True
    assert talk.ask('queue_get_guarantees', **body).status == 400


def test_a_message_is_explained(talk: Talk) -> None:
    name = post(talk)
    claim = talk.ask('claim_create', queue_name='q', ttl=300, grace=60)
    body = {'queue_name': 'q', 'message_id': name}
    said = talk.ask('message_explain', headers=VERSION, **body)
    assert said.status == 200
    assert said.body['state'] == 'claimed'
    assert said.body['claim']['id'] == claim.body['claim_id']
    assert talk.ask('message_explain', **body).status == 400
    body['message_id'] = '0' * 32
    said = talk.ask('message_explain', headers=VERSION, **body)
    assert (said.status, said.body['state']) == (200, 'absent')
