# SPDX-License-Identifier: Apache-2.0
"""Posts of messages: reference/http, "Messages"."""

from __future__ import annotations

import json
from typing import Any

import pytest

from zaqar.tests.functional.http.client import Api, Response
from zaqar.tests.functional.http.conftest import MakeApi

pytestmark = pytest.mark.every_engine

QUEUE = '/v2/queues/jobs'
MESSAGES = f'{QUEUE}/messages'


def _post(api: Api, *messages: Any) -> Response:
    return api('POST', MESSAGES, {'messages': list(messages)})


def _queues(api: Api) -> int:
    return len(api('GET', '/v2/queues').json['queues'])


# Posting.


def test_a_post_answers_with_the_ids_in_order(api: Api) -> None:
    answer = _post(api, {'body': {'job': 7}, 'ttl': 600}, {'body': 'ping'})
    assert answer.status == 201
    assert set(answer.json) == {'resources'}
    paths = answer.json['resources']
    ids = [path.removeprefix(f'{MESSAGES}/') for path in paths]
    assert answer.headers['location'] == f'{MESSAGES}?ids={",".join(ids)}'
    shown = [api('GET', path).json for path in paths]
    assert [message['body'] for message in shown] == [{'job': 7}, 'ping']
    assert [message['ttl'] for message in shown] == [600, 3600]
    assert [message['id'] for message in shown] == ids


@pytest.mark.parametrize('count', [20, 59, 60, 120, 2000])
def test_the_location_of_a_large_post_is_short(api: Api, count: int) -> None:
    answer = _post(api, *[{'body': 0}] * count)
    assert answer.status == 201
    paths = answer.json['resources']
    ids = [path.removeprefix(f'{MESSAGES}/') for path in paths]
    assert len(set(ids)) == count
    location = answer.headers['location']
    assert len(location) <= 2048
    whole = f'{MESSAGES}?ids={",".join(ids)}'
    # Few are named as ever; else it is where they can be listed.
    assert location == (whole if len(whole) <= 2048 else MESSAGES)
    if count == 20:
        assert len(api('GET', location).json['messages']) == count


def test_a_post_creates_the_queue(api: Api) -> None:
    _post(api, {'body': 1})
    assert _queues(api) == 1


FAULTS = [
    ({}, 'Invalid API request', 'No messages were found in the request body.'),
    ([], 'Invalid API request', 'No messages were found in the request body.'),
    (
        [{'body': 1}],
        'Invalid API request',
        'No messages were found in the request body.',
    ),
    ({'messages': []}, 'Invalid API request', 'No messages to enqueu.'),
    (
        {'messages': {'body': 1}},
        'Invalid request body',
        'Document type not supported.',
    ),
    ({'messages': 'x'}, 'Invalid request body', 'Document type not'),
    ({'messages': None}, 'Invalid request body', 'Document type not'),
    ({'messages': [{}]}, 'Invalid request body', 'Missing "body" field.'),
    (
        {'messages': [{'body': 1}, {'ttl': 60}]},
        'Invalid request body',
        'Missing "body" field.',
    ),
    ({'messages': [1]}, 'Invalid request body', ''),
    ({'messages': [[]]}, 'Invalid request body', ''),
    ({'messages': [None]}, 'Invalid request body', ''),
]


@pytest.mark.parametrize(('document', 'title', 'text'), FAULTS)
def test_a_faulty_post_is_refused_and_creates_nothing(
    api: Api, document: Any, title: str, text: str
) -> None:
    answer = api('POST', MESSAGES, document)
    assert answer.is_error(400, title, text)
    assert _queues(api) == 0


@pytest.mark.parametrize(
    ('ttl', 'fits'),
    [(59, False), (60, True), (1209600, True), (1209601, False), (-1, False)],
)
def test_a_life_is_within_its_range(api: Api, ttl: int, fits: bool) -> None:
    answer = _post(api, {'body': 1}, {'body': 2, 'ttl': ttl})
    if fits:
        assert answer.status == 201
        return
    assert answer.is_error(
        400,
        'Invalid API request',
        'The TTL for a message may not exceed 1209600 seconds, and must be '
        'at least 60 seconds long.',
    )
    assert api.bodies('jobs') == []
    assert _queues(api) == 0


def test_the_queue_gives_the_default_life(api: Api) -> None:
    api('PUT', QUEUE, {'_default_message_ttl': 100})
    _post(api, {'body': 1}, {'body': 2, 'ttl': 70})
    shown = api('GET', f'{MESSAGES}?echo=1').json['messages']
    assert [message['ttl'] for message in shown] == [100, 70]


