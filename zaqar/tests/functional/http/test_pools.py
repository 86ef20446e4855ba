# SPDX-License-Identifier: Apache-2.0
"""Pools and their management: reference/http, "Pools"."""

from __future__ import annotations

import re
from typing import Any

import pytest

from zaqar.api import operation_table
from zaqar.api.operation import Operation
from zaqar.errors import StoreUnavailable
from zaqar.storage.abstract_stores import PENDING
from zaqar.tests.functional.http import pools
from zaqar.tests.functional.http.client import Api
from zaqar.tests.functional.http.conftest import POOLED, MakeApi

EAST = '/v2/pools/east'

BAD_BODY = 'Invalid request body'


#: What a request of each operation needs besides its method and path.
DOCUMENTS: dict[str, Any] = {
    'pool_update': {'weight': 1},
    'flavor_create': {'pool_list': ['east']},
    'flavor_update': {'pool_list': ['east']},
}


@pytest.fixture
def api(make_api: MakeApi) -> Api:
    """An application with pools and no virtual pool."""
    return make_api(POOLED).as_admin()


@pytest.mark.parametrize(
    'settings', ['', 'admin_mode = true\n', 'pooling = true\n']
)
@pytest.mark.parametrize('path', ['/v2/pools', EAST, '/v2/flavors/f'])
def test_without_both_modes_the_paths_do_not_exist(
    make_api: MakeApi, settings: str, path: str
) -> None:
    api = make_api(settings).as_admin()
    for method in ('GET', 'PUT', 'TRACE'):
        answer = api(method, path, {})
        assert answer.is_error(404, '404 Not Found')
    home = api('GET', '/v2/').json['resources']
    assert not {'rel/pools', 'rel/pool', 'rel/flavors', 'rel/flavor'} & {*home}


def test_sharding_is_another_name_of_pooling(make_api: MakeApi) -> None:
    api = make_api('admin_mode = true\nsharding = true\n').as_admin()
    assert api('GET', '/v2/pools').json == {'pools': [], 'links': []}


def test_the_home_document_lists_what_is_served(api: Api) -> None:
    home = api('GET', '/v2/').json['resources']
    assert home['rel/pools'] == {
        'href-template': '/v2/pools{?detailed,limit,marker}',
        'href-vars': {
            'detailed': 'param/detailed',
            'limit': 'param/pool_limit',
            'marker': 'param/marker',
        },
        'hints': {'allow': ['GET'], 'formats': {'application/json': {}}},
    }
    assert home['rel/pool']['href-template'] == '/v2/pools/{pool_name}'
    assert sorted(home['rel/pool']['hints']['allow']) == sorted(
        ['GET', 'PUT', 'PATCH', 'DELETE']
    )


@pytest.mark.parametrize(
    ('method', 'path'),
    [
        ('GET', '/v2/pools'),
        ('PUT', EAST),
        ('GET', EAST),
        ('PATCH', EAST),
        ('DELETE', EAST),
        ('PUT', '/v2/flavors/f'),
        ('PATCH', '/v2/flavors/f'),
        ('DELETE', '/v2/flavors/f'),
    ],
)
def test_only_administrators_may(api: Api, method: str, path: str) -> None:
    anyone = Api(api.service, api.clock)
    assert anyone(method, path, {}).is_error(403, 'Not authorized')


def test_a_pool_is_shown_as_it_was_made(api: Api) -> None:
    options = {'sqlite_synchronous': 'NORMAL'}
    answer = pools.make(api, 'east', weight=100, options=options)
    assert (answer.body, answer.headers['location']) == (b'', EAST)
    shown = {
        'name': 'east',
        'uri': pools.uri(api, 'east'),
        'weight': 100,
        'flavor': None,
        'href': EAST,
    }
    assert api('GET', EAST).json == shown
    detailed = api('GET', f'{EAST}?detailed=true').json
    assert detailed == {**shown, 'options': options}


def test_put_replaces_a_pool_with_what_was_sent(api: Api) -> None:
    pools.make(api, 'east', flavor='old', options={'a': 1})
    pools.make(api, 'east', weight=7)
    shown = api('GET', f'{EAST}?detailed=1').json
    assert (shown['weight'], shown['flavor'], shown['options']) == (
        7,
        None,
        {},
    )


