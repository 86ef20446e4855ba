# SPDX-License-Identifier: Apache-2.0
"""The table of operations tests itself."""

from __future__ import annotations

import dataclasses
import inspect
import json
import re

import jsonschema
import pytest

from zaqar.api import (
    home_document,
    microversion_negotiation,
    openapi,
    operation_table,
    oslo_policy_registration,
)
from zaqar.api.microversion_negotiation import HEADER
from zaqar.api.operation import PUBLIC, Operation, Param
from zaqar.api.operation_declarations import topics
from zaqar.api.requests_with_wait import WAIT
from zaqar.microversion_constants import V2_1

PING = '/v2/ping'

EACH = pytest.mark.parametrize(
    'operation',
    operation_table.OPERATIONS,
    ids=lambda operation: operation.name,
)


def test_actions_and_routes_are_unique() -> None:
    assert len(operation_table.BY_ACTION) == len(operation_table.OPERATIONS)
    routes = [row.http for row in operation_table.OPERATIONS if row.http]
    assert len(set(routes)) == len(routes)


@EACH
def test_each_row_has_a_rule(operation: Operation) -> None:
    if operation.rule is not PUBLIC:
        assert re.fullmatch(r'[a-z]+:[a-z_]+', operation.rule.name)
        assert operation.rule.description


@EACH
def test_each_row_says_what_it_does(operation: Operation) -> None:
    assert operation.summary.endswith('.')
    assert operation.error_message
    assert operation.responses
    for param in operation.query:
        assert param.summary.endswith('.')


@EACH
def test_each_row_has_valid_schemas(operation: Operation) -> None:
    schemas = [schema for schema in operation.responses.values() if schema]
    if operation.body is not None:
        schemas.append(operation.body.schema)
    for schema in schemas:
        jsonschema.Draft202012Validator.check_schema(schema)


@EACH
def test_each_row_calls_a_function_that_takes_its_arguments(
    operation: Operation,
) -> None:
    values = set(re.findall(r'{(\w+)}', operation.path))
    scopes = {'queue_name', 'topic_name'}
    names = {'scope' if values & scopes else None} | (values - scopes)
    # The dispatcher takes the time to wait.
    names |= {param.name for param in operation.query} - {WAIT}
    if operation.http is None:
        names.add('scope')
    if operation.member:
        names.add(operation.member)
    if operation.body is not None:
        names.add('document')
    if operation.keep_unknown:
        names.add('filters')
    parameters = inspect.signature(operation.handler).parameters.values()
    takes = {one.name for one in parameters}
    needs = {one.name for one in parameters if one.default is one.empty}
    assert needs - {'ctx'} <= names - {None} <= takes


def test_one_rule_has_one_default() -> None:
    names = [rule.name for rule in oslo_policy_registration.rules()]
    assert len(set(names)) == len(names)


def test_the_policy_names_are_those_that_operators_know() -> None:
    names = {rule.name for rule in oslo_policy_registration.list_rules()}
    assert {
        'context_is_admin',
        'admin_or_owner',
        'queues:get_all',
        'queues:create',
        'queues:get',
        'queues:delete',
        'queues:update',
        'queues:stats',
        'queues:purge',
        'messages:get_all',
        'messages:create',
        'messages:get',
        'messages:delete',
        'messages:delete_all',
        'claims:create',
        'claims:get',
        'claims:delete',
        'claims:update',
        'ping:get',
    } <= names


def test_the_openapi_document_holds_every_route() -> None:
    paths = openapi.document()['paths']
    documented = {
        f'{method.upper()} {path}'
        for path, methods in paths.items()
        for method in methods
    }
    assert documented == {
        row.http for row in operation_table.OPERATIONS if row.http
    }


@pytest.mark.parametrize(
    'row',
    [row for row in operation_table.OPERATIONS if row.http],
    ids=lambda row: row.name,
)
def test_the_openapi_document_says_what_a_conflict_is(
    row: operation_table.Operation,
) -> None:
    entry = openapi.document()['paths'][row.path][row.method.lower()]

    described = entry['responses'].get('409', {'description': ''})
    assert described['description'] == row.conflict


