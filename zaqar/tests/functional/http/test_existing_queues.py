# SPDX-License-Identifier: Apache-2.0
"""What 2.1 adds for clients that know of queues whether they exist.

Clients of Amazon SQS do; all of it is for others, too.
"""

from __future__ import annotations

from typing import Any

import pytest

from zaqar.microversion_constants import V2_1
from zaqar.tests.functional.http.client import PATCH, Api, Response

QUEUE = '/v2/queues/jobs'


@pytest.fixture
def new(api: Api) -> Api:
    return api.at(V2_1)


def _calls(api: Api) -> list[Response]:
    options = {'ttl': 60, 'grace': 60}
    message = {'messages': [{'body': 1, 'ttl': 60}]}
    return [
        api('GET', f'{QUEUE}?existing=true'),
        api('POST', f'{QUEUE}/purge?existing=true', {'resource_types': []}),
        api('POST', f'{QUEUE}/purge?existing=true'),
        api('POST', f'{QUEUE}/claims?existing=true', options),
        api('POST', f'{QUEUE}/claims?existing=true&wait=1', options),
        api('DELETE', f'{QUEUE}/messages/{"0" * 32}?existing=true'),
        api('POST', f'{QUEUE}/messages?existing=true', message),
    ]


def test_a_missing_queue_is_refused_on_request(api: Api, new: Api) -> None:
    # Resources of which none is purged need no queue.
    statuses = [answer.status for answer in _calls(new)]
    assert statuses == [404, 204, 404, 404, 404, 404, 404]
    assert new('GET', '/v2/queues').json['queues'] == []
    new('PUT', QUEUE)
    assert 404 not in [answer.status for answer in _calls(new)]
    new('DELETE', QUEUE)
    assert 404 not in [answer.status for answer in _calls(api)]


def _delete(api: Api, claim: Response, count: int) -> int:
    (message,) = claim.json['messages']
    path = f'{message["href"]}&claim_count={count}'
    return api('DELETE', path).status


def test_a_count_deletes_a_message_after_its_claim(new: Api) -> None:
    new.post('jobs', 1)
    first = new.claim('jobs', ttl=1, grace=0)
    new.clock.move(1)
    second = new.claim('jobs', ttl=1, grace=0)
    # It was handed out since, and is held.
    assert _delete(new, first, 1) == 400
    new.clock.move(1)
    # It is free, but was handed out since.
    assert _delete(new, first, 1) == 400
    assert new.bodies('jobs') == [1]
    assert _delete(new, second, 2) == 204
    assert new.bodies('jobs') == []
    assert _delete(new, second, 2) == 204


def test_a_count_tells_claims_with_the_same_id_apart(new: Api) -> None:
    new.post('jobs', 1)
    first = new.claim('jobs', id='mine')
    new('DELETE', first.headers['location'])
    second = new.claim('jobs', id='mine')
    # The same claim holds it, by its id.
    assert _delete(new, first, 1) == 400
    assert _delete(new, second, 2) == 204
    assert new.bodies('jobs', 'echo=true&include_claimed=true') == []


def test_below_2_1_a_count_says_nothing(api: Api, new: Api) -> None:
    new.post('jobs', 1)
    claim = new.claim('jobs', ttl=1, grace=0)
    new.clock.move(1)
    assert _delete(api, claim, 1) == 400


def test_a_claim_with_an_id_is_made_once(api: Api, new: Api) -> None:
    new.post('jobs', 1, 2)
    options = {'ttl': 60, 'grace': 60, 'id': 'mine-1'}
    claims = [new('POST', f'{QUEUE}/claims?limit=1', options) for _ in 'ab']
    assert claims[0].json == claims[1].json
    assert claims[0].headers['location'].endswith('/claims/mine-1')
    for wrong in ('', 'a b', 'x' * 65, 1, None):
        refused = new.claim('jobs', id=wrong)
        assert refused.is_error(400, 'Invalid request body', '"id"')
    other = api('POST', f'{QUEUE}/claims', options)
    assert other.status == 201
    assert not other.headers['location'].endswith('/mine-1')