def test_an_operator_gives_the_default_life(make_api: MakeApi) -> None:
    api = make_api('[transport]\ndefault_message_ttl = 77')
    _post(api, {'body': 1})
    assert api('GET', f'{MESSAGES}?echo=1').json['messages'][0]['ttl'] == 77


def test_other_keys_are_ignored(api: Api) -> None:
    document = {'messages': [{'body': 1, 'id': 'x', 'a': {}}], 'more': [1]}
    assert api('POST', MESSAGES, document).status == 201
    shown = api('GET', f'{MESSAGES}?echo=1').json['messages'][0]
    assert set(shown) == {'id', 'href', 'ttl', 'age', 'body'}


def _sized(size: int) -> bytes:
    text = b'{"messages": [{"body": "%s"}]}'
    return text % (b'x' * (size - len(text) + 2))


def test_a_post_may_be_as_long_as_the_limit_and_no_longer(api: Api) -> None:
    assert api('POST', MESSAGES, raw=_sized(262144)).status == 201
    answer = api('POST', MESSAGES, raw=_sized(262145))
    assert answer.is_error(
        400,
        'Invalid API request',
        'Message collection size is too large. Max size 262144',
    )
    assert len(api.bodies('jobs')) == 1


def test_a_queue_may_lower_the_limit(api: Api) -> None:
    api('PUT', QUEUE, {'_max_messages_post_size': 100})
    assert api('POST', MESSAGES, raw=_sized(100)).status == 201
    answer = api('POST', MESSAGES, raw=_sized(101))
    assert answer.is_error(
        400,
        'Invalid API request',
        'Message collection size is too large. The max size for current '
        'queue is 100. It is calculated by max size = '
        'min(max_messages_post_size_config: 262144, '
        'max_messages_post_size_queue: 100).',
    )


def test_many_messages_fit_in_a_post(api: Api) -> None:
    numbers = list(range(2000))
    assert len(set(api.post('jobs', *numbers))) == 2000
    assert api.bodies('jobs', 'echo=1&limit=20') == numbers[:20]


# Delay.


def test_a_delay_counts_only_on_queues_with_a_delay(api: Api) -> None:
    _post(api, {'body': 1, 'delay': 100}, {'body': 2, 'delay': 'nonsense'})
    assert len(api.claim('jobs').json['messages']) == 2


def test_a_delayed_message_waits(api: Api) -> None:
    api('PUT', QUEUE, {'_default_message_delay': 10})
    (late,) = api.post('jobs', 'late', delay=100)
    api.post('jobs', 'default')
    api.post('jobs', 'now', delay=0)
    assert api.bodies('jobs') == ['now']
    assert api.bodies('jobs', 'echo=1&include_delayed=1') == [
        'late',
        'default',
        'now',
    ]
    assert api('GET', f'{MESSAGES}/{late}').json['body'] == 'late'
    api.clock.move(9.999)
    assert api.bodies('jobs') == ['now']
    api.clock.move(0.001)
    assert api.bodies('jobs') == ['default', 'now']
    popped = api('DELETE', f'{MESSAGES}?pop=5').json['messages']
    assert [message['body'] for message in popped] == ['default', 'now']
    assert api.claim('jobs').status == 204
    api.clock.move(90)
    assert len(api.claim('jobs').json['messages']) == 1


def test_a_delayed_message_can_be_deleted(api: Api) -> None:
    api('PUT', QUEUE, {'_default_message_delay': 10})
    (late,) = api.post('jobs', 'late')
    assert api('DELETE', f'{MESSAGES}/{late}').status == 204
    assert api('GET', f'{MESSAGES}/{late}').status == 404


@pytest.mark.parametrize(
    ('delay', 'fits'), [(-1, False), (0, True), (900, True), (901, False)]
)
def test_a_delay_is_within_its_range(api: Api, delay: int, fits: bool) -> None:
    api('PUT', QUEUE, {'_default_message_delay': 1})
    answer = _post(api, {'body': 1, 'delay': delay})
    if fits:
        assert answer.status == 201
        return
    assert answer.is_error(
        400,
        'Invalid API request',
        'The Delay TTL for a message may not exceed 900 seconds,and must be '
        'at least 0 seconds long.',
    )


def test_the_operators_default_delay_is_applied(make_api: MakeApi) -> None:
    api = make_api('[transport]\ndefault_message_delay = 30')
    api.post('jobs', 1)
    assert api.claim('jobs').status == 204
    api.clock.move(30)
    assert api.claim('jobs').status == 201


