# SPDX-License-Identifier: Apache-2.0
"""Redrives, over WebSocket."""

from __future__ import annotations

from zaqar.tests.functional.websocket.client import Talk

VERSION = {'OpenStack-API-Version': 'messaging 2.1'}
BODY = {'queue_name': 'dead'}


def test_a_redrive_is_counted_begun_shown_and_cancelled(talk: Talk) -> None:
    talk.ask('message_post', **BODY, messages=[{'body': 1}])
    said = talk.ask(
        'redrive_create', headers=VERSION, **BODY, to='x', dry_run=True
    )
    assert said.status == 200
    assert said.body == {'matched': 1, 'scanned': 1, 'complete': True}
    said = talk.ask(
        'redrive_create', headers=VERSION, **BODY, to='x', rate=1, limit=1
    )
    assert said.status == 202
    redrive_id = said.body['redrive_id']
    again = talk.ask('redrive_create', headers=VERSION, **BODY)
    assert again.status == 409
    assert redrive_id in again.body['error']
    said = talk.ask('redrive_list', headers=VERSION, **BODY)
    (shown,) = said.body['redrives']
    one = {**BODY, 'redrive_id': redrive_id}
    said = talk.ask('redrive_get', headers=VERSION, **one)
    assert said.status == 200
    assert said.body == shown
    assert (shown['status'], shown['rate']) == ('running', 1)
    said = talk.ask('redrive_delete', headers=VERSION, **one)
    assert said.status == 204
    said = talk.ask('redrive_get', headers=VERSION, **one)
    assert said.body['status'] == 'cancelled'


def test_bad_redrives_are_refused(talk: Talk) -> None:
    talk.ask('queue_create', **BODY)
    for wrong in ({'to': 'dead'}, {'rate': 0}, {'filter': {'x': 1}}):
        said = talk.ask('redrive_create', headers=VERSION, **BODY, **wrong)
        assert said.status == 400, wrong
    said = talk.ask('redrive_get', headers=VERSION, **BODY, redrive_id='x')
    assert said.status == 404
    # Below its version there is no such action.
    assert talk.ask('redrive_list', **BODY).status == 400
