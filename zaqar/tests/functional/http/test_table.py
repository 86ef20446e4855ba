# SPDX-License-Identifier: Apache-2.0
"""Each row of the table keeps its word: an exchange for every one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from zaqar.api import microversion_negotiation, operation_table
from zaqar.api.json_schema_parts import SINCE
from zaqar.api.operation_declarations import topics
from zaqar.controllers import (
    delivery_attempt_history,
    subscription_statistics_record,
)
from zaqar.microversion_constants import Version
from zaqar.objects import Kind, Scope
from zaqar.tests.functional.http import test_delivery_attempts
from zaqar.tests.functional.http.client import PATCH, Api, OnTopics, Response
from zaqar.tests.functional.http.conftest import EVERYTHING, MakeApi

pytestmark = pytest.mark.sqlite

QUEUE = '/v2/queues/q'


@pytest.fixture
def api(make_api: MakeApi) -> Api:
    """An application in which every operation can succeed."""
    return make_api(EVERYTHING).as_admin()


def _message(api: Api) -> str:
    return f'{QUEUE}/messages/{api.post("q", 1)[0]}'


def _claim(api: Api) -> str:
    api.post('q', 1)
    return api.claim('q').headers['location']


def _patch(api: Api) -> Response:
    api('PUT', QUEUE)
    change = [{'op': 'add', 'path': '/metadata/a', 'value': 1}]
    return api('PATCH', QUEUE, change, headers={'Content-Type': PATCH})


def _get_stats(api: Api) -> Response:
    _message(api)
    return api('GET', f'{QUEUE}/stats')


def _on_queue(api: Api, path: str) -> Response:
    api('PUT', QUEUE)
    return api('GET', f'{QUEUE}/{path}')


def _claim_create(api: Api) -> Response:
    _message(api)
    return api('POST', f'{QUEUE}/claims', {'ttl': 60})


def _list(api: Api) -> Response:
    _message(api)
    return api('GET', f'{QUEUE}/messages?echo=1')


def _subscription(api: Api) -> str:
    path = f'{QUEUE}/subscriptions'
    answer = api('POST', path, {'subscriber': 'http://a.b'})
    return f'{path}/{answer.json["subscription_id"]}'


def _share(api: Api) -> Response:
    # From 2.1 on a URL is for a queue that exists.
    api('PUT', QUEUE)
    return api('POST', f'{QUEUE}/share', {})


def _resend(api: Api) -> Response:
    path = _subscription(api)
    kind = Kind.TOPIC if isinstance(api, OnTopics) else Kind.QUEUE
    subscribed = Scope(api.project, 'q', kind), path.rpartition('/')[2]
    kept = test_delivery_attempts.keep(api)
    row = test_delivery_attempts.attempt(1, 'given_up', **kept).row()
    subscription_statistics_record.change(
        api.service.catalogue.management,
        subscribed,
        lambda data: {delivery_attempt_history.MEMBER: [row]},
    )
    name = f'{delivery_attempt_history.prefix(subscribed)}{row[0]}'
    return api('POST', f'{path}/attempts/{name}/resend')


def _on_all(api: Api, method: str) -> Response:
    return api(method, _subscription(api).rpartition('/')[0])


def _queue_list(api: Api) -> Response:
    api('PUT', QUEUE)
    return api('GET', '/v2/queues?detailed=1&with_count=1')


#: Makes the main success of each operation that has a route.
EXCHANGES: dict[str, Callable[[Api], Response]] = {
    'get_home_doc': lambda api: api('GET', '/v2/'),
    'ping_node': lambda api: api('GET', '/v2/ping'),
    'ping_node_head': lambda api: api('HEAD', '/v2/ping'),
    'queue_list': _queue_list,
    'queue_create': lambda api: api('PUT', QUEUE, {'a': 1}),
    'queue_get': lambda api: api('GET', QUEUE),
    'queue_update': _patch,
    'queue_delete': lambda api: api('DELETE', QUEUE),
    'queue_get_stats': _get_stats,
    'queue_get_guarantees': lambda api: _on_queue(api, 'guarantees'),
    'queue_purge': lambda api: api('POST', f'{QUEUE}/purge'),
    'queue_share': _share,
    'message_post': lambda api: api(
        'POST', f'{QUEUE}/messages', {'messages': [{'body': 1}]}
    ),
    'message_list': _list,
    'message_delete_many': lambda api: api(
        'DELETE', f'{QUEUE}/messages?pop=1'
    ),
    'message_get': lambda api: api('GET', _message(api)),
    'message_explain': lambda api: api('GET', f'{_message(api)}/explain'),
    'message_delete': lambda api: api('DELETE', _message(api)),
    'claim_create': _claim_create,
    'claim_get': lambda api: api('GET', _claim(api)),
    'claim_settle': lambda api: api(
        'POST', f'{_claim(api)}/settle', {'delete': ['a']}
    ),
    'claim_update': lambda api: api('PATCH', _claim(api), {}),
    'claim_delete': lambda api: api('DELETE', _claim(api)),
    'health': lambda api: api('GET', '/v2/health'),
    'subscription_list': lambda api: _on_all(api, 'GET'),
    'subscription_create': lambda api: api(
        'POST', f'{QUEUE}/subscriptions', {'subscriber': 'http://a.b'}
    ),
    'subscription_get': lambda api: api('GET', _subscription(api)),
    'subscription_deliveries': lambda api: api(
        'GET', f'{_subscription(api)}/deliveries'
    ),
    'subscription_attempts': lambda api: api(
        'GET', f'{_subscription(api)}/attempts'
    ),
    'subscription_resend': _resend,
    'subscription_replay': lambda api: api(
        'POST', f'{_subscription(api)}/replay', {'marker': 'x'}
    ),
    'subscription_secret': lambda api: api(
        'GET', f'{_subscription(api)}/secret'
    ),
    'subscription_rotate_secret': lambda api: api(
        'POST', f'{_subscription(api)}/secret'
    ),
    'subscription_update': lambda api: api(
        'PATCH', _subscription(api), {'ttl': 60}
    ),
    'subscription_delete': lambda api: api('DELETE', _subscription(api)),
    'subscription_confirm': lambda api: api(
        'PUT', f'{_subscription(api)}/confirm', {'confirmed': True}
    ),
}


def _redrive(api: Api) -> str:
    api('PUT', QUEUE)
    answer = api('POST', f'{QUEUE}/redrive', {})
    # 2.0 has none.
    redrive_id = answer.json.get('redrive_id', 'none')
    return f'{QUEUE}/redrives/{redrive_id}'


def _redrive_create(api: Api) -> Response:
    api('PUT', QUEUE)
    return api('POST', f'{QUEUE}/redrive', {'to': 'r', 'rate': 5})


def _redrive_list(api: Api) -> Response:
    _redrive(api)
    return api('GET', f'{QUEUE}/redrives')


EXCHANGES |= {
    'redrive_create': _redrive_create,
    'redrive_list': _redrive_list,
    'redrive_get': lambda api: api('GET', _redrive(api)),
    'redrive_delete': lambda api: api('DELETE', _redrive(api)),
    'quota_get': lambda api: api('GET', '/v2/quotas'),
    'quota_get_project': lambda api: api('GET', '/v2/quotas/p'),
    'quota_update': lambda api: api(
        'PUT', '/v2/quotas/p', {'quotas': {'queues': 5}}
    ),
}

EXCHANGES |= {
    row.name: functools.partial(
        lambda exchange, api: exchange(api.on_topics()),
        EXCHANGES[topics.model(row)],
    )
    for row in topics.OPERATIONS
}

POOL = '/v2/pools/east'
FLAVOR = '/v2/flavors/fast'


def _pool(api: Api) -> Response:
    folder = api.service.conf.state_path
    place = {'uri': f'sqlite:///{folder}/east.sqlite', 'weight': 1}
    return api('PUT', POOL, place)


def _on_pool(api: Api, method: str, path: str, *document: Any) -> Response:
    assert _pool(api).status == 201
    return api(method, path, *document)


def _flavor(api: Api) -> Response:
    return _on_pool(api, 'PUT', FLAVOR, {'pool_list': ['east']})


def _on_flavor(api: Api, method: str, path: str, *document: Any) -> Response:
    assert _flavor(api).status == 201
    return api(method, path, *document)


EXCHANGES |= {
    'pool_create': _pool,
    'pool_get': lambda api: _on_pool(api, 'GET', f'{POOL}?detailed=1'),
    'pool_list': lambda api: _on_pool(api, 'GET', '/v2/pools?detailed=1'),
    'pool_update': lambda api: _on_pool(api, 'PATCH', POOL, {'weight': 2}),
    'pool_delete': lambda api: _on_pool(api, 'DELETE', POOL),
    'flavor_create': _flavor,
    'flavor_get': lambda api: _on_flavor(api, 'GET', FLAVOR),
    'flavor_list': lambda api: _on_flavor(
        api, 'GET', '/v2/flavors?detailed=1'
    ),
    'flavor_update': lambda api: _on_flavor(
        api, 'PATCH', FLAVOR, {'pool_list': ['east']}
    ),
    'flavor_delete': lambda api: _on_flavor(api, 'DELETE', FLAVOR),
}


def test_every_route_has_an_exchange() -> None:
    assert set(EXCHANGES) == {
        row.name for row in operation_table.OPERATIONS if row.http
    }


def _at(version: Version, schema: Any) -> Any:
    """Return a schema as of a version, without what later ones add."""
    if isinstance(schema, list):
        return [_at(version, item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: _at(version, value)
        for key, value in schema.items()
        if not isinstance(value, dict)
        or value.get(SINCE, str(version)) <= str(version)
    }


@pytest.mark.parametrize('version', microversion_negotiation.ALL, ids=str)
@pytest.mark.parametrize('name', sorted(EXCHANGES))
def test_an_operation_answers_as_its_row_says(
    api: Api, name: str, version: Version
) -> None:
    row = operation_table.BY_ACTION[name]
    answer = EXCHANGES[name](api.at(version))
    if version < row.since:
        assert answer.status in (404, 405)
        return
    assert answer.status in row.responses
    schema: Any = _at(version, row.responses[answer.status])
    if schema is None:
        assert answer.body == b''
    else:
        jsonschema.validate(answer.json, schema)


@pytest.mark.parametrize('name', sorted(EXCHANGES))
def test_the_openapi_document_describes_the_answer(
    api: Api, name: str
) -> None:
    row = operation_table.BY_ACTION[name]
    document = api('GET', '/v2/openapi.json').json
    entry = document['paths'][row.path][row.method.lower()]
    status = EXCHANGES[name](
        api.at(max(row.since, microversion_negotiation.MIN))
    ).status
    assert str(status) in entry['responses']
    assert entry['summary'] == row.summary