def test_a_queue_made_by_a_post_adopts_metadata(api: Api, new: Api) -> None:
    new.post('jobs', 1)
    path = f'{QUEUE}?adopt=true'
    assert api('PUT', path, {'a': 1}).status == 204
    assert new('PUT', path, {'a': 1}).status == 201
    assert new('PUT', path, {'a': 2}).status == 204
    assert new('GET', QUEUE).json['a'] == 1
    assert new.bodies('jobs') == [1]


def _names(api: Api, query: str) -> list[str]:
    page = api('GET', f'/v2/queues?limit=20&{query}').json
    return [item['name'] for item in page['queues']]


def test_queues_are_listed_by_the_beginning_of_their_names(
    api: Api, new: Api
) -> None:
    for name in ('a', 'ab', 'abc', 'b'):
        new(
            'PUT',
            f'/v2/queues/{name}',
            {},
        )
    assert _names(new, 'prefix=ab') == ['ab', 'abc']
    assert _names(new, 'prefix=ab&marker=ab') == ['abc']
    assert _names(api, 'prefix=ab') == []


def test_queues_are_listed_by_their_dead_letter_queue(
    api: Api, new: Api
) -> None:
    letters = {'_dead_letter_queue': 'dead', '_max_claim_count': 2}
    for name in ('b', 'a', 'c', 'd'):
        api('PUT', f'/v2/queues/{name}', letters)
    change = [
        {'op': 'add', 'path': '/metadata/_dead_letter_queue', 'value': 'dead'}
    ]
    new('PUT', '/v2/queues/e')
    for name, value in (('e', 'dead'), ('c', 'other')):
        change[0]['value'] = value
        path = f'/v2/queues/{name}'
        assert api('PATCH', path, change, headers=_PATCH).status == 200
    new('DELETE', '/v2/queues/d')
    assert _names(new, 'dead_letter_queue=dead') == ['a', 'b', 'e']
    assert _names(new, 'dead_letter_queue=dead&marker=a') == ['b', 'e']
    assert _names(new, 'dead_letter_queue=other') == ['c']
    assert _names(new, 'dead_letter_queue=none') == []
    assert _names(new, f'dead_letter_queue=dead&marker={"b" * 999}') == ['e']
    assert _names(new, 'dead_letter_queue=dead&marker=b%00') == ['e']
    for name in ('%00', 'a/b', 'x' * 999):
        answer = new('GET', f'/v2/queues?dead_letter_queue={name}')
        assert answer.status == 400


_PATCH = {'Content-Type': PATCH}


def test_a_patch_tests_what_it_depends_on(api: Api, new: Api) -> None:
    new('PUT', QUEUE, {'n': 1})

    def patch(api: Api, expected: Any) -> Response:
        changes = [
            {'op': 'test', 'path': '/metadata/n', 'value': expected},
            {'op': 'add', 'path': '/metadata/n', 'value': 2},
        ]
        return api('PATCH', QUEUE, changes, headers=_PATCH)

    refused = patch(api, 1)
    assert refused.is_error(
        400, 'Invalid request body', 'add, remove, replace.'
    )
    assert patch(new, 1).json['n'] == 2
    assert patch(new, 1).status == 409


def test_a_queue_of_sqs_with_order_is_one_for_all_posts(
    api: Api, new: Api
) -> None:
    for wrong in ({'scope': 'x'}, {'more': 1}, 'true'):
        assert new('PUT', QUEUE, {'sqs_fifo': wrong}).status == 400
    new('PUT', QUEUE, {'sqs_fifo': {'content_based': True}})
    message = {'body': 'a', 'ttl': 60}
    path = f'{QUEUE}/messages'
    assert new('POST', path, {'messages': [message]}).status == 400
    grouped = {'messages': [{**message, 'group': 'g'}] * 2}
    assert new('POST', path, grouped).status == 201
    (shown,) = new.claim('jobs').json['messages']
    assert len(shown['dedup_id']) == 64
    assert api('POST', path, {'messages': [message]}).status == 201
