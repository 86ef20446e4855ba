# SPDX-License-Identifier: Apache-2.0
"""Members and headers that 2.1 adds to posts."""

from __future__ import annotations

from typing import Any

import pytest

from zaqar.api.microversion_negotiation import HEADER as NAME
from zaqar.tests.functional.websocket.client import Said, Talk

QUEUE = {'queue_name': 'q'}
NEW = {NAME: 'messaging 2.1'}
KEY, REPLAYED = 'Idempotency-Key', 'Idempotency-Replayed'

ATTRIBUTES = {
    'a': {'type': 'String.json', 'value': '"\N{PILE OF POO}"'},
    'b': {'type': 'Number', 'value': '7'},
}


def post(talk: Talk, *messages: dict[str, Any], **headers: Any) -> Said:
    named = {name.replace('_', '-'): value for name, value in headers.items()}
    messages = tuple({'body': 1, **message} for message in messages)
    return talk.ask(
        'message_post', QUEUE, {**NEW, **named}, messages=list(messages)
    )


def listed(talk: Talk, headers: dict[str, str]) -> list[dict[str, Any]]:
    answer = talk.ask('message_list', {**QUEUE, 'echo': True}, headers)
    messages: list[dict[str, Any]] = answer.body['messages']
    return messages


def test_duplicates_are_not_stored(talk: Talk) -> None:
    (first,) = post(talk, {'dedup_id': 'a'}).body['message_ids']
    again = post(talk, {'dedup_id': 'a'}, {'dedup_id': 'b'})
    assert again.status == 201
    assert again.body['message_ids'][0] == first
    assert len(listed(talk, NEW)) == 2


def test_a_key_in_the_headers_of_a_frame_repeats_the_answer(
    talk: Talk,
) -> None:
    first = post(talk, {'body': 'a'}, **{KEY: 'k'})
    assert first.status == 201
    assert REPLAYED not in first.headers
    again = post(talk, {'body': 'a'}, **{KEY.lower(): 'k'})
    assert (again.status, again.body) == (201, first.body)
    assert again.headers[REPLAYED] == 'true'
    # The next answer says nothing of it.
    assert REPLAYED not in post(talk, {}, **{KEY: 'other'}).headers
    post(talk, {'body': 'b'}, **{KEY: 'k'}).is_error(422, 'another body')
    assert len(listed(talk, NEW)) == 2


@pytest.mark.parametrize('key', ['', 'x' * 256, 'é', 7, True, ['k'], {}])
def test_a_malformed_key_is_refused(talk: Talk, key: Any) -> None:
    post(talk, {}, **{KEY: key}).is_error(400, KEY)
    assert listed(talk, NEW) == []


def test_2_0_ignores_keys(talk: Talk) -> None:
    for key in ('k', 'k', 7, ''):
        answer = talk.ask(
            'message_post', QUEUE, {KEY: key}, messages=[{'body': 1}]
        )
        assert answer.status == 201
        assert REPLAYED not in answer.headers
    assert len(listed(talk, {})) == 4


def test_attributes_and_groups_are_shown_from_2_1_on(talk: Talk) -> None:
    answer = post(talk, {'attributes': ATTRIBUTES, 'group': 'g'})
    assert answer.status == 201
    (message,) = listed(talk, NEW)
    assert (message['attributes'], message['group']) == (ATTRIBUTES, 'g')
    (message,) = listed(talk, {})
    assert not message.keys() & {'attributes', 'group'}
    (claimed,) = talk.ask('claim_create', QUEUE, NEW).body['messages']
    assert claimed['attributes'] == ATTRIBUTES


def test_streams_show_attributes_and_groups(talk: Talk) -> None:
    post(talk, {'attributes': ATTRIBUTES, 'group': 'g'})
    stream = talk.ask('message_stream', {**QUEUE, 'echo': True}, NEW)
    assert stream.status == 200
    message = talk.pushed()['message']
    assert (message['attributes'], message['group']) == (ATTRIBUTES, 'g')


@pytest.mark.parametrize(
    'fields', [{'attributes': {'a': 1}}, {'group': ''}, {'dedup_id': 7}]
)
def test_malformed_members_are_refused(
    talk: Talk, fields: dict[str, Any]
) -> None:
    post(talk, {}, fields).is_error(400)
    assert listed(talk, NEW) == []