def test_the_openapi_document_marks_what_is_new(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = openapi.document()['paths'][PING]
    assert 'x-openstack-since' not in json.dumps(before)
    param = Param('new', 'int', '', since=V2_1)
    row = operation_table.BY_ACTION['ping_node']
    row = dataclasses.replace(row, since=V2_1, query=(param,))
    monkeypatch.setattr(operation_table, 'OPERATIONS', (row,))
    entry = openapi.document()['paths'][PING]['get']
    assert entry['x-openstack-since'] == '2.1'
    assert entry['parameters'][0]['x-openstack-since'] == '2.1'


def test_the_openapi_document_names_the_versions() -> None:
    entry = openapi.document()['paths'][PING]['get']
    header = entry['parameters'][-1]
    assert header['name'] == HEADER
    for version in microversion_negotiation.ALL:
        assert re.search(header['schema']['pattern'], version.header)
    assert re.search(header['schema']['pattern'], 'messaging latest')
    assert not re.search(header['schema']['pattern'], 'messaging 2.01')


@pytest.mark.parametrize('kind', ['queue', 'topic'])
def test_the_openapi_document_shows_streams(kind: str) -> None:
    path = openapi.document()['paths'][f'/v2/{kind}s/{{{kind}_name}}/messages']
    content = path['get']['responses']['200']['content']
    assert list(content) == ['application/json', 'text/event-stream']
    places = {one['name']: one['in'] for one in path['get']['parameters']}
    credentials = {'url_signature', 'url_expires', 'url_methods', 'url_paths'}
    assert {places[name] for name in credentials} == {'query'}
    assert places['project_id'] == 'query'
    assert places['Last-Event-ID'] == 'header'
    others = json.dumps([path['post'], path['delete']])
    assert 'event-stream' not in others and 'url_' not in others


def test_a_message_that_cannot_be_decrypted_is_a_conflict() -> None:
    assert operation_table.BY_ACTION['message_get'].conflict
    assert operation_table.BY_ACTION['topic_message_get'].conflict


@pytest.mark.parametrize(
    ('rel', 'template', 'variables', 'allow', 'posts'),
    [
        (
            'queues',
            '/v2/queues{?marker,limit,detailed}',
            {
                'marker': 'marker',
                'limit': 'queue_limit',
                'detailed': 'detailed',
            },
            ['GET'],
            False,
        ),
        (
            'queue',
            '/v2/queues/{queue_name}',
            {'queue_name': 'queue_name'},
            ['GET', 'PUT', 'DELETE', 'PATCH'],
            False,
        ),
        (
            'messages',
            '/v2/queues/{queue_name}/messages'
            '{?marker,limit,echo,include_claimed}',
            {
                'queue_name': 'queue_name',
                'marker': 'marker',
                'limit': 'messages_limit',
                'echo': 'echo',
                'include_claimed': 'include_claimed',
            },
            ['GET'],
            False,
        ),
        (
            'post_messages',
            '/v2/queues/{queue_name}/messages',
            {'queue_name': 'queue_name'},
            ['POST'],
            True,
        ),
        (
            'messages_delete',
            '/v2/queues/{queue_name}/messages{?ids,pop}',
            {'queue_name': 'queue_name', 'ids': 'ids', 'pop': 'pop'},
            ['DELETE'],
            False,
        ),
        (
            'message_delete',
            '/v2/queues/{queue_name}/messages/{message_id}{?claim_id}',
            {
                'queue_name': 'queue_name',
                'message_id': 'message_id',
                'claim_id': 'claim_id',
            },
            ['DELETE'],
            False,
        ),
        (
            'post_claim',
            '/v2/queues/{queue_name}/claims{?limit}',
            {'queue_name': 'queue_name', 'limit': 'claim_limit'},
            ['POST'],
            True,
        ),
        (
            'patch_claim',
            '/v2/queues/{queue_name}/claims/{claim_id}',
            {'queue_name': 'queue_name', 'claim_id': 'claim_id'},
            ['PATCH'],
            True,
        ),
        ('ping', '/v2/ping', None, ['GET'], False),
    ],
)
def test_the_home_document_lists_relations(
    rel: str,
    template: str,
    variables: dict[str, str] | None,
    allow: list[str],
    posts: bool,
) -> None:
    resource = home_document.document()['resources'][f'rel/{rel}']
    href_vars = resource.get('href-vars')
    assert resource['href-template'] == template
    assert href_vars == (
        variables
        and {name: f'param/{relation}' for name, relation in variables.items()}
    )
    assert sorted(resource['hints']['allow']) == sorted(allow)
    assert resource['hints']['formats'] == {'application/json': {}}
    assert ('accept-post' in resource['hints']) is posts


_Q = '/v2/queues/{queue_name}'
_S = f'{_Q}/subscriptions'


@pytest.mark.parametrize(
    ('rel', 'template', 'variables', 'allow', 'posts'),
    [
        ('queue_stats', f'{_Q}/stats', (), 'GET', False),
        ('queue_share', f'{_Q}/share', (), 'POST', True),
        ('queue_purge', f'{_Q}/purge', (), 'POST', True),
        ('message_get', f'{_Q}/messages/{{message_id}}', (), 'GET', False),
        ('claim', f'{_Q}/claims/{{claim_id}}', (), 'GET', False),
        ('delete_claim', f'{_Q}/claims/{{claim_id}}', (), 'DELETE', False),
        (
            'subscriptions_get',
            f'{_S}{{?marker,limit}}',
            ('marker', 'limit=subscription_limit'),
            'GET',
            False,
        ),
        (
            'subscriptions_post',
            _S,
            ('limit=subscription_limit',),
            'POST',
            True,
        ),
        (
            'subscription',
            f'{_S}/{{subscriptions_id}}',
            (),
            'DELETE GET',
            False,
        ),
        (
            'subscription_patch',
            f'{_S}/{{subscriptions_id}}',
            (),
            'PATCH',
            True,
        ),
        (
            'subscription_confirm',
            f'{_S}/{{subscriptions_id}}/confirm',
            (),
            'PUT',
            False,
        ),
        (
            'pools',
            '/v2/pools{?detailed,limit,marker}',
            ('detailed', 'limit=pool_limit', 'marker'),
            'GET',
            False,
        ),
        ('pool', '/v2/pools/{pool_name}', (), 'DELETE GET PATCH PUT', False),
        (
            'flavors',
            '/v2/flavors{?detailed,limit,marker}',
            ('detailed', 'limit=flavor_limit', 'marker'),
            'GET',
            False,
        ),
        (
            'flavor',
            '/v2/flavors/{flavor_name}',
            (),
            'DELETE GET PATCH PUT',
            False,
        ),
    ],
)
def test_the_home_document_lists_the_other_relations(
    rel: str,
    template: str,
    variables: tuple[str, ...],
    allow: str,
    posts: bool,
) -> None:
    features = frozenset(('admin_mode', 'pooling'))
    resource = home_document.document(features)['resources'][f'rel/{rel}']
    named = [*re.findall(r'{(\w+)}', template), *variables]
    pairs = [name.partition('=') for name in named]
    assert resource == {
        'href-template': template,
        'href-vars': {
            name: f'param/{relation or name}' for name, _, relation in pairs
        },
        'hints': {
            'allow': resource['hints']['allow'],
            'formats': {'application/json': {}},
            **({'accept-post': ['application/json']} if posts else {}),
        },
    }
    assert sorted(resource['hints']['allow']) == allow.split()


def test_no_row_of_a_topic_speaks_of_queues() -> None:
    for row in topics.OPERATIONS:
        text = f'{row.summary} {row.error_message}'
        assert not re.search(r'\bqueues?\b', text, re.IGNORECASE), text
