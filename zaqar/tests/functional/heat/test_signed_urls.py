# SPDX-License-Identifier: Apache-2.0
"""Pre-signed URLs in templates."""

from __future__ import annotations

import json
from typing import Any
from urllib import parse

import pytest
import sqlalchemy

from zaqar.tests.functional.heat.stacks import Refused, Stack, User, until
from zaqar.tests.functional.keystone.callers import Caller, queue_name
from zaqar.tests.servers.heat import Heat

ATTRIBUTES = ('signature', 'expires', 'paths', 'methods', 'project')


def signed(**properties: Any) -> dict[str, Any]:
    """Return the resources of a template with one URL."""
    return {
        'u': {'type': 'OS::Zaqar::SignedQueueURL', 'properties': properties}
    }


def shown(stack: Stack) -> dict[str, Any]:
    """Return the attributes that make up the URL."""
    return {name: stack.attribute('u', name) for name in ATTRIBUTES}


def read(user: User, queue: str, url: dict[str, Any]) -> int:
    """Read a queue by a URL and return the status."""
    headers = {
        'URL-Signature': url['signature'],
        'URL-Expires': url['expires'],
        'URL-Methods': ','.join(url['methods']),
        'URL-Paths': ','.join(url['paths']),
        'X-Project-ID': url['project'],
    }
    path = f'/v2/queues/{queue}/messages'
    stranger = Caller(user.zaqar.origin)
    return stranger.ask('GET', path, headers).status_code


def test_a_url_is_good_for_what_the_template_says(user: User) -> None:
    queue = queue_name()
    user.zaqar.make(queue)
    stack = user.done(
        signed(
            queue=queue,
            paths=['messages', 'claims'],
            methods=['GET', 'POST'],
            ttl=600,
        )
    )
    url = shown(stack)
    assert url['project'] == user.zaqar.project
    assert url['methods'] == ['GET', 'POST']
    paths = [f'/v2/queues/{queue}/{what}' for what in ('claims', 'messages')]
    assert sorted(url['paths']) == paths
    assert read(user, queue, url) == 200
    query = dict(parse.parse_qsl(stack.attribute('u', 'query_str')))
    assert query == {
        'signature': url['signature'],
        'expires': url['expires'],
        'paths': ','.join(url['paths']),
        'methods': 'GET,POST',
        'project_id': url['project'],
        'queue_name': queue,
    }
    stack.deleted()


def test_by_default_a_url_reads_messages_for_a_day(user: User) -> None:
    queue = queue_name()
    url = shown(user.done(signed(queue=queue)))
    assert url['methods'] == ['GET']
    assert url['paths'] == [f'/v2/queues/{queue}/messages']
    assert read(user, queue, url) == 200


def test_what_a_url_is_good_for_is_updated_in_place(user: User) -> None:
    first, second = queue_name(), queue_name()
    stack = user.done(signed(queue=first))
    first_id = stack.id_of('u')
    stack.updated(signed(queue=first, methods=['POST']))
    assert (stack.id_of('u'), shown(stack)['methods']) == (first_id, ['POST'])
    assert read(user, first, shown(stack)) == 404
    stack.updated(signed(queue=second))
    assert stack.id_of('u') != first_id
    assert read(user, second, shown(stack)) == 200


def test_a_stack_update_renews_a_url_whose_time_is_over(user: User) -> None:
    template = signed(queue=queue_name(), ttl=2)
    stack = user.done(template)
    first = shown(stack)
    queue = template['u']['properties']['queue']
    until(lambda: read(user, queue, first) == 404, 'the end of a URL')
    stack.updated(template)
    assert shown(stack)['expires'] > first['expires']
    assert shown(stack)['signature'] != first['signature']


def test_a_stack_update_leaves_a_fresh_url_alone(user: User) -> None:
    template = signed(queue=queue_name(), ttl=600)
    stack = user.done(template)
    first = shown(stack)
    stack.updated(template | {'q': {'type': 'OS::Zaqar::Queue'}})
    assert shown(stack) == first


def test_a_url_that_the_type_of_heat_has_made_goes_on(
    user: User, heat: Heat
) -> None:
    template = signed(queue=queue_name(), methods=['GET', 'POST'])
    stack = user.done(template)
    url = shown(stack)
    _keep_as_heat_does(heat, stack.id_of('u'), url)
    assert shown(stack) == url
    stack.updated(template | {'q': {'type': 'OS::Zaqar::Queue'}})
    assert shown(stack) == url
    stack.updated(signed(queue=template['u']['properties']['queue']))
    assert shown(stack)['methods'] == ['GET']
    stack.deleted()


def _keep_as_heat_does(heat: Heat, resource: str, url: dict[str, Any]) -> None:
    """Keep a URL as the in-tree type of Heat 27 keeps it."""
    engine = sqlalchemy.create_engine(heat.database)
    with engine.begin() as connection:
        which = connection.execute(
            sqlalchemy.text(
                'SELECT id FROM resource WHERE nova_instance = :id'
            ),
            {'id': resource},
        ).scalar_one()
        connection.execute(
            sqlalchemy.text(
                'DELETE FROM resource_data WHERE resource_id = :r'
            ),
            {'r': which},
        )
        for key, value in url.items():
            text = value if isinstance(value, str) else json.dumps(value)
            connection.execute(
                sqlalchemy.text(
                    'INSERT INTO resource_data '
                    '(`key`, value, redact, decrypt_method, resource_id) '
                    "VALUES (:k, :v, 0, '', :r)"
                ),
                {'k': key, 'v': text, 'r': which},
            )
    engine.dispose()


@pytest.mark.parametrize(
    ('properties', 'text'),
    [
        ({'methods': ['get']}, 'not an allowed value'),
        ({'paths': ['stats']}, 'not an allowed value'),
        ({'ttl': 0}, 'out of range'),
        ({'queue': 'two words'}, 'not a valid queue name'),
    ],
)
def test_a_faulty_template_is_refused_at_once(
    user: User, properties: dict[str, Any], text: str
) -> None:
    with pytest.raises(Refused, match=text):
        user.create(signed(**{'queue': 'jobs', **properties}))
