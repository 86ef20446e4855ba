# SPDX-License-Identifier: Apache-2.0
"""The new defaults, and tokens with the roles of a real Keystone.

Every operation is in http/test_personas.py; here are a few of each kind.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from zaqar.tests.functional.keystone.callers import Caller, queue_name
from zaqar.tests.functional.websocket.client import Talk
from zaqar.tests.servers.keystone import Keystone
from zaqar.tests.servers.zaqar import Zaqar

_REST = """
[signed_url]
secret_key = a key of enough length
[oslo_policy]
enforce_new_defaults = true
{token}
"""

_MESSAGES = {'messages': [{'body': 'x'}]}

#: Request, action and document of some operations, and who may: readers,
#: members.
ROWS: tuple[tuple[str, str, Any, bool, bool], ...] = (
    ('PUT /v2/queues/{q}', 'queue_create', None, False, True),
    ('GET /v2/queues', 'queue_list', None, True, True),
    ('POST /v2/queues/{q}/messages', 'message_post', _MESSAGES, False, True),
    ('GET /v2/queues/{q}/messages', 'message_list', None, True, True),
    ('POST /v2/queues/{q}/claims', 'claim_create', None, False, True),
    (
        'POST /v2/queues/{q}/subscriptions',
        'subscription_create',
        {'subscriber': 'http://example.org/'},
        False,
        True,
    ),
    ('POST /v2/queues/{q}/share', 'queue_share', {}, True, True),
    (
        'POST /v2/queues/{q}/share',
        'queue_share',
        {'methods': ['POST']},
        False,
        True,
    ),
    ('DELETE /v2/queues/{q}', 'queue_delete', None, False, True),
)

Tokens = Mapping[str, str]


@pytest.fixture(scope='module')
def server(
    keystone: Keystone, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Zaqar]:
    folder: pathlib.Path = tmp_path_factory.mktemp('personas')
    token = keystone.authtoken_section()
    zaqar = Zaqar(
        folder,
        general='auth_strategy = keystone\n',
        rest=_REST.format(token=token),
    ).start()
    yield zaqar
    zaqar.stop()


@pytest.fixture(scope='module')
def tokens(keystone: Keystone, project: str) -> Tokens:
    """A token of each role in the project."""
    roles = ('reader', 'member', 'manager', 'admin', 'service')
    return {
        role: keystone.token(keystone.user(project, role), project)
        for role in roles
    }


def _over_http(
    server: Zaqar, token: str, row: tuple[Any, ...], queue: str
) -> bool:
    method, path = row[0].format(q=queue).split(' ')
    more = {} if row[2] is None else {'json': row[2]}
    status = Caller(server.url, token).ask(method, path, **more).status_code
    assert status in (200, 201, 204, 403), (row, status)
    return status != 403


def _over_websocket(talk: Talk, row: tuple[Any, ...], queue: str) -> bool:
    name = {'queue_name': queue} if '{q}' in row[0] else {}
    said = talk.ask(row[1], {**name, **(row[2] or {})})
    assert said.status in (200, 201, 204, 403), (row, said)
    return said.status != 403


@pytest.mark.parametrize('role', ['reader', 'member', 'manager', 'service'])
def test_a_role_of_keystone_may_what_it_should(
    server: Zaqar, tokens: Tokens, project: str, role: str
) -> None:
    queue, other = queue_name(), queue_name()
    with Talk(server.socket_url, project) as talk:
        headers = {'X-Auth-Token': tokens[role]}
        assert talk.ask('authenticate', headers=headers).status == 200
        for row in ROWS:
            may = row[3] if role == 'reader' else row[4]
            assert _over_http(server, tokens[role], row, queue) is may, row
            assert _over_websocket(talk, row, other) is may, row


def test_an_administrator_may_what_members_may(
    server: Zaqar, tokens: Tokens
) -> None:
    queue = queue_name()
    for row in ROWS:
        assert _over_http(server, tokens['admin'], row, queue), row


def test_a_url_of_a_member_lets_posts_in(
    server: Zaqar, tokens: Tokens, project: str
) -> None:
    member, path = Caller(server.url, tokens['member']), queue_name()
    path = f'/v2/queues/{path}'
    shared = member.ask('POST', f'{path}/share', json={'methods': ['POST']})
    grant = shared.json()
    signed = {
        'X-Project-ID': project,
        'URL-Signature': grant['signature'],
        'URL-Expires': grant['expires'],
        'URL-Methods': ','.join(grant['methods']),
        'URL-Paths': ','.join(grant['paths']),
    }
    holder = Caller(server.url)
    posted = holder.ask('POST', f'{path}/messages', signed, json=_MESSAGES)
    assert posted.status_code == 201
