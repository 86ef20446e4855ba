# SPDX-License-Identifier: Apache-2.0
"""Access rules of application credentials hold for frames as over HTTP."""

from __future__ import annotations

import json
import logging
import pathlib
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from zaqar import config_loading, service_assembly
from zaqar.api import (
    microversion_negotiation,
    operation_table,
    websocket_frame_arguments,
)
from zaqar.api.operation import Operation
from zaqar.tests.functional.http.client import Api
from zaqar.tests.functional.keystone import conftest, rows
from zaqar.tests.functional.websocket.client import CLIENT, Talk
from zaqar.tests.servers.keystone import Keystone, User
from zaqar.tests.servers.zaqar import Zaqar
from zaqar.transport.websocket.frame_and_answer_types import Frame, FrameAnswer
from zaqar.transport.websocket.frame_authentication import Authenticator
from zaqar.transport.websocket.frame_handler import FrameHandler

#: What stands for the names in the paths of the table.
VALUES = {
    'queue_name': 'q',
    'topic_name': 'q',
    'message_id': '5f9f1b0e-0000-4000-8000-000000000001',
    'claim_id': '5f9f1b0e-0000-4000-8000-000000000002',
    'subscription_id': '5f9f1b0e-0000-4000-8000-000000000003',
    'project_id': 'p',
    'redrive_id': '5f9f1b0e-0000-4000-8000-000000000004',
    'attempt_id': 'p.s.n.0',
    'pool_name': 'p',
    'flavor_name': 'f',
}

#: Sets of rules; ``%`` stands for what the API is mounted under.
RULES = [
    ('GET %/v2/**',),
    ('GET %/v2/queues/*',),
    ('POST %/v2/queues/q/messages', 'DELETE %/v2/queues/{name}/claims/*'),
    ('PUT %/v2/queues/q', 'PUT %/v2/topics/r', 'PATCH %/v2/**'),
    ('POST /elsewhere/**', 'HEAD %/v2/ping', 'GET %/v2/'),
]

#: Rows whose frames name the values of their paths.
ADDRESSED = [row for row in operation_table.OPERATIONS if not row.member]

REFUSED = 'The access rules of the application credential do not permit this.'

BUILT = 'admin_mode = true\npooling = true\n'


@dataclass(frozen=True)
class Place:
    """An application in this process, and who may ask it.

    :ivar api: its application; one, since each remembers tokens for itself
    :ivar mount: what its API is mounted under
    """

    built: service_assembly.Service
    api: Api
    authenticator: Authenticator
    keystone: Keystone
    project: str
    user: User
    mount: str

    def token(self, *rules: str) -> str:
        """Return a token that is held to rules."""
        return self.keystone.restricted_token(
            self.user,
            self.project,
            *(rule.replace('%', self.mount) for rule in rules),
        )

    def session(self) -> Session:
        """Return a connection."""
        handler = FrameHandler(self.built.dispatcher, self.authenticator)
        return Session(handler, self.project)

    def permitted_over_http(self, token: str, row: Operation) -> bool:
        """Tell whether keystonemiddleware lets a request of a row pass."""
        method, path = websocket_frame_arguments.target(row, VALUES)
        answer = self.api(
            method,
            path,
            headers={'X-Auth-Token': token, 'X-Project-ID': None},
            environ={'SCRIPT_NAME': self.mount},
        )
        return answer.status != 401


class Session:
    """A connection without a network."""

    def __init__(self, handler: FrameHandler, project: str) -> None:
        self._handler = handler
        self._session = handler.session(str(uuid.uuid4()))
        self._headers = {
            'Client-ID': CLIENT,
            'X-Project-ID': project,
            microversion_negotiation.HEADER: (
                microversion_negotiation.MAX.header
            ),
        }

    def ask(
        self, action: str, body: Mapping[str, Any], **headers: str
    ) -> tuple[int, Any, FrameAnswer]:
        """Return status and body, and the answer with what it changes."""
        document = {
            'action': action,
            'headers': {**self._headers, **headers},
            'body': body,
        }
        frame = Frame(json.dumps(document).encode())
        answer = self._handler.answer(self._session, frame)
        said = json.loads(answer.data)
        assert said['request']['action'] == action
        return said['headers']['status'], said['body'], answer

    def login(self, token: str) -> int:
        """Show a token, and return the status."""
        return self.ask('authenticate', {}, **{'X-Auth-Token': token})[0]

    def permitted(self, row: Operation) -> bool:
        """Tell whether a frame of a row passes the access rules."""
        status, body, _ = self.ask(row.name, VALUES)
        refused = isinstance(body, dict) and body.get('error') == REFUSED
        assert not refused or status == 403
        return not refused