@pytest.mark.parametrize(
    'change',
    [
        {'weight': 1.0},
        {'weight': True},
        {'weight': '1'},
        {'weight': -1},
        {'weight': 2**32},
        {'weight': None},
        {'uri': 7},
        {'uri': None},
        {'uri': 'sqlite:///' + 'x' * 246},
        {'flavor': None},
        {'flavor': 1},
        {'flavor': 'x' * 256},
        {'options': []},
        {'options': None},
        {'options': {'group_commit_window_ms': 'soon'}},
        {'options': {'sqlite_synchronous': 'sometimes'}},
    ],
)
def test_a_field_of_the_wrong_kind_is_refused(
    api: Api, change: dict[str, Any]
) -> None:
    document = {'uri': pools.uri(api, 'east'), 'weight': 1, **change}
    assert api('PUT', EAST, document).is_error(400, BAD_BODY)
    assert api('GET', EAST).status == 404
    pools.make(api, 'east', weight=3)
    assert api('PATCH', EAST, change).is_error(400, BAD_BODY)
    assert api('GET', EAST).json['weight'] == 3


@pytest.mark.parametrize(
    'row',
    [row for row in operation_table.OPERATIONS if 'pooling' in row.needs],
    ids=lambda row: row.name,
)
def test_a_management_store_that_does_not_answer_is_503(
    api: Api, row: Operation, monkeypatch: pytest.MonkeyPatch
) -> None:
    pools.make(api, 'east')

    def fail(*_arguments: Any, **_more: Any) -> Any:
        raise StoreUnavailable

    management = api.service.catalogue.management
    for name in ('create', 'get', 'replace', 'delete', 'list'):
        monkeypatch.setattr(management, name, fail)
    document = {'uri': pools.uri(api, 'west'), 'weight': 1}
    answer = api(
        row.method,
        re.sub(r'{\w+}', 'east', row.path),
        DOCUMENTS.get(row.name, document),
    )
    assert answer.is_error(
        503,
        'Service temporarily unavailable',
        f'{row.error_message}. Please try again in a few seconds.',
    )


@pytest.mark.parametrize('weight', [0, 2**32 - 1])
def test_weights_go_from_0_to_the_largest(api: Api, weight: int) -> None:
    pools.make(api, 'east', weight=weight)
    assert api('GET', EAST).json['weight'] == weight


@pytest.mark.parametrize('missing', ['uri', 'weight'])
def test_put_needs_a_uri_and_a_weight(api: Api, missing: str) -> None:
    document = {'uri': pools.uri(api, 'east'), 'weight': 1}
    del document[missing]
    assert api('PUT', EAST, document).is_error(400, BAD_BODY, missing)


def test_put_refuses_unknown_fields(api: Api) -> None:
    document = {'uri': pools.uri(api, 'a'), 'weight': 1, 'group': 'g'}
    assert api('PUT', EAST, document).is_error(400, BAD_BODY, 'group')


@pytest.mark.parametrize('raw', [None, b'', b'{', b'7'])
@pytest.mark.parametrize('method', ['PUT', 'PATCH'])
def test_a_body_that_is_no_json_is_refused(
    api: Api, method: str, raw: bytes | None
) -> None:
    answer = api(method, EAST, raw=raw)
    assert answer.is_error(400, BAD_BODY, 'could not be parsed.')


@pytest.mark.parametrize(
    'name', ['a b', 'a@b', 'x' * 65, '%0A', 'a%0A', '..', '']
)
@pytest.mark.parametrize('noun', ['pool', 'flavor'])
def test_names_are_those_that_queues_can_have(
    api: Api, noun: str, name: str
) -> None:
    pools.make(api, 'east')
    document = {
        'pool': {'uri': pools.uri(api, 'b'), 'weight': 1},
        'flavor': {'pool_list': ['east']},
    }[noun]
    answer = api('PUT', f'/v2/{noun}s/{name}', document)
    assert answer.is_error(400, 'Invalid API request', f'{noun} name')
    for method in ('GET', 'DELETE'):
        assert api(method, f'/v2/{noun}s/{name}').status == 400


@pytest.mark.parametrize(
    ('uri', 'reason'),
    [
        ('sqlite:////no/such/folder/a.sqlite', 'sqlite_path'),
        ('sqlite://', 'sqlite_path'),
        ('sqlite:///a\0b', 'sqlite_path'),
        ('sqlite:////etc/passwd', 'sqlite_path'),
        ('mysql://u:hidden@h/d?local_infile=1', '"local_infile"'),
        ('mysql://u:hidden@h/d?read_default_file=/x', '"read_default_file"'),
        ('postgresql://u:hidden@h/d?passfile=/etc/x', '"passfile"'),
        ('mongodb://u:hidden@h/?authMechanism=MONGODB-OIDC', 'authMechanism'),
    ],
)
def test_a_pool_that_reaches_into_the_machine_is_refused_with_the_reason(
    api: Api, uri: str, reason: str
) -> None:
    pools.make(api, 'west')
    for answer in (
        api('PUT', EAST, {'uri': uri, 'weight': 1}),
        api('PATCH', '/v2/pools/west', {'uri': uri}),
    ):
        assert answer.is_error(400, BAD_BODY)
        assert reason in answer.description
        assert 'hidden' not in answer.description
    assert api('GET', EAST).status == 404
    assert api('GET', '/v2/pools/west').json['uri'] == pools.uri(api, 'west')


