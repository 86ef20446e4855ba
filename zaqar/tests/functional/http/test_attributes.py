# SPDX-License-Identifier: Apache-2.0
"""Attributes and groups of messages: reference/http, "Messages"."""

from __future__ import annotations

import json
from typing import Any

import pytest
import sqlalchemy as sa

from zaqar.microversion_constants import V2_1
from zaqar.storage.sqlalchemy import tables
from zaqar.tests.functional.http import pools
from zaqar.tests.functional.http.client import PATCH, Api, Response
from zaqar.tests.functional.http.conftest import MakeApi
from zaqar.tests.functional.http.engines import OWN

pytestmark = pytest.mark.sqlite

QUEUE = '/v2/queues/jobs'
MESSAGES = f'{QUEUE}/messages'
SECRET = 'attack at dawn'

ATTRIBUTES = {
    'a': {'type': 'String', 'value': f'{SECRET} \N{PILE OF POO} é"\\\x00'},
    'trace-id_1.x': {'type': 'String.json', 'value': '{}'},
    'n' * 256: {'type': 'Number', 'value': '-0012.50e+3'},
    'B': {'type': 'Binary.png', 'value': 'AAEC/w=='},
}


@pytest.fixture(params=['plain', 'encrypted'])
def api(request: pytest.FixtureRequest, make_api: MakeApi) -> Api:
    api = make_api(
        '[transport]\nmessage_encryption_key = a key of some length'
    )
    api('PUT', QUEUE, {'_enable_encrypt_messages': request.param != 'plain'})
    return api


@pytest.fixture
def new(api: Api) -> Api:
    return api.at(V2_1)


def post(api: Api, *messages: dict[str, Any]) -> Response:
    document = {'messages': [{'body': 1, **message} for message in messages]}
    return api('POST', MESSAGES, document)


def change(api: Api, **metadata: Any) -> None:
    changes = [
        {'op': 'add', 'path': f'/metadata/{name}', 'value': value}
        for name, value in metadata.items()
    ]
    answer = api('PATCH', QUEUE, changes, headers={'Content-Type': PATCH})
    assert answer.status == 200


def at_rest(api: Api) -> bytes:
    statement = sa.select(tables.message.c.extras, tables.message.c.body)
    rows = pools.rows(api, OWN, statement.where(pools.IS_OF_A_CLIENT))
    return b''.join(bytes(part or b'') for row in rows for part in row)


def ways_out(api: Api) -> list[dict[str, Any]]:
    """Return the message of a queue as each operation shows it."""
    shown = [api('GET', f'{MESSAGES}?echo=1').json['messages'][0]]
    name = shown[0]['href'].rpartition('/')[2].partition('?')[0]
    shown += api('GET', f'{MESSAGES}?ids={name}').json['messages']
    shown.append(api('GET', f'{MESSAGES}/{name}').json)
    claim = api('POST', f'{QUEUE}/claims', {'ttl': 60})
    shown += claim.json['messages']
    location = claim.headers['location']
    shown += api('GET', location).json['messages']
    api('DELETE', location)
    shown += api('DELETE', f'{MESSAGES}?pop=1').json['messages']
    assert len(shown) == 6
    return shown


def test_attributes_come_back_on_every_way(api: Api, new: Api) -> None:
    assert post(new, {'attributes': ATTRIBUTES}).status == 201
    for message in ways_out(new):
        assert message['attributes'] == ATTRIBUTES
        assert 'group' not in message
    post(new, {'attributes': ATTRIBUTES})
    for message in ways_out(api):
        assert 'attributes' not in message


def test_attributes_of_encrypted_queues_are_encrypted(
    api: Api, new: Api
) -> None:
    post(new, {'body': SECRET, 'attributes': ATTRIBUTES})
    stored = at_rest(api)
    is_encrypted = new('GET', QUEUE).json['_enable_encrypt_messages']
    assert (SECRET.encode() in stored) is not is_encrypted
    assert (b'trace-id' in stored) is not is_encrypted


