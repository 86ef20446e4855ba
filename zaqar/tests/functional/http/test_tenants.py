# SPDX-License-Identifier: Apache-2.0
"""Two tenants: nothing of one is seen, taken or changed by the other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from zaqar.api import operation_table
from zaqar.api.operation import Operation
from zaqar.tests.functional.http import pools
from zaqar.tests.functional.http.client import Api
from zaqar.tests.functional.http.conftest import EVERYTHING, POOLED, MakeApi
from zaqar.tests.functional.http.test_table import EXCHANGES

#: The project that has something, and those that are like it, to whoever
#: takes names for patterns, prefixes, or text without case.
PROJECT = 'ab.c'
ALIKE = [
    *('a', 'ab', 'ab.', 'ab.c.', 'ab.c.q', 'abXc', 'AB.C', 'ab.c ', ' ab.c'),
    *(
        '.*',
        'ab.*',
        '^ab.c$',
        'ab%',
        '%',
        'ab_c',
        '____',
        'ab?c',
        '*',
        '[a]b.c',
    ),
    *('ab.c|x', 'ab\\.c', 'ab/c', 'áb.c', 'ab.c\u200b', "ab.c' OR '1'='1"),
]

QUEUE = '/v2/queues/q'

SECRET = 'attack at dawn'


def _fill(api: Api) -> list[str]:
    """Make something of everything; return the paths of it."""
    paths = []
    for kind in ('queues', 'topics'):
        base = f'/v2/{kind}/q'
        assert api('PUT', base, {'kept': SECRET}).status == 201
        body = {'messages': [{'body': SECRET}, {'body': SECRET}]}
        paths += api('POST', f'{base}/messages', body).json['resources']
        there = {'subscriber': 'http://a.b', 'options': {'kept': SECRET}}
        subscription = api('POST', f'{base}/subscriptions', there).json
        paths.append(f'{base}/subscriptions/{subscription["subscription_id"]}')
    held = api('POST', f'{QUEUE}/claims?limit=1', {'ttl': 300})
    return [*paths, held.headers['location']]


def _state(api: Api) -> list[tuple[int, bytes]]:
    """Return all there is to see of a project."""
    rest = 'echo=true&include_claimed=true'
    paths = [
        f'/v2/{kind}{path}'
        for kind in ('queues', 'topics')
        for path in (
            *('?detailed=true&name=q', '/q', '/q/stats', '/q/subscriptions'),
            f'/q/messages?{rest}',
        )
    ]
    answers = [api('GET', path) for path in paths]
    return [(answer.status, answer.body) for answer in answers]


@pytest.mark.proves('project names are literal', 'name filter is literal')
@pytest.mark.every_engine
def test_no_project_is_a_pattern_for_another(api: Api) -> None:
    owner = api.as_project(PROJECT)
    paths = _fill(owner)
    before = _state(owner)
    for project in ALIKE:
        _take_all(owner.as_project(project), paths)
        assert _state(owner) == before, project
        assert owner('GET', paths[-1]).status == 200


def _take_all(other: Api, paths: Sequence[str]) -> None:
    """Try to read and to delete what another project has."""
    for kind in ('queues', 'topics'):
        base = f'/v2/{kind}/q'
        assert other('GET', f'/v2/{kind}?name=q').json[kind] == []
        listed = other('GET', f'{base}/messages?echo=true').json
        assert listed['messages'] == []
        listing = other('GET', f'{base}/subscriptions').json
        assert listing['subscriptions'] == []
        popped = other('DELETE', f'{base}/messages?pop=10').json
        assert popped == {'messages': []}
        assert other('POST', f'{base}/purge').status == 204
    assert other.claim('q').status == 204
    for path in paths:
        assert other('GET', path).status == 404
        assert other('DELETE', path).status == 204
    for kind in ('queues', 'topics'):
        assert other('DELETE', f'/v2/{kind}/q').status == 204


@pytest.mark.parametrize('name', sorted(EXCHANGES))
def test_what_one_project_does_changes_nothing_for_another(
    make_api: MakeApi, name: str
) -> None:
    row: Operation = operation_table.BY_ACTION[name]
    api = make_api(EVERYTHING).as_admin()
    owner = api.as_project(PROJECT)
    _fill(owner)
    before = _state(owner)
    answer = EXCHANGES[name](api.as_project('other').at(row.since))
    assert answer.status in row.responses
    assert SECRET.encode() not in answer.body
    assert _state(owner) == before


@pytest.mark.proves('ids are scoped')
def test_ids_of_one_project_open_nothing_in_another_that_has_the_same_names(
    api: Api,
) -> None:
    owner, other = api.as_project(PROJECT), api.as_project('other')
    theirs, own = _fill(owner), _fill(other)
    before = _state(owner)
    for path in theirs:
        assert path not in own
        assert other('GET', path).status == 404
    for method, document in (('DELETE', None), ('PATCH', {'ttl': 120})):
        for path in theirs:
            more: dict[str, Any] = {}
            if document is not None:
                more = {'document': document}
            assert other(method, path, **more).status in (204, 404, 405)
    identifiers = ','.join(path.rpartition('/')[2] for path in theirs)
    listed = other('GET', f'{QUEUE}/messages?ids={identifiers}')
    assert listed.status == 404
    claim = theirs[-1].rpartition('/')[2]
    held = f'{QUEUE}/messages?ids={identifiers}&claim_ids={claim}'
    assert other('DELETE', held).status == 204
    assert _state(owner) == before
    assert owner('GET', theirs[-1]).status == 200


def test_queues_of_two_projects_in_one_pool_are_two(
    make_api: MakeApi,
) -> None:
    api = make_api(POOLED).as_admin()
    pools.make(api, 'east')
    owner, other = api.as_project(PROJECT), api.as_project('ab')
    owner.post('q', 'mine')
    other.post('q', 'theirs')
    assert owner.bodies('q') == ['mine']
    assert other('DELETE', QUEUE).status == 204
    assert owner.bodies('q') == ['mine']
