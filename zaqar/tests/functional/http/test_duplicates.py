# SPDX-License-Identifier: Apache-2.0
"""Posts that are sent again: reference/http, "Messages"."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from zaqar.microversion_constants import V2_1
from zaqar.tests.functional.http.client import PATCH, Api, Response

QUEUE = '/v2/queues/q'
MESSAGES = f'{QUEUE}/messages'
KEY = 'Idempotency-Key'
REPLAYED = 'idempotency-replayed'
DAY = 86_400


@pytest.fixture
def new(api: Api) -> Api:
    return api.at(V2_1)


def post(
    api: Api, *messages: dict[str, Any], key: str | None = None
) -> Response:
    document = {'messages': [{'body': 1, **message} for message in messages]}
    return api('POST', MESSAGES, document, headers={KEY: key})


def set_window(api: Api, value: Any) -> Response:
    change = {
        'op': 'add',
        'path': '/metadata/_dedup_window',
        'value': value,
    }
    return api('PATCH', QUEUE, [change], headers={'Content-Type': PATCH})


def hrefs(response: Response) -> Sequence[str]:
    assert response.status == 201, response
    resources: list[str] = response.json['resources']
    ids = [href.rpartition('/')[2] for href in resources]
    assert response.headers['location'] == f'{MESSAGES}?ids={",".join(ids)}'
    return resources


def test_a_duplicate_is_accepted_and_not_stored(new: Api) -> None:
    (first,) = hrefs(post(new, {'dedup_id': 'a', 'body': 'first'}))
    again = post(
        new,
        {'body': 'new'},
        {'dedup_id': 'a', 'body': 'second'},
        {'dedup_id': 'b', 'body': 'other'},
        {'dedup_id': 'b', 'body': 'same'},
    )
    resources = hrefs(again)
    assert resources[1] == first
    assert resources[2] == resources[3]
    assert new.bodies('q') == ['first', 'new', 'other']
    assert REPLAYED not in again.headers
    new('DELETE', first)
    assert hrefs(post(new, {'dedup_id': 'a'})) == [first]
    assert new('GET', first).status == 404


def test_the_window_is_that_of_the_queue(new: Api) -> None:
    def posts_until(window: int) -> None:
        first = hrefs(post(new, {'dedup_id': 'a'}))
        new.clock.move(window - 0.001)
        assert hrefs(post(new, {'dedup_id': 'a'})) == first
        new.clock.move(0.001)
        assert hrefs(post(new, {'dedup_id': 'a'})) != first
        new.clock.move(604_800)

    posts_until(300)
    assert set_window(new, 7).status == 200
    posts_until(7)
    assert set_window(new, 604_800).status == 200
    posts_until(604_800)
    assert set_window(new, 0).status == 200
    assert len(set(hrefs(post(new, *[{'dedup_id': 'a'}] * 3)))) == 3


def test_the_window_is_shown_and_checked(api: Api, new: Api) -> None:
    assert new('PUT', QUEUE, {}).status == 201
    assert new('GET', QUEUE).json['_dedup_window'] == 300
    assert '_dedup_window' not in api('GET', QUEUE).json
    for value in (-1, 604_801, '5', 1.5, True, [5]):
        refused = set_window(new, value)
        assert refused.status == 400
        assert '_dedup_window' in refused.description
    assert new('GET', QUEUE).json['_dedup_window'] == 300
    # A free key of 2.0, which counts as far as it can.
    for value, shown in (('x', 300), (-5, 0), (10**9, 604_800), (0, 0)):
        assert set_window(api, value).status == 200
        assert api('GET', QUEUE).json['_dedup_window'] == value
        assert new('GET', f'{QUEUE}/guarantees').json['dedup_window'] == shown
        assert hrefs(post(new, {'dedup_id': 'a'}))


def test_deleting_the_queue_ends_the_window_and_purging_does_not(
    new: Api,
) -> None:
    first = hrefs(post(new, {'dedup_id': 'a'}))
    purge = {'resource_types': ['messages']}
    assert new('POST', f'{QUEUE}/purge', purge).status == 204
    assert hrefs(post(new, {'dedup_id': 'a'})) == first
    assert new('DELETE', QUEUE).status == 204
    assert hrefs(post(new, {'dedup_id': 'a'})) != first
    assert len(new.bodies('q')) == 1


def test_2_0_knows_no_duplicates(api: Api, new: Api) -> None:
    fields = {'dedup_id': 7, 'group': [], 'attributes': 'x'}
    assert len(set(hrefs(post(api, fields, fields)))) == 2
    hrefs(post(new, {'dedup_id': 'a'}))
    hrefs(post(api, {'dedup_id': 'a'}))
    assert len(api.bodies('q')) == 4
    for message in new('GET', f'{MESSAGES}?echo=1').json['messages']:
        assert not message.keys() & fields.keys()


_NO_TEXTS = ['', ' ', 'a b', 'a\n', 'é', 'x' * 129, '\x7f', '\ud800']


@pytest.mark.parametrize('name', ['dedup_id', 'group'])
@pytest.mark.parametrize('value', [*_NO_TEXTS, None, 7, True, ['a'], {}])
def test_what_is_no_such_text_is_refused(
    new: Api, name: str, value: Any
) -> None:
    refused = post(new, {}, {name: value})
    assert refused.is_error(400, 'Invalid request body', f'"{name}"')
    assert new('GET', '/v2/queues').json['queues'] == []


def test_a_queue_without_room_takes_duplicates(new: Api) -> None:
    new('PUT', QUEUE, {'_max_messages': 1})
    first = hrefs(post(new, {'dedup_id': 'a'}))
    assert hrefs(post(new, {'dedup_id': 'a'})) == first
    assert post(new, {'dedup_id': 'a'}, {}).status == 403
    assert post(new, {'dedup_id': 'b'}).status == 403
    assert hrefs(post(new, {'dedup_id': 'a'})) == first


def test_a_key_repeats_the_first_answer_for_a_day(new: Api) -> None:
    first = post(new, {'body': 'a'}, {'body': 'b'}, key='k')
    assert first.status == 201
    assert REPLAYED not in first.headers
    new.clock.move(DAY - 0.001)
    again = post(new, {'body': 'a'}, {'body': 'b'}, key='k')
    assert (again.status, again.body) == (201, first.body)
    assert again.headers[REPLAYED] == 'true'
    assert again.headers['location'] == first.headers['location']
    new.clock.move(0.001)
    later = post(new, {'body': 'c'}, key='k')
    assert later.status == 201
    assert REPLAYED not in later.headers


def test_a_key_with_another_body_is_refused(new: Api) -> None:
    first = post(new, {'body': 'a'}, key='k')
    for other in (
        [{'body': 'b'}],
        [{'body': 'a', 'ttl': 60}],
        [{'body': 'a', 'delay': 0}],
        [{'body': 'a', 'dedup_id': 'd'}],
        [{'body': 'a'}, {'body': 'a'}],
    ):
        refused = post(new, *other, key='k')
        assert refused.is_error(422, 'Idempotency key reused', 'a new key')
    assert post(new, {'body': 'a'}, key='k').body == first.body
    assert new.bodies('q') == ['a']


def test_the_first_post_with_a_key_repeats_none(new: Api) -> None:
    first = post(new, {'dedup_id': 'a'})
    duplicate = post(new, {'dedup_id': 'a'}, key='k')
    assert hrefs(duplicate) == hrefs(first)
    assert REPLAYED not in duplicate.headers
    again = post(new, {'dedup_id': 'a'}, key='k')
    assert (again.body, REPLAYED in again.headers) == (first.body, True)


def test_blanks_around_members_make_no_other_body(new: Api) -> None:
    texts = (
        b'{"messages":[{"body":{"a": 1},"ttl":60}]}',
        b'{ "messages" : [ {"ttl": 60, "body":{"a": 1}, "x": 1} ] }',
    )
    first, again = (
        new('POST', MESSAGES, raw=text, headers={KEY: 'k'}) for text in texts
    )
    assert (again.status, again.body) == (201, first.body)
    assert again.headers[REPLAYED] == 'true'


def test_keys_are_of_a_project_and_a_queue(new: Api) -> None:
    post(new, {'body': 'a'}, key='k')
    other = new('POST', '/v2/queues/r/messages', _one('b'), headers={KEY: 'k'})
    assert other.status == 201
    foreign = post(new.as_project('another'), {'body': 'c'}, key='k')
    assert foreign.status == 201
    assert REPLAYED not in foreign.headers
    # Clients of a project share them, since one may go on for another.
    assert REPLAYED in post(new.as_other(), {'body': 'a'}, key='k').headers


def test_a_purge_leaves_keys_and_a_new_queue_has_none(new: Api) -> None:
    first = post(new, {'body': 'a'}, key='k')
    new('POST', f'{QUEUE}/purge', {'resource_types': ['messages']})
    again = post(new, {'body': 'a'}, key='k')
    assert (again.body, REPLAYED in again.headers) == (first.body, True)
    assert new.bodies('q') == []
    new('DELETE', QUEUE)
    later = post(new, {'body': 'b'}, key='k')
    assert later.status == 201
    assert REPLAYED not in later.headers


def test_a_refused_post_leaves_its_key(new: Api) -> None:
    assert post(new, {'ttl': 0}, key='k').status == 400
    assert post(new, {'body': 'other'}, key='k').status == 201


@pytest.mark.parametrize('key', ['', ' ', 'x' * 256, 'é', 'a\tb', 'a\x7f'])
def test_a_malformed_key_is_refused(new: Api, key: str) -> None:
    refused = post(new, {}, key=key)
    assert refused.is_error(400, 'Invalid API request', KEY)
    assert new('GET', '/v2/queues').json['queues'] == []


@pytest.mark.parametrize('key', ['x', 'x' * 255, '"a b"', '!~'])
def test_any_other_key_will_do(new: Api, key: str) -> None:
    assert REPLAYED not in post(new, {}, key=key).headers
    assert REPLAYED in post(new, {}, key=key).headers


def test_2_0_ignores_keys(api: Api) -> None:
    for key in ('k', 'k', 'é', ''):
        answer = post(api, {}, key=key)
        assert answer.status == 201
        assert REPLAYED not in answer.headers
    assert len(api.bodies('q')) == 4


def test_other_operations_ignore_keys(new: Api) -> None:
    for _ in range(2):
        assert new('GET', '/v2/queues', headers={KEY: 'é'}).status == 200
        named = {KEY: 'k'}
        claim = new('POST', f'{QUEUE}/claims', {}, headers=named)
        assert claim.status == 204


def _one(body: Any) -> dict[str, Any]:
    return {'messages': [{'body': body}]}
