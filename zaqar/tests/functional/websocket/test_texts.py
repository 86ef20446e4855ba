# SPDX-License-Identifier: Apache-2.0
"""Texts that clients compare."""

from __future__ import annotations

from typing import Any

import pytest

from zaqar.tests.functional.websocket.client import BINARY, Talk


def test_what_was_done_is_said_with_the_name(talk: Talk) -> None:
    def said(action: str, **body: Any) -> tuple[int, Any]:
        names = {'queue_name': 'q', 'topic_name': 't'}
        answer = talk.ask(action, **{**names, **body})
        return answer.status, answer.body

    assert said('queue_create') == (201, 'Queue q created.')
    assert said('queue_create') == (204, 'Queue q created.')
    assert said('topic_create') == (201, 'Topic t created.')
    # No queue of a subscription: its notice may be read after that is made.
    talk.post('claimed', 1)
    _, claimed = said('claim_create', queue_name='claimed')
    claim = {'queue_name': 'claimed', 'claim_id': claimed['claim_id']}
    done = said('claim_update', **claim, ttl=300, grace=60)
    assert done == (204, f'Claim {claim["claim_id"]} updated.')
    done = said('claim_delete', **claim)
    assert done == (204, f'Claim {claim["claim_id"]} deleted.')
    where = {'subscriber': 'http://example.org/x', 'ttl': 600}
    status, document = said('subscription_create', **where)
    assert (status, document['message']) == (201, 'Subscription q created.')
    subscription = document['subscription_id']
    again = said('subscription_create', **where)
    assert again[0] in (201, 409)
    assert said('subscription_create')[0] == 201
    refused = said('subscription_create')
    assert refused == (409, 'Subscription q not created.')
    done = said('subscription_update', subscription_id=subscription, ttl=900)
    assert done == (204, f'Subscription {subscription} updated.')
    done = said('subscription_delete', subscription_id=subscription)
    assert done == (204, f'Subscription {subscription} removed.')
    assert said('queue_delete') == (204, 'Queue q removed.')
    assert said('queue_delete') == (204, 'Queue q removed.')
    assert said('topic_delete') == (204, 'Topic t removed.')


BAD: list[tuple[str, dict[str, Any], str]] = [
    ('message_post', {'messages': [{'ttl': 60}]}, 'Missing "body" field.'),
    ('message_post', {'messages': []}, 'No messages to enqueu.'),
    ('message_list', {'limit': 'x'}, "'limit' must be an integer."),
    ('message_list', {'limit': 0}, 'Limit must be'),
    ('queue_get', {'queue_name': None}, "'queue_name' must be a string."),
    ('queue_get', {'queue_name': 'a b'}, 'The format of the submitted'),
    ('claim_create', {'ttl': 1}, ''),
    ('subscription_create', {'ttl': 1}, ''),
]


@pytest.mark.parametrize(('action', 'body', 'text'), BAD)
def test_a_body_that_is_wrong_is_a_bad_request(
    talk: Talk, action: str, body: dict[str, Any], text: str
) -> None:
    said = talk.ask(action, {'queue_name': 'q', **body})
    assert said.is_error(400)
    assert said.body['error'].startswith(f'Bad request. {text}')


def test_what_is_no_message_pack_is_said_so(talk: Talk) -> None:
    for data in (b'', b'\xc1', b'{}x', b'\x81\xa1\xff\x01'):
        talk.send_raw(data, BINARY)
        said = talk.said()
        assert said.is_error(400)
        assert said.body['error'].startswith("Can't decode binary")
