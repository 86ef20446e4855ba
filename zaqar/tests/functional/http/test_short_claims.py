# SPDX-License-Identifier: Apache-2.0
"""Claims from 2.1 on: their bounds and the defaults of their queue."""

from __future__ import annotations

from typing import Any

import pytest

from zaqar.microversion_constants import V2_0, V2_1
from zaqar.tests.functional.http.client import PATCH, Api
from zaqar.tests.functional.http.conftest import MakeApi

QUEUE = '/v2/queues/jobs'
TTL, WAIT = '_default_claim_ttl', '_default_wait'


@pytest.fixture
def new(api: Api) -> Api:
    return api.at(V2_1)


def _is_refused(api: Api, **options: int) -> bool:
    answer = api.claim('jobs', **options)
    path = '/v2/queues/jobs/claims/none'
    renewed = api('PATCH', path, {'ttl': 60, 'grace': 60, **options})
    assert (answer.status == 400) == (renewed.status == 400)
    return answer.status == 400


@pytest.mark.parametrize(
    ('options', 'is_old'),
    [
        ({'ttl': 60, 'grace': 60}, True),
        ({'ttl': 43200, 'grace': 43200}, True),
        ({'ttl': 1}, False),
        ({'ttl': 59}, False),
        ({'grace': 0}, False),
        ({'grace': 59}, False),
        ({'ttl': 1, 'grace': 0}, False),
    ],
)
def test_the_least_ttl_is_a_second_and_the_least_grace_none(
    api: Api, options: dict[str, int], is_old: bool
) -> None:
    api.post('jobs', *range(4))
    assert not _is_refused(api.at(V2_1), **options)
    for old in (api, api.at(V2_0)):
        assert _is_refused(old, **options) != is_old


@pytest.mark.parametrize(
    'options', [{'ttl': 0}, {'ttl': 43201}, {'grace': -1}, {'grace': 43201}]
)
def test_beyond_its_bounds_a_claim_takes_nothing(
    new: Api, options: dict[str, int]
) -> None:
    new.post('jobs', 1)
    assert _is_refused(new, **options)
    assert new.bodies('jobs') == [1]


def test_the_text_names_the_bounds_of_the_version(api: Api) -> None:
    for version, ttl, grace in ((V2_0, 60, 60), (V2_1, 1, 0)):
        text = 'may not exceed 43200 seconds, and must be at least'
        answer = api.at(version).claim('jobs', ttl=0)
        assert f'The TTL for a claim {text} {ttl} ' in answer.description
        answer = api.at(version).claim('jobs', grace=-1)
        assert f'The grace for a claim {text} {grace} ' in answer.description


def test_a_short_claim_lapses_and_is_renewed(new: Api) -> None:
    new.post('jobs', 1)
    path = new.claim('jobs', ttl=1, grace=0).headers['location']
    assert new.claim('jobs').status == 204
    assert new('PATCH', path, {'ttl': 2, 'grace': 0}).status == 204
    new.clock.move(1.999)
    assert new('GET', path).json['ttl'] == 2
    new.clock.move(0.001)
    assert new('GET', path).status == 404
    assert new.claim('jobs').status == 201


def test_without_grace_a_message_ends_with_its_claim(new: Api) -> None:
    (id_,) = new.post('jobs', 1, ttl=60)
    new.clock.move(59)
    new.claim('jobs', ttl=5, grace=0)
    path = f'{QUEUE}/messages/{id_}'
    new.clock.move(4.999)
    assert new('GET', path).json['ttl'] == 5
    new.clock.move(0.001)
    assert new('GET', path).status == 404


# The defaults of a queue.


@pytest.mark.parametrize(
    ('stored', 'ttl'), [(7, 7), (0, 1), (43200, 43200), (None, 300)]
)
def test_a_queue_sets_the_ttl_of_claims_without_one(
    new: Api, stored: int | None, ttl: int
) -> None:
    assert new('PUT', QUEUE, {TTL: stored}).status == 201
    new.post('jobs', 1, 2)
    for options in ({}, {'grace': 60}):
        path = new.claim('jobs', limit=1, **options).headers['location']
        assert new('GET', path).json['ttl'] == ttl
        assert new('PATCH', path, options).status == 204
        assert new('GET', path).json['ttl'] == ttl
        assert new('PATCH', path, {'ttl': 60}).status == 204
        assert new('GET', path).json['ttl'] == 60
        new('DELETE', path)


def test_claims_of_2_0_know_no_such_default(api: Api) -> None:
    api.at(V2_1)('PUT', QUEUE, {TTL: 7})
    api.post('jobs', 1)
    path = api.claim('jobs').headers['location']
    assert api('GET', path).json['ttl'] == 300