def test_a_queue_opts_out_of_the_operators_delay(make_api: MakeApi) -> None:
    api = make_api('[transport]\ndefault_message_delay = 30')
    api('PUT', QUEUE, {'_default_message_delay': 0})
    assert api('GET', QUEUE).json['_default_message_delay'] == 0
    api.post('jobs', 1)
    assert api.bodies('jobs') == [1]
    assert api.claim('jobs').status == 201


def test_a_message_opts_out_of_the_operators_delay(make_api: MakeApi) -> None:
    api = make_api('[transport]\ndefault_message_delay = 30')
    api.post('jobs', 1, delay=0)
    assert api.claim('jobs').status == 201


def test_life_is_checked_before_delay(api: Api) -> None:
    api('PUT', QUEUE, {'_default_message_delay': 1})
    answer = _post(api, {'body': 1, 'delay': -1, 'ttl': 1})
    assert 'The TTL for a message' in answer.description


# Checksums.


@pytest.mark.parametrize(
    ('text', 'checksum'),
    [
        ('{"a":1}', 'MD5:42b7b4f2921788ea14dac5566e6f06d0'),
        ('{ "a" :  1 }', 'MD5:42b7b4f2921788ea14dac5566e6f06d0'),
        ('"é"', 'MD5:3e3a1a6fd91a6c2f5a6cfb2f3ba3a0b5'),
    ],
)
def test_a_checksum_is_that_of_the_body_as_python_writes_it(
    make_api: MakeApi, text: str, checksum: str
) -> None:
    import hashlib

    api = make_api('enable_checksum = true')
    raw = f'{{"messages": [{{"body": {text}}}]}}'.encode()
    path = api('POST', MESSAGES, raw=raw).json['resources'][0]
    written = json.dumps(json.loads(text)).encode()
    expected = f'MD5:{hashlib.md5(written).hexdigest()}'
    if text != '"é"':
        assert expected == checksum
    assert api('GET', path).json['checksum'] == expected
    listed = api('GET', f'{MESSAGES}?echo=1').json['messages'][0]
    assert listed['checksum'] == expected
    assert api.claim('jobs').json['messages'][0]['checksum'] == expected
    api.clock.move(1000)
    popped = api('DELETE', f'{MESSAGES}?pop=1').json['messages'][0]
    assert popped['checksum'] == expected


def test_null_has_no_checksum(make_api: MakeApi) -> None:
    api = make_api('enable_checksum = true')
    (message_id,) = api.post('jobs', None)
    assert 'checksum' not in api('GET', f'{MESSAGES}/{message_id}').json


def test_checksums_are_off_by_default(api: Api) -> None:
    (message_id,) = api.post('jobs', 1)
    assert 'checksum' not in api('GET', f'{MESSAGES}/{message_id}').json


# A limit on what a queue holds.


def test_a_full_queue_takes_nothing_more(make_api: MakeApi) -> None:
    api = make_api('[transport]\nmax_messages_per_queue = 3')
    api('PUT', QUEUE, {'_default_message_delay': 1})
    api.post('jobs', 1)
    api.clock.move(2)
    api.claim('jobs')
    api.post('jobs', 2, delay=50)
    answer = _post(api, {'body': 3}, {'body': 4})
    assert answer.is_error(403, 'Queue is full')
    stats = api('GET', f'{QUEUE}/stats').json['messages']
    assert stats['total'] == 2
    assert _post(api, {'body': 3}).status == 201
    assert _post(api, {'body': 4}).status == 403
    api.clock.move(100)
    assert api('DELETE', f'{MESSAGES}?pop=1').status == 200
    assert _post(api, {'body': 4}).status == 201
    assert _post(api, {'body': 5}).status == 403


def test_the_dead_do_not_fill_a_queue(make_api: MakeApi) -> None:
    api = make_api('[transport]\nmax_messages_per_queue = 2')
    api.post('jobs', 1, 2, ttl=60)
    api.clock.move(60)
    api.post('jobs', 3, 4)
    assert api.bodies('jobs') == [3, 4]


def test_a_queue_may_lower_its_own_limit(make_api: MakeApi) -> None:
    api = make_api('[transport]\nmax_messages_per_queue = 3')
    api('PUT', QUEUE, {'_max_messages': 1})
    assert api('GET', QUEUE).json['_max_messages'] == 1
    assert _post(api, {'body': 1}).status == 201
    assert _post(api, {'body': 2}).is_error(403, 'Queue is full')
    api('PUT', '/v2/queues/more', {'_max_messages': 100})
    api.post('more', 1, 2, 3)
    assert '_max_messages' not in api('GET', '/v2/queues/x').json
    answer = api(
        'POST', '/v2/queues/more/messages', {'messages': [{'body': 4}]}
    )
    assert answer.status == 403
