# SPDX-License-Identifier: Apache-2.0
"""Messages that 2.1 has delayed, on any queue: reference/http, "Messages"."""

from __future__ import annotations

from typing import Any

import pytest

from zaqar.microversion_constants import V2_1
from zaqar.tests.functional.http.client import Api, Response
from zaqar.tests.functional.http.conftest import MakeApi

QUEUE = '/v2/queues/q'
MESSAGES = f'{QUEUE}/messages'

#: The clock of the tests begins at 08:00:00.
AT = '2027-01-15T08:00:10Z'


@pytest.fixture
def new(api: Api) -> Api:
    return api.at(V2_1)


def post(api: Api, **fields: Any) -> Response:
    return api('POST', MESSAGES, {'messages': [{'body': 1, **fields}]})


@pytest.mark.parametrize('fields', [{'delay': 10}, {'deliver_at': AT}])
def test_a_message_is_delayed_on_any_queue(
    api: Api, new: Api, fields: dict[str, Any]
) -> None:
    new.post('q', 'later', **fields)
    new.post('q', 'now')
    for seconds, seen in ((9.999, ['now']), (0.001, ['later', 'now'])):
        new.clock.move(seconds)
        assert new.bodies('q') == seen
        assert new.bodies('q', 'echo=1&include_delayed=1') == ['later', 'now']
        # In 2.0 lists show all on queues without a default delay.
        assert api.bodies('q') == ['later', 'now']
        # Its claims know delays, whoever has made them.
        claimed = api.claim('q')
        messages = claimed.json['messages']
        assert [message['body'] for message in messages] == seen
        api('DELETE', claimed.headers['location'])
    popped = api('DELETE', f'{MESSAGES}?pop=10').json['messages']
    assert [message['body'] for message in popped] == ['later', 'now']


@pytest.mark.parametrize('fields', [{'delay': 10}, {'deliver_at': AT}])
def test_2_0_ignores_delays_where_the_queue_has_none(
    api: Api, fields: dict[str, Any]
) -> None:
    api.post('q', 1, **fields)
    assert api.claim('q').status == 201


@pytest.mark.parametrize('value', [AT, 'x', 7, None, {'a': [1]}])
def test_2_0_ignores_moments_of_any_type(api: Api, value: Any) -> None:
    api('PUT', QUEUE, {'_default_message_delay': 5})
    assert post(api, deliver_at=value).status == 201
    api.clock.move(5)
    assert api.claim('q').status == 201


def test_the_default_of_the_queue_counts(new: Api) -> None:
    new('PUT', QUEUE, {'_default_message_delay': 5})
    new.post('q', 'default')
    new.post('q', 'none', delay=0)
    new.post('q', 'own', delay=901)
    assert new.bodies('q') == ['none']
    new.clock.move(5)
    assert new.bodies('q') == ['default', 'none']
    new.clock.move(896)
    assert new.bodies('q') == ['default', 'none', 'own']


def test_a_moment_in_the_past_is_at_once(new: Api) -> None:
    new.post('q', 1, deliver_at='2027-01-15T07:59:59+00:00')
    assert new.claim('q').status == 201


@pytest.mark.parametrize(
    ('fields', 'text'),
    [
        ({'delay': 60, 'ttl': 60}, 'must be less than its TTL, 60 seconds'),
        ({'delay': 1209601, 'ttl': 1209600}, 'may not exceed 1209600'),
        ({'delay': -1}, 'at least 0 seconds'),
        ({'delay': '1'}, '"delay" field must be a int'),
        ({'deliver_at': '2027-01-15T08:01:00Z', 'ttl': 60}, 'less than its'),
        ({'deliver_at': '2027-01-15T08:00:10'}, 'RFC 3339'),
        ({'deliver_at': AT, 'delay': 0}, 'not both'),
        ({'ttl': 0}, 'must be at least 1 seconds'),
    ],
)
def test_what_does_not_fit_changes_nothing(
    new: Api, fields: dict[str, Any], text: str
) -> None:
    document = {'messages': [{'body': 0}, {'body': 1, **fields}]}
    answer = new('POST', MESSAGES, document)
    assert answer.status == 400
    assert text in answer.description
    assert new('GET', '/v2/queues').json['queues'] == []


def test_a_default_delay_beyond_the_ttl_is_refused(new: Api) -> None:
    new('PUT', QUEUE, {'_default_message_delay': 60})
    answer = post(new, ttl=60)
    assert answer.status == 400
    assert 'must be less than its TTL' in answer.description
    assert post(new, ttl=61).status == 201


def test_a_message_may_live_for_a_second(api: Api, new: Api) -> None:
    assert post(api, ttl=59).status == 400
    assert post(new, ttl=1).status == 201
    new.clock.move(0.999)
    assert new.bodies('q') == [1]
    new.clock.move(0.001)
    assert new.bodies('q') == []


def test_the_operator_bounds_delays_of_both_versions(
    make_api: MakeApi,
) -> None:
    api = make_api('[transport]\nmax_message_schedule = 5\n').at(V2_1)
    assert post(api, delay=5).status == 201
    assert post(api, delay=6).status == 400
    assert post(api, deliver_at=AT).status == 400
    assert post(api, deliver_at='2027-01-15T08:00:05Z').status == 201


def test_messages_of_topics_are_delayed_too(new: Api) -> None:
    new.on_topics().post('q', 1, delay=10)
    path = '/v2/topics/q/messages?echo=1'
    assert new('GET', path).json['messages'] == []
    (shown,) = new('GET', f'{path}&include_delayed=1').json['messages']
    assert shown['visible_at'] == '2027-01-15T08:00:10.000Z'