def test_dead_letters_keep_attributes(api: Api, new: Api) -> None:
    change(new, _max_claim_count=1, _dead_letter_queue='dead')
    post(new, {'attributes': ATTRIBUTES})
    for _ in range(2):
        claim = new('POST', f'{QUEUE}/claims', {'ttl': 60})
        if claim.status == 201:
            new('DELETE', claim.headers['location'])
    (letter,) = new('GET', '/v2/queues/dead/messages?echo=1').json['messages']
    assert letter['attributes'] == ATTRIBUTES
    assert letter['dead_letter']['queue'] == 'jobs'
    is_encrypted = new('GET', QUEUE).json['_enable_encrypt_messages']
    assert (SECRET.encode() in at_rest(api)) is not is_encrypted


def test_none_are_none(new: Api) -> None:
    post(new, {'attributes': {}})
    assert 'attributes' not in ways_out(new)[0]


def test_escaped_characters_come_back_beside_half_a_pair(new: Api) -> None:
    text = json.dumps({'a': {'type': 'String', 'value': '\N{PILE OF POO}'}})
    raw = f'{{"messages":[{{"body":"\\ud800","attributes":{text}}}]}}'
    assert new('POST', MESSAGES, raw=raw.encode()).status == 201
    message = ways_out(new)[0]
    assert message['attributes']['a']['value'] == '\N{PILE OF POO}'
    assert message['body'] == '\ud800'


def _string(value: Any) -> dict[str, Any]:
    return {'a': {'type': 'String', 'value': value}}


def _of(kind: Any, value: Any = '1') -> dict[str, Any]:
    return {'a': {'type': kind, 'value': value}}


def _named(name: str) -> dict[str, Any]:
    return {name: {'type': 'String', 'value': 'x'}}


@pytest.mark.parametrize(
    'value',
    [
        *(None, 7, 'x', [], [1], True),
        *({'a': None}, {'a': 'x'}, {'a': {}}, {'a': {'type': 'String'}}),
        *({'a': {'value': 'x'}}, _string(7), _string(None), _string('')),
        *(_string('\ud800'), _named(''), _named('n' * 257), _named('a..b')),
        *(_named('.a'), _named('a.'), _named('a b'), _named('é')),
        *(_of(7), _of(''), _of('string'), _of('String.'), _of('Text')),
        *(_of('String.a b'), _of('Number.' + 'x' * 250), _of('Number', 'x')),
        *(_of('Number', ''), _of('Number', '1 '), _of('Number', '\u0661')),
        *(_of('Number', '1' * 39), _of('Number', 'NaN'), _of('Number', '.')),
        *(_of('Binary', ''), _of('Binary', 'AA'), _of('Binary', 'A A=')),
        *(_of('Binary', '\u00e9==='), _of('Binary', 'AAEC_w==')),
        {f'n{number}': _of('Number')['a'] for number in range(11)},
    ],
)
def test_what_are_no_attributes_is_refused(new: Api, value: Any) -> None:
    refused = post(new, {}, {'attributes': value})
    assert refused.is_error(400, 'Invalid request body', 'ttribute')
    assert new.bodies('jobs') == []


@pytest.mark.parametrize('number', ['0', '+1.', '.5', '-1e126', '1' * 38])
def test_numbers_are_kept_as_texts(new: Api, number: str) -> None:
    attributes = {
        f'n{place}': _of('Number.int', number)['a'] for place in range(10)
    }
    assert post(new, {'attributes': attributes}).status == 201
    assert ways_out(new)[0]['attributes'] == attributes


def test_a_group_is_shown(api: Api, new: Api) -> None:
    assert post(new, {'group': 'customer-7!~'}).status == 201
    for message in ways_out(new):
        assert message['group'] == 'customer-7!~'
    post(new, {'group': 'customer-7!~'})
    for message in ways_out(api):
        assert 'group' not in message


@pytest.mark.parametrize(
    'more',
    [{'delay': 0}, {'delay': 5}, {'deliver_at': '2000-01-01T00:00:00Z'}],
)
def test_a_group_and_a_delay_are_refused_together(
    new: Api, more: dict[str, Any]
) -> None:
    refused = post(new, {'group': 'g', **more})
    assert refused.is_error(400, 'Invalid API request', '"group"')
    assert new.bodies('jobs') == []


def test_the_delay_of_the_queue_counts_for_groups(new: Api) -> None:
    change(new, _default_message_delay=5)
    assert post(new, {'group': 'g', 'body': 'x'}).status == 201
    assert new.bodies('jobs') == []
    new.clock.move(5)
    assert new.bodies('jobs') == ['x']
