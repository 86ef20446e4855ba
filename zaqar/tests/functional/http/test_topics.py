# SPDX-License-Identifier: Apache-2.0
"""Topics: reference/http, "Topics"."""

from __future__ import annotations

from typing import Any

import pytest

from zaqar.api import oslo_policy_registration
from zaqar.api.operation_declarations import topics
from zaqar.tests.functional.http.client import PATCH, Api

TOPIC = '/v2/topics/news'

DEFAULTS = {
    '_max_messages_post_size': 262144,
    '_default_message_ttl': 3600,
    '_default_message_delay': 0,
}


def test_a_topic_is_made_once_and_shows_three_defaults(api: Api) -> None:
    first = api('PUT', TOPIC, {'owner': 'ops'})
    assert (first.status, first.headers['location']) == (201, TOPIC)
    assert api('PUT', TOPIC).status == 204
    assert api('GET', TOPIC).json == {'owner': 'ops', **DEFAULTS}
    assert api('GET', '/v2/topics/nowhere').json == DEFAULTS


def test_metadata_of_a_topic_is_checked_as_that_of_a_queue(api: Api) -> None:
    answer = api('PUT', TOPIC, {'_max_claim_count': 'x'})
    assert answer.is_error(
        400, 'Invalid API request', '_max_claim_count must be integer.'
    )


def _patch(api: Api, op: str, key: str) -> Any:
    change = {'op': op, 'path': f'/metadata/{key}', 'value': 100}
    return api('PATCH', TOPIC, [change], headers={'Content-Type': PATCH})


def test_only_three_keys_are_reserved(api: Api) -> None:
    assert _patch(api, 'add', 'a').is_error(
        404, 'Not found', 'Topic news does not exist for project'
    )
    api('PUT', TOPIC)
    for key in DEFAULTS:
        assert _patch(api, 'remove', key).status == 200
    answer = _patch(api, 'remove', '_max_claim_count')
    assert answer.is_error(409, 'Resource conflict')
    changed = _patch(api, 'replace', '_default_message_ttl')
    assert changed.json == {**DEFAULTS, '_default_message_ttl': 100}


def test_topics_are_listed_without_a_count(api: Api) -> None:
    for name in ('b', 'a', 'c'):
        api('PUT', f'/v2/topics/{name}', {'n': 1})
    api('PUT', '/v2/queues/q')
    page = api('GET', '/v2/topics?limit=2&detailed=true').json
    assert [one['name'] for one in page['topics']] == ['a', 'b']
    assert page['topics'][0]['href'] == '/v2/topics/a'
    assert page['topics'][0]['metadata'] == {'n': 1, **DEFAULTS}
    assert set(page) == {'topics', 'links'}
    (link,) = page['links']
    assert link['href'].startswith('/v2/topics?')
    assert 'detailed=true' in link['href']
    assert len(api('GET', link['href']).json['topics']) == 1
    # Taken for a filter, which no topic passes.
    assert api('GET', '/v2/topics?with_count=true').json['topics'] == []


def test_messages_of_a_topic(api: Api) -> None:
    path = f'{TOPIC}/messages'
    posted = api('POST', path, {'messages': [{'body': 1}, {'body': 2}]})
    assert posted.status == 201
    first, second = posted.json['resources']
    assert first.startswith(f'{path}/')
    assert posted.headers['location'].startswith(f'{path}?ids=')
    shown = api('GET', first).json
    assert (shown['href'], shown['body']) == (first, 1)
    page = api('GET', f'{path}?echo=1&limit=1').json
    assert page['messages'] == [shown]
    assert page['links'][0]['href'].startswith(f'{path}?')
    assert api('DELETE', first).status == 204
    missing = api('GET', first)
    assert missing.is_error(404, 'Not found', 'in topic news for project')
    popped = api('DELETE', f'{path}?pop=1').json['messages']
    assert popped[0]['id'] == second.split('/')[-1]
    listed = api('GET', '/v2/topics').json['topics']
    assert [one['name'] for one in listed] == ['news']


def test_statistics_of_a_topic(api: Api) -> None:
    zeros = {'claimed': 0, 'free': 0, 'total': 0}
    assert api('GET', f'{TOPIC}/stats').json == {'messages': zeros}
    api('PUT', TOPIC)
    assert api('GET', f'{TOPIC}/stats').json == {'messages': {'total': 0}}
    api('POST', f'{TOPIC}/messages', {'messages': [{'body': 1}]})
    counts = api('GET', f'{TOPIC}/stats').json['messages']
    assert set(counts) == {'total', 'oldest', 'newest'}
    assert counts['oldest']['href'].startswith(f'{TOPIC}/messages/')


def test_subscriptions_of_a_topic(api: Api) -> None:
    path = f'{TOPIC}/subscriptions'
    answer = api('POST', path, {'subscriber': 'http://a.b'})
    assert (answer.status, answer.headers['location']) == (201, path)
    item = f'{path}/{answer.json["subscription_id"]}'
    assert api('GET', item).json['source'] == 'news'
    confirmed = api('PUT', f'{item}/confirm', {'confirmed': True})
    assert confirmed.status == 204
    again = api('POST', path, {'subscriber': 'http://a.b'})
    assert (again.status, again.headers['location']) == (409, path)
    assert len(api('GET', path).json['subscriptions']) == 1
    assert api('PATCH', item, {'ttl': 60}).status == 204
    assert api('DELETE', item).status == 204
    assert api('GET', item).status == 404


@pytest.mark.proves('topics are separate')
def test_a_topic_and_a_queue_of_one_name_are_two(api: Api) -> None:
    on_topics = api.on_topics()
    subscriber = {'subscriber': 'http://a.b'}
    for who, body in ((api, 'of queue'), (on_topics, 'of topic')):
        who('PUT', '/v2/queues/x', {'is': body})
        who.post('x', body)
        who('POST', '/v2/queues/x/subscriptions', subscriber)
    assert api('GET', '/v2/queues/x').json['is'] == 'of queue'
    assert on_topics('GET', '/v2/queues/x').json['is'] == 'of topic'
    (message,) = api.post('x', 'second')
    path = f'/v2/queues/x/messages/{message}'
    assert on_topics('GET', path).status == 404
    on_topics('POST', '/v2/queues/x/purge')
    assert api.bodies('x') == ['of queue', 'second']
    assert on_topics.bodies('x') == []
    subscriptions = '/v2/queues/x/subscriptions'
    assert len(api('GET', subscriptions).json['subscriptions']) == 1
    assert on_topics('GET', subscriptions).json['subscriptions'] == []
    on_topics('DELETE', '/v2/queues/x')
    assert api('GET', '/v2/queues').json['queues'][0]['name'] == 'x'


@pytest.mark.parametrize('path', ['claims', 'share'])
def test_a_topic_has_neither_claims_nor_urls(api: Api, path: str) -> None:
    answer = api('POST', f'{TOPIC}/{path}', {})
    assert answer.is_error(404, '404 Not Found')


def test_a_malformed_name_is_that_of_a_topic(api: Api) -> None:
    answer = api('GET', '/v2/topics/a@b')
    assert answer.is_error(
        400,
        'Invalid topic identification',
        'The format of the submitted topic name or project id is not valid.',
    )


def test_rules_of_topics_are_those_that_operators_know() -> None:
    own = {row.rule.name for row in topics.OPERATIONS}
    assert {name for name in own if name.startswith('topics:')} == {
        'topics:get_all',
        'topics:create',
        'topics:get',
        'topics:update',
        'topics:delete',
        'topics:stats',
        'topics:purge',
    }
    assert own <= {rule.name for rule in oslo_policy_registration.list_rules()}