@pytest.mark.parametrize('value', ['7', -1, 43201, [7]])
def test_what_2_0_has_stored_unchecked_is_no_default(
    api: Api, value: Any
) -> None:
    assert api('PUT', QUEUE, {TTL: value, WAIT: value}).status == 201
    assert api('GET', QUEUE).json[TTL] == value
    new = api.at(V2_1)
    new.post('jobs', 1)
    path = new.claim('jobs').headers['location']
    assert new('GET', path).json['ttl'] == 300


def test_a_patch_is_not_refused_for_what_2_0_has_stored(api: Api) -> None:
    wrong = {TTL: 'long', WAIT: -1, 'a': 1}
    assert api('PUT', QUEUE, wrong).status == 201
    new = api.at(V2_1)

    def patch(api: Api, op: str, key: str, *value: Any) -> int:
        change = {'op': op, 'path': f'/metadata/{key}'}
        if value:
            change['value'] = value[0]
        kind = {'Content-Type': PATCH}
        return api('PATCH', QUEUE, [change], headers=kind).status

    assert patch(new, 'replace', 'a', 2) == 200
    assert new('GET', QUEUE).json['a'] == 2
    # What it touches is checked.
    assert patch(new, 'replace', TTL, 'short') == 400
    assert patch(new, 'add', '_max_messages', -1) == 400
    assert patch(new, 'replace', WAIT, 5) == 200
    assert patch(new, 'remove', TTL) == 200
    assert patch(api, 'replace', WAIT, 'soon') == 200
    assert new('GET', QUEUE).json['a'] == 2


@pytest.mark.parametrize(
    ('key', 'most', 'default'), [(TTL, 43200, 300), (WAIT, 60, 0)]
)
def test_the_defaults_are_reserved_keys(
    new: Api, key: str, most: int, default: int
) -> None:
    for value in (-1, most + 1, '7', True, 1.5):
        answer = new('PUT', QUEUE, {key: value})
        assert answer.status == 400
        assert key in answer.description
    for value in (0, 5, most):
        assert new('PUT', QUEUE, {key: value}).status == 201
        assert new('GET', QUEUE).json[key] == value
        new('DELETE', QUEUE)
    assert new('GET', QUEUE).json[key] == default
    new('PUT', QUEUE)
    kind = {'Content-Type': PATCH}
    path = f'/metadata/{key}'
    for op, status in (('replace', 200), ('remove', 200), ('remove', 200)):
        change = {'op': op, 'path': path}
        if op == 'replace':
            change['value'] = 5
        answer = new('PATCH', QUEUE, [change], headers=kind)
        assert answer.status == status, (op, answer)
    assert answer.json[key] == default
    wrong = [{'op': 'add', 'path': path, 'value': -1}]
    assert new('PATCH', QUEUE, wrong, headers=kind).status == 400


def test_topics_have_no_claims(new: Api) -> None:
    shown = new('GET', '/v2/topics/jobs').json
    assert TTL not in shown
    assert WAIT not in shown


def test_2_0_shows_what_is_stored_and_no_default(api: Api) -> None:
    assert TTL not in api('GET', QUEUE).json
    api.at(V2_1)('PUT', QUEUE, {TTL: 7, 'a': 1})
    assert api('GET', QUEUE).json[TTL] == 7
    listed = api('GET', '/v2/queues?detailed=1').json['queues']
    assert listed[0]['metadata'].keys() & {TTL, WAIT} == {TTL}
    listed = api.at(V2_1)('GET', '/v2/queues?detailed=1').json['queues']
    assert listed[0]['metadata'][WAIT] == 0


@pytest.fixture
def waiting(make_api: MakeApi) -> Api:
    return make_api('[drivers:transport:wsgi]\nmax_waiting = 1\n').at(V2_1)


def test_a_queue_has_claims_wait_that_do_not_say_it(waiting: Api) -> None:
    waiting('PUT', QUEUE, {WAIT: 1})
    waiters = waiting.service.waited.waiters
    seconds: list[float] = []
    enter = waiters.enter

    def entered(*args: Any, **options: Any) -> Any:
        seconds.append(options['seconds'])
        return enter(*args, **options)

    waiters.enter = entered  # type: ignore[method-assign]
    path = f'{QUEUE}/claims'
    for version, query, waits in (
        (V2_1, '', [1]),
        (V2_1, '?wait=0', []),
        (V2_0, '', []),
    ):
        seconds.clear()
        answer = waiting.at(version)('POST', f'{path}{query}', {})
        assert answer.status == 204
        assert seconds == waits
    # Nothing else waits by default, and nothing that is refused.
    waiting('DELETE', f'{QUEUE}/messages?pop=1')
    waiting('GET', f'{QUEUE}/messages')
    assert waiting('POST', path, {'ttl': 0}).status == 400
    assert seconds == []
    waiting.post('jobs', 1)
    assert waiting('POST', path, {}).status == 201
    assert not len(waiters)
