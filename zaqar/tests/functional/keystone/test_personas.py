# SPDX-License-Identifier: Apache-2.0
"""Every operation, persona and transport, with tokens of a real Keystone.

What is expected is the table of the guide, configuration/policy.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Mapping

import pytest

from zaqar.api.microversion_negotiation import HEADER, MAX
from zaqar.api.operation import Operation
from zaqar.api.policy_table_of_personas import PERSONAS, Persona
from zaqar.controllers.url_signatures import Signer
from zaqar.tests.functional import persona_matrix
from zaqar.tests.functional.http.client import CLIENT, PATCH
from zaqar.tests.functional.http.conftest import POOLED, VIRTUAL
from zaqar.tests.functional.keystone.callers import Caller, queue_name
from zaqar.tests.functional.keystone.commands import Shell, sit_down
from zaqar.tests.functional.websocket.client import Talk
from zaqar.tests.servers.keystone import Keystone
from zaqar.tests.servers.zaqar import Zaqar

_KEY = 'a key of enough length'

_REST = f"""
{VIRTUAL}
[signed_url]
secret_key = {_KEY}
[oslo_policy]
enforce_new_defaults = true
"""

_MESSAGES = {'messages': [{'body': 'x'}]}

#: By the names of personas.
Tokens = Mapping[str, str]


@pytest.fixture(scope='module')
def server(
    keystone: Keystone, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Zaqar]:
    folder: pathlib.Path = tmp_path_factory.mktemp('personas')
    zaqar = Zaqar(
        folder,
        general=f'auth_strategy = keystone\n{POOLED}',
        rest=_REST + keystone.authtoken_section(),
    ).start()
    yield zaqar
    zaqar.stop()


@pytest.fixture(scope='module')
def signer() -> Signer:
    """What signs as the server does."""
    return Signer(_KEY)


@pytest.fixture(scope='module')
def tokens(keystone: Keystone, project: str) -> Tokens:
    """A token of each role in the project; Keystone implies further ones."""
    keystone.ensure_role('heat_stack_user')
    names = [one.name for one in PERSONAS if not one.is_signed]
    return {
        name: keystone.token(keystone.user(project, name), project)
        for name in names
    }


def test_over_http_everyone_may_what_the_guide_says(
    server: Zaqar, tokens: Tokens, project: str, signer: Signer
) -> None:
    def passes(row: Operation, persona: Persona) -> bool:
        headers = {'Content-Type': PATCH, HEADER: MAX.header}
        if persona.is_signed:
            headers |= persona_matrix.signed_request(signer, project, row)
            headers['X-Project-ID'] = project
        caller = Caller(server.url, tokens.get(persona.name))
        answer = caller.ask(row.method, persona_matrix.path(row), headers)
        said = answer.json() if answer.status_code >= 400 else None
        return persona_matrix.request_passes(row, answer.status_code, said)

    assert not persona_matrix.differences(
        (row, persona, passes(row, persona))
        for row, persona in persona_matrix.over_http()
    )


def test_over_websocket_everyone_may_what_the_guide_says(
    server: Zaqar, tokens: Tokens, project: str, signer: Signer
) -> None:
    def passes(talk: Talk, row: Operation, persona: Persona) -> bool:
        headers = {HEADER: MAX.header}
        if persona.is_signed:
            headers |= persona_matrix.signed_frame(signer, project, row)
        said = talk.ask(row.name, persona_matrix.body(row), headers)
        return persona_matrix.frame_passes(row, said.status, said.body)

    def asked() -> Iterator[tuple[Operation, Persona, bool]]:
        pairs = list(persona_matrix.over_websocket())
        for persona in PERSONAS:
            with Talk(server.socket_url, project) as talk:
                if not persona.is_signed:
                    token = {'X-Auth-Token': tokens[persona.name]}
                    said = talk.ask('authenticate', headers=token)
                    assert said.status == 200
                for row, other in pairs:
                    if other is persona:
                        yield row, persona, passes(talk, row, persona)

    assert not persona_matrix.differences(asked())


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


def test_commands_of_a_reader_show_and_those_of_a_member_change(
    keystone: Keystone, server: Zaqar, project: str
) -> None:
    def log_in(role: str) -> Shell:
        user = keystone.user(project, role)
        token = keystone.token(user, project)
        return sit_down(keystone, Caller(server.url, token, project), user)

    queue = queue_name()
    path = f'/v2/queues/{queue}'
    own = ('--client-id', CLIENT)
    post = ('message', 'post', queue, *own, '[{"body": 1}]')
    claim = ('claim', 'create', queue)
    with keystone.published('messaging', server.url):
        member, reader = log_in('member'), log_in('reader')
        member.show('queue', 'create', queue)
        member.do(*post)
        names = [row['Name'] for row in reader.show('queue', 'list')[1]]
        assert queue in names
        calls, _ = reader.show('queue', 'stats', queue)
        assert calls == [f'GET {path}/stats 200']
        assert reader.fail(*post) == [f'POST {path}/messages 403']
        assert reader.fail(*claim) == [f'POST {path}/claims?limit=10 403']
        assert reader.fail('queue', 'delete', queue) == [f'DELETE {path} 403']
        assert len(member.show(*claim)[1]) == 1
        assert member.do('queue', 'delete', queue) == [f'DELETE {path} 204']