Make = Callable[..., Place]


@pytest.fixture(scope='module')
def make(
    keystone: Keystone, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Make]:
    """A function that makes applications, each with options of its own."""
    built: list[service_assembly.Service] = []
    project = keystone.project()
    user = keystone.user(project, 'member')

    def made(mount: str = '', authtoken: str = '') -> Place:
        folder = tmp_path_factory.mktemp('rules')
        file = folder / 'zaqar.conf'
        file.write_text(
            f'{conftest.configuration(keystone)}\n{authtoken}\n'
            f'[DEFAULT]\nstate_path = {folder}\n{BUILT}'
        )
        arguments = ['--config-file', str(file)]
        conf = config_loading.load('zaqar-server', arguments)
        one = service_assembly.Service(conf)
        built.append(one)
        dispatcher = one.dispatcher
        authenticator = Authenticator.from_conf(
            conf, dispatcher.limits, dispatcher.signer, mount
        )
        api = rows.application(one)
        return Place(one, api, authenticator, keystone, project, user, mount)

    # Rules are for services of the catalogue alone.
    with keystone.published('messaging', 'http://127.0.0.1:1/messaging'):
        yield made
    for one in built:
        one.close()


@pytest.fixture(scope='module', params=['', '/messaging'])
def place(make: Make, request: pytest.FixtureRequest) -> Place:
    """An application, at the root of its server and below it."""
    return make(request.param)


@pytest.mark.proves('access rules')
@pytest.mark.parametrize('rules', RULES, ids=lambda rules: rules[0])
def test_each_row_is_permitted_as_over_http(
    place: Place, rules: tuple[str, ...]
) -> None:
    token = place.token(*rules)
    session = place.session()
    assert session.login(token) == 200
    permitted = {row.name: session.permitted(row) for row in ADDRESSED}
    assert permitted == {
        row.name: place.permitted_over_http(token, row) for row in ADDRESSED
    }
    # Otherwise the two may agree for another reason.
    assert set(permitted.values()) == {True, False}


def test_an_old_path_is_permitted_like_the_new_one(place: Place) -> None:
    token = place.token('POST %/v2/queues/q/messages')
    for queue, method, permitted in (
        ('q', 'POST', True),
        ('q', 'DELETE', False),
        ('other', 'POST', False),
    ):
        answer = place.api(
            method,
            f'/v1.1/queues/{queue}/messages',
            {'messages': [{'body': 1}]},
            headers={'X-Auth-Token': token, 'X-Project-ID': None},
            environ={'SCRIPT_NAME': place.mount},
        )
        assert (answer.status != 401) == permitted
    nobody = place.api(
        'POST', '/v1.1/queues/q/messages', {'messages': [{'body': 1}]}
    )
    assert nobody.status == 401


def test_a_read_without_a_route_is_permitted_like_the_list(
    place: Place,
) -> None:
    session = place.session()
    session.login(place.token('GET %/v2/queues/q/messages'))
    assert session.permitted(operation_table.BY_ACTION['message_get_many'])
    session.login(place.token('GET %/v2/queues/q/messages/*'))
    assert not session.permitted(operation_table.BY_ACTION['message_get_many'])


@pytest.mark.proves('access rules')
def test_rules_are_those_of_the_last_login(place: Place) -> None:
    session = place.session()
    free = place.keystone.token(place.user, place.project)
    row = operation_table.BY_ACTION['queue_list']
    assert session.login(free) == 200
    assert session.permitted(row)
    assert session.login(place.token('PUT %/v2/**')) == 200
    # The connection has seen these headers, and knows who that was.
    assert not session.permitted(row)
    assert not session.permitted(row)
    assert session.login('garbage') == 401
    assert not session.permitted(row)
    assert session.login(free) == 200
    assert session.permitted(row)


def test_a_rule_for_another_service_permits_nothing(place: Place) -> None:
    token = place.keystone.restricted_token(
        place.user,
        place.project,
        f'GET {place.mount}/v2/**',
        service='object-store',
    )
    session = place.session()
    assert session.login(token) == 200
    assert not session.permitted(operation_table.BY_ACTION['queue_list'])


@pytest.fixture(
    params=[
        ('service_type =', 'service_type'),
        ('service_type = unknown', 'service_type'),
        ('include_service_catalog = False', 'include_service_catalog = True'),
    ],
    ids=lambda param: param[0],
)
def without_rules(
    make: Make, request: pytest.FixtureRequest
) -> tuple[Place, str]:
    """An application that cannot match rules, and what it logs then."""
    authtoken, logged = request.param
    # Not in the test: it replaces the handlers of logs.
    return make('', authtoken), logged