@pytest.mark.parametrize(
    'uri',
    [
        'nothing://host/name',
        'sqlite',
        '',
        '/a/path',
        ':///',
        'postgresql://127.0.0.1:1/nothing',
        'postgresql://127.0.0.1:99999/nothing',
        'postgresql://[/',
        'mysql://127.0.0.1:1/nothing',
        'http://127.0.0.1/',
    ],
)
def test_a_pool_that_cannot_be_reached_is_refused(
    api: Api, uri: str, caplog: pytest.LogCaptureFixture
) -> None:
    answer = api('PUT', EAST, {'uri': uri, 'weight': 1})
    assert answer.is_error(400, BAD_BODY)
    assert 'A pool ' in caplog.text
    assert answer.description == f'cannot connect to {uri}'
    assert api('GET', EAST).status == 404
    pools.make(api, 'east')
    answer = api('PATCH', EAST, {'uri': uri})
    assert answer.is_error(400, BAD_BODY, f'cannot connect to {uri}')
    assert api('GET', EAST).json['uri'] == pools.uri(api, 'east')


def test_options_without_effect_are_logged(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    fields = {'uri': pools.uri(api, 'east'), 'weight': 1}
    changes = {'options': {'wait_replica': 1, 'sql_pooler': 'auto'}}
    assert api('PUT', EAST, {**fields, **changes}).status == 201
    assert caplog.text.count('without effect') == 1
    assert 'driver sqlalchemy: wait_replica\n' in caplog.text


def test_two_pools_cannot_have_one_uri(api: Api) -> None:
    pools.make(api, 'east')
    pools.make(api, 'west')
    text = 'The database URI is in use by another pool.'
    taken = {'uri': pools.uri(api, 'west'), 'weight': 1}
    for name in ('east', 'north'):
        answer = api('PUT', f'/v2/pools/{name}', taken)
        assert answer.is_error(409, 'Resource conflict')
        assert answer.description == text
    answer = api('PATCH', EAST, {'uri': taken['uri']})
    assert answer.is_error(409, 'Resource conflict', text)
    assert api('PATCH', EAST, {'uri': pools.uri(api, 'east')}).status == 200


def test_patch_changes_what_is_named_and_ignores_what_is_unknown(
    api: Api,
) -> None:
    pools.make(api, 'east', options={'a': 1})
    answer = api('PATCH', EAST, {'weight': 9, 'colour': 'red'})
    assert answer.status == 200
    assert answer.json == {
        'name': 'east',
        'uri': pools.uri(api, 'east'),
        'weight': 9,
        'flavor': None,
        'href': EAST,
    }
    assert api('GET', f'{EAST}?detailed=1').json['options'] == {'a': 1}


@pytest.mark.parametrize('document', [{}, {'colour': 'red'}])
def test_patch_must_name_something(api: Api, document: dict[str, Any]) -> None:
    pools.make(api, 'east')
    answer = api('PATCH', EAST, document)
    assert answer.is_error(400, BAD_BODY)
    assert answer.description == (
        'One of `uri`, `weight`, `flavor`, or `options` needs to be specified'
    )


def test_an_empty_flavor_takes_a_pool_out_of_its_flavor(api: Api) -> None:
    pools.make(api, 'east', flavor='gold')
    assert api('GET', EAST).json['flavor'] == 'gold'
    assert api('PATCH', EAST, {'flavor': ''}).json['flavor'] is None


@pytest.mark.parametrize('method', ['GET', 'PATCH'])
def test_an_unknown_pool_is_404(api: Api, method: str) -> None:
    answer = api(method, EAST, {'weight': 1})
    assert answer.is_error(404, 'Not found')
    assert answer.description == 'Pool east does not exist'


def test_deleting_a_pool_can_be_repeated(api: Api) -> None:
    pools.make(api, 'east')
    for _ in range(2):
        answer = api('DELETE', EAST)
        assert (answer.status, answer.body) == (204, b'')
    assert api('GET', EAST).status == 404


def test_pools_are_listed_by_name_page_by_page(api: Api) -> None:
    for name in ('b', 'a', 'C', 'd'):
        pools.make(api, name)
    seen = []
    path = '/v2/pools?limit=3&detailed=true'
    for _ in range(3):
        answer = api('GET', path)
        assert answer.headers['content-location'] == path
        seen.append([pool['name'] for pool in answer.json['pools']])
        if answer.json['links']:
            link = answer.json['links'][0]
            assert link['rel'] == 'next'
            path = link['href']
    assert path == '/v2/pools?limit=3&detailed=true&marker=d'
    assert seen == [['C', 'a', 'b'], ['d'], []]
    assert answer.json == {'pools': [], 'links': []}


def test_a_list_shows_options_only_in_detail(api: Api) -> None:
    pools.make(api, 'east')
    short = api('GET', '/v2/pools').json['pools'][0]
    detailed = api('GET', '/v2/pools?detailed=1').json['pools'][0]
    assert detailed == {**short, 'options': {}}
    assert set(short) == {'name', 'uri', 'weight', 'flavor', 'href'}


@pytest.mark.parametrize('noun', ['pools', 'flavors'])
@pytest.mark.parametrize('limit', [0, -1, 21])
def test_a_limit_out_of_bounds_is_refused(
    api: Api, noun: str, limit: int
) -> None:
    answer = api('GET', f'/v2/{noun}?limit={limit}')
    assert answer.is_error(400, 'Invalid API request')
    assert answer.description == (
        'Limit must be at least 1 and no greater than 20.'
    )


@pytest.mark.parametrize('noun', ['pools', 'flavors'])
def test_an_operator_sets_the_largest_page(
    make_api: MakeApi, noun: str
) -> None:
    text = f'{POOLED}[transport]\nmax_{noun}_per_page = 2\n'
    api = make_api(text).as_admin()
    for name in ('a', 'b', 'c'):
        pools.make(api, name)
        pools.flavor(api, name, name)
    assert len(api('GET', f'/v2/{noun}').json[noun]) == 2
    assert api('GET', f'/v2/{noun}?limit=3').status == 400


@pytest.mark.parametrize('marker', ['zz', 'x' * 500, '%00', 'a%00b', '%FF'])
@pytest.mark.parametrize('noun', ['pools', 'flavors'])
def test_a_marker_may_be_any_text(api: Api, noun: str, marker: str) -> None:
    assert api('GET', f'/v2/{noun}?marker={marker}').status == 200


def test_a_pool_stays_while_its_flavor_has_no_other(api: Api) -> None:
    pools.make(api, 'east')
    pools.make(api, 'west')
    pools.flavor(api, 'gold', 'east', 'west')
    # Whoever asks: the flavor is of another project.
    other = api.as_project('another')
    assert other('DELETE', '/v2/pools/west').status == 204
    answer = other('DELETE', EAST)
    assert answer.is_error(403, 'Unable to delete')
    assert answer.description == (
        'This pool is used by flavors gold; It cannot be deleted.'
    )
    assert api('DELETE', '/v2/flavors/gold').status == 204
    assert api('DELETE', EAST).status == 204


def test_a_flavor_that_does_not_exist_keeps_no_pool(api: Api) -> None:
    pools.make(api, 'east', flavor='gold')
    assert api('DELETE', EAST).status == 204


def test_a_pool_stays_while_a_queue_is_in_it(api: Api) -> None:
    pools.make(api, 'east')
    api.post('jobs', 1)
    answer = api('DELETE', EAST)
    assert answer.is_error(403, 'Unable to delete', 'used by queues')
    assert api.bodies('jobs') == [1]
    # The refusal changed nothing: queues go there as before.
    api.post('more', 2)
    api('DELETE', '/v2/queues/jobs')
    assert api('DELETE', EAST).status == 403
    api('DELETE', '/v2/queues/more')
    pools.tell(api, 'east')
    assert api('DELETE', EAST).status == 204


def test_a_pool_stays_while_subscribers_have_yet_to_be_told(api: Api) -> None:
    pools.make(api, 'east')
    subscriber = {'subscriber': 'http://127.0.0.1:9/hook', 'ttl': 300}
    path = '/v2/queues/jobs/subscriptions'
    assert api('POST', path, subscriber).status == 201
    api.post('jobs', 1)
    api('DELETE', '/v2/queues/jobs')
    waiting = ('Unable to delete', 'notifications')
    assert api('DELETE', EAST).is_error(403, *waiting)
    pools.tell(api, 'east')
    # From the notice it has become a delivery, which a notifier holds.
    store = api.service.catalogue.pools.store('east')  # type: ignore
    claim = store.claim(
        PENDING, now=store.clock.now(), claim_id='c', ttl=60, grace=60, limit=5
    )
    assert api('DELETE', EAST).is_error(403, *waiting)
    (due,) = claim.messages
    store.delete_many(PENDING, [due.id], now=store.clock.now())
    assert api('DELETE', EAST).status == 204
