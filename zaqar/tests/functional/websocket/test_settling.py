# SPDX-License-Identifier: Apache-2.0
"""Settling messages of a claim, over WebSocket."""

from __future__ import annotations

from zaqar.tests.functional.websocket.client import Talk

VERSION = {'OpenStack-API-Version': 'messaging 2.1'}


def test_messages_are_settled(talk: Talk) -> None:
    queue = {'queue_name': 'q'}
    talk.ask('queue_create', **queue, metadata={'_dead_letter_queue': 'dead'})
    posted = talk.ask(
        'message_post',
        headers=VERSION,
        **queue,
        messages=[{'body': number, 'ttl': 600} for number in range(4)],
    )
    one, two, three, four = posted.body['message_ids']
    claim = talk.ask('claim_create', headers=VERSION, **queue, ttl=30)
    name = claim.body['claim_id']
    said = talk.ask(
        'claim_settle',
        headers=VERSION,
        **queue,
        claim_id=name,
        delete=[one],
        release=[{'id': two, 'delay': 30, 'reason': 'later'}],
        extend=[{'id': three, 'ttl': 600}],
        reject=[{'id': four, 'reason': 'broken'}, {'id': 'nobody'}],
    )
    assert said.status == 200, said
    assert said.body == {
        'results': [
            {'id': one, 'status': 'deleted'},
            {'id': two, 'status': 'released'},
            {'id': three, 'status': 'extended'},
            {'id': four, 'status': 'rejected'},
            {'id': 'nobody', 'status': 'not_held'},
        ]
    }
    held = talk.ask('claim_get', **queue, claim_id=name)
    assert [item['body'] for item in held.body['messages']] == [2]
    dead = talk.ask('message_list', queue_name='dead', echo=True)
    assert [item['body'] for item in dead.body['messages']] == [3]


def test_faults_are_told(talk: Talk) -> None:
    queue = {'queue_name': 'q', 'claim_id': 'unknown'}
    said = talk.ask('claim_settle', headers=VERSION, **queue, delete=['a'])
    assert said.status == 404
    said = talk.ask('claim_settle', headers=VERSION, **queue)
    assert said.status == 400
    # In 2.0 there is no such action.
    assert talk.ask('claim_settle', **queue, delete=['a']).status == 400