def test_rules_that_cannot_be_matched_are_401_with_a_log_line(
    without_rules: tuple[Place, str], caplog: pytest.LogCaptureFixture
) -> None:
    place, logged = without_rules
    token = place.token('GET /v2/**')
    session = place.session()
    with caplog.at_level(logging.WARNING):
        assert session.login(token) == 401
    assert logged in caplog.text
    caplog.clear()
    row = operation_table.BY_ACTION['queue_list']
    with caplog.at_level(logging.WARNING):
        assert not place.permitted_over_http(token, row)
    assert logged in caplog.text
    # Tokens without rules need none of this.
    free = place.keystone.token(place.user, place.project)
    assert session.login(free) == 200
    assert place.permitted_over_http(free, row)


def test_a_login_that_is_left_to_us_is_refused(make: Make) -> None:
    session = make('', 'delay_auth_decision = True').session()
    assert session.login('garbage') == 401


@pytest.fixture(scope='module')
def server(
    keystone: Keystone, make: Make, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Zaqar]:
    folder: pathlib.Path = tmp_path_factory.mktemp('sockets')
    zaqar = Zaqar(
        folder,
        general='auth_strategy = keystone\n',
        rest=keystone.authtoken_section(),
    ).start()
    yield zaqar
    zaqar.stop()


def test_who_may_only_post_into_one_queue_does_that_and_no_more(
    keystone: Keystone, server: Zaqar
) -> None:
    project = keystone.project()
    user = keystone.user(project, 'member')
    rule = 'POST /v2/queues/jobs/messages'
    token = keystone.restricted_token(user, project, rule)
    for is_binary in (False, True):
        with Talk(server.socket_url, project, is_binary=is_binary) as talk:
            said = talk.ask('authenticate', headers={'X-Auth-Token': token})
            assert said.status == 200, said
            assert len(talk.post('jobs', 1)) == 1
            body = {'queue_name': 'jobs', 'messages': [{'body': 1}]}
            elsewhere = {**body, 'queue_name': 'other'}
            for action, arguments in (
                ('message_post', elsewhere),
                ('message_list', body),
                ('queue_create', body),
                ('queue_delete', body),
                ('queue_share', body),
                ('subscription_create', body),
            ):
                assert talk.ask(action, arguments).is_error(
                    403, 'access rules'
                )


@pytest.mark.proves('access rules')
def test_pushes_end_with_the_right_to_subscribe(
    keystone: Keystone, server: Zaqar
) -> None:
    project = keystone.project()
    user = keystone.user(project, 'member')
    free = keystone.token(user, project)
    rules = ('POST /v2/queues/kept/**', 'GET /v2/**')
    restricted = keystone.restricted_token(user, project, *rules)
    with Talk(server.socket_url, project) as talk:
        talk.ask('authenticate', headers={'X-Auth-Token': free})
        for queue in ('kept', 'lost'):
            said = talk.ask('subscription_create', queue_name=queue)
            assert said.status == 201
        said = talk.ask('authenticate', headers={'X-Auth-Token': restricted})
        assert said.status == 200
        with Talk(server.socket_url, project) as other:
            other.ask('authenticate', headers={'X-Auth-Token': free})

            def count(queue: str) -> int:
                said = other.ask('subscription_list', queue_name=queue)
                return len(said.body['subscriptions'])

            for _ in range(200):
                if not count('lost'):
                    break
            assert (count('kept'), count('lost')) == (1, 0)
            other.post('lost', 'not this')
            other.post('kept', 'this')
        assert talk.pushed()['body'] == 'this'


def test_every_failure_of_a_login_names_its_action(
    keystone: Keystone, server: Zaqar
) -> None:
    with Talk(server.socket_url) as talk:
        for headers in (
            {'X-Auth-Token': 'garbage'},
            {'X-Auth-Token': 1},
            {'X-Auth-Token': None},
            {'X-Auth-Token': 'x', 'X-Project-ID': None},
        ):
            said = talk.ask('authenticate', headers=headers)
            assert said.status in (400, 401)
            assert said.request['action'] == 'authenticate'
        talk.send_document({'action': 'authenticate'})
        assert talk.said().request['action'] == 'authenticate'
        with keystone.down():
            headers = {'X-Auth-Token': 'gAAAAAx'}
            said = talk.ask('authenticate', headers=headers)
            assert said.is_error(503)
            assert said.request['action'] == 'authenticate'
