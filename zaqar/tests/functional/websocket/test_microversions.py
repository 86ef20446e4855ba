# SPDX-License-Identifier: Apache-2.0
"""Versions of frames: reference/websocket, "Microversions"."""

from __future__ import annotations

from zaqar.api.microversion_negotiation import HEADER as NAME
from zaqar.tests.functional.websocket.client import Talk


def test_a_version_is_named_once_or_in_each_frame(talk: Talk) -> None:
    talk.headers.pop(NAME, None)
    new = {'status': 200, NAME: 'messaging 2.1'}

    talk.send('queue_list', headers={NAME: 'messaging 2.1', 'request_id': 7})
    assert talk.receive()[0]['headers'] == {**new, 'request_id': 7}
    talk.send('queue_list', headers={'request_id': 8})
    assert talk.receive()[0]['headers'] == {'status': 200}
    token = {'X-Auth-Token': 'none', NAME: 'messaging latest'}
    talk.send('authenticate', headers=token)
    assert talk.receive()[0]['headers'] == new
    talk.send('queue_list', headers={'request_id': 9})
    assert talk.receive()[0]['headers'] == {**new, 'request_id': 9}
    talk.send('queue_list', headers={NAME: 'messaging 2.99'})
    assert talk.receive()[0]['headers'] == {'status': 406}


def test_messages_show_more_from_2_1_on(talk: Talk) -> None:
    queue = {'queue_name': 'q'}
    talk.ask('queue_create', queue, metadata={'_default_message_delay': 60})
    talk.ask('message_post', queue, messages=[{'body': 1}])
    shown = []
    for version in ('messaging 2.0', 'messaging 2.1'):
        seen = {**queue, 'include_delayed': True, 'echo': True}
        answer = talk.ask('message_list', seen, {NAME: version})
        shown.append(answer.body['messages'][0])
    old, new = shown
    assert new.keys() - old.keys() == {
        *('created_at', 'claim_count', 'visible_at')
    }
    assert new['claim_count'] == 0
    assert new['created_at'] < new['visible_at']


def test_2_1_delays_messages_on_any_queue(talk: Talk) -> None:
    queue, new = {'queue_name': 'q'}, {NAME: 'messaging 2.1'}
    for fields in ({'delay': 600}, {'deliver_at': '2999-01-01T00:00:00Z'}):
        message = {'body': 1, 'ttl': 3600, **fields}
        answer = talk.ask('message_post', queue, new, messages=[message])
        if 'deliver_at' in fields:
            answer.is_error(400, 'may not exceed')
        else:
            assert answer.status == 201
    assert talk.ask('claim_create', queue).status == 204
    # To 2.0 both are unknown here.
    message = {'body': 2, 'delay': 600, 'deliver_at': 7}
    assert talk.ask('message_post', queue, messages=[message]).status == 201
    (claimed,) = talk.ask('claim_create', queue).body['messages']
    assert claimed['body'] == 2
