# SPDX-License-Identifier: Apache-2.0
"""Who may do what: every operation, every persona, every transport.

What is expected is the table of the guide, configuration/policy.
"""

from __future__ import annotations

import json
import pathlib
import uuid
from typing import Any
from urllib.parse import urlencode

import pytest

from zaqar.api.microversion_negotiation import HEADER, MAX
from zaqar.api.operation import Operation
from zaqar.api.policy_table_of_personas import Persona
from zaqar.tests.functional import persona_matrix
from zaqar.tests.functional.http.client import CLIENT, PATCH, PROJECT, Api
from zaqar.tests.functional.http.conftest import POOLED, VIRTUAL, MakeApi
from zaqar.transport.websocket.frame_and_answer_types import Frame
from zaqar.transport.websocket.frame_authentication import Authenticator
from zaqar.transport.websocket.frame_handler import FrameHandler

# Nothing of this is a matter of the database.
pytestmark = pytest.mark.sqlite

NEW = """
[signed_url]
secret_key = a key of some length
[oslo_policy]
enforce_new_defaults = true
"""


@pytest.fixture
def api(make_api: MakeApi) -> Api:
    return make_api(POOLED + VIRTUAL + NEW)


def _over_http(api: Api, row: Operation, persona: Persona) -> bool:
    """Tell whether a request passes the policy."""
    headers: dict[str, str] = {'Content-Type': PATCH, HEADER: MAX.header}
    if persona.is_signed:
        signer = api.service.dispatcher.signer
        headers |= persona_matrix.signed_request(signer, PROJECT, row)
    else:
        headers['X-Roles'] = ','.join(persona.roles)
    answer = api(row.method, persona_matrix.path(row), headers=headers)
    said = json.loads(answer.body) if answer.status >= 400 else None
    return persona_matrix.request_passes(row, answer.status, said)


def _over_websocket(
    handler: FrameHandler, row: Operation, persona: Persona
) -> bool:
    """Tell whether a frame passes the policy."""
    headers: dict[str, Any] = {
        'Client-ID': CLIENT,
        'X-Project-ID': PROJECT,
        HEADER: MAX.header,
    }
    if persona.is_signed:
        signer = handler.dispatcher.signer
        headers |= persona_matrix.signed_frame(signer, PROJECT, row)
    else:
        headers['X-Roles'] = ','.join(persona.roles)
    body = persona_matrix.body(row)
    frame = {'action': row.name, 'headers': headers, 'body': body}
    session = handler.session(str(uuid.uuid4()))
    answer = handler.answer(session, Frame(json.dumps(frame).encode()))
    said = json.loads(answer.data)
    status = said['headers']['status']
    return persona_matrix.frame_passes(row, status, said['body'])


@pytest.mark.proves('roles')
def test_over_http_everyone_may_what_the_guide_says(api: Api) -> None:
    assert not persona_matrix.differences(
        (row, persona, _over_http(api, row, persona))
        for row, persona in persona_matrix.over_http()
    )


@pytest.mark.proves('roles')
def test_over_websocket_everyone_may_what_the_guide_says(api: Api) -> None:
    service = api.service
    dispatcher = service.dispatcher
    handler = FrameHandler(
        dispatcher,
        Authenticator.from_conf(
            service.conf, dispatcher.limits, dispatcher.signer
        ),
    )
    assert not persona_matrix.differences(
        (row, persona, _over_websocket(handler, row, persona))
        for row, persona in persona_matrix.over_websocket()
    )


def test_a_caller_without_a_role_of_ours_may_nothing(api: Api) -> None:
    assert api.with_changes(roles='other')('GET', '/v2/ping').status == 204
    for roles in ('other', None):
        answer = api.with_changes(roles=roles)('GET', '/v2/queues')
        assert answer.is_error(403, 'Not authorized')


# Sharing.

SHARE = '/v2/queues/jobs/share'


def _share(api: Api, roles: str, **document: Any) -> int:
    answer = api.with_changes(roles=roles)('POST', SHARE, document)
    return int(answer.status)


@pytest.mark.proves('shared rights')
@pytest.mark.parametrize(
    ('paths', 'methods', 'reader', 'stack_user'),
    [
        (['messages'], ['GET'], 200, 200),
        (['messages', 'claims'], ['GET', 'get', 'post'], 200, 200),
        (['subscriptions'], ['GET'], 200, 403),
        (['messages'], ['POST'], 403, 200),
        (['messages'], ['GET', 'DELETE'], 403, 200),
        (['claims'], ['POST', 'PATCH', 'DELETE'], 403, 200),
        (['messages', 'subscriptions'], ['POST'], 403, 403),
        (['subscriptions'], ['PUT'], 403, 403),
    ],
)
def test_nobody_shares_more_than_he_has(
    api: Api,
    paths: list[str],
    methods: list[str],
    reader: int,
    stack_user: int,
) -> None:
    def status(roles: str) -> int:
        return _share(api, roles, paths=paths, methods=methods)

    assert status('reader') == reader
    assert status('heat_stack_user') == stack_user
    assert status('member') == 200


def test_a_faulty_wish_is_a_fault_for_whoever_may_share(api: Api) -> None:
    assert _share(api, 'reader', paths=['stats'], methods=['POST']) == 400
    assert _share(api, 'reader', methods=0) == 400
    assert _share(api, 'other', methods=0) == 403


def test_what_nobody_would_get_hinders_no_sharing(
    make_api: MakeApi, tmp_path: pathlib.Path
) -> None:
    policy = tmp_path / 'policy.yaml'
    policy.write_text(
        '"messages:delete_all": "role:admin"\n"messages:explain": "!"\n'
    )
    api = make_api(f'{NEW}policy_file = {policy}\n')
    assert _share(api, 'member', methods=['GET', 'DELETE']) == 200


def test_a_list_with_statistics_needs_the_rule_of_both(
    make_api: MakeApi, tmp_path: pathlib.Path
) -> None:
    policy = tmp_path / 'policy.yaml'
    policy.write_text('"queues:stats": "role:admin"\n')
    api = make_api(f'{NEW}policy_file = {policy}\n').with_changes(
        roles='reader', version='messaging 2.1'
    )
    assert api('GET', '/v2/queues').status == 200
    assert api('GET', '/v2/queues?with_stats=false').status == 200
    assert api('GET', '/v2/queues?with_stats=true').status == 403


# Confirming.


def test_a_confirmation_link_needs_no_role(api: Api) -> None:
    member = api.with_changes(roles='member')
    path = '/v2/queues/jobs/subscriptions'
    document = {'subscriber': 'https://a.example/hook'}
    made = member('POST', path, document)
    path = f'{path}/{made.json["subscription_id"]}/confirm'
    signer = api.service.dispatcher.signer
    signed = persona_matrix.signed(signer, PROJECT, [path], ['PUT'])
    values = {name.removeprefix('URL-'): text for name, text in signed.items()}
    form = urlencode({**values, 'Project': PROJECT, 'confirmed': 'true'})
    answer = api('POST', '/confirm', raw=form.encode())
    assert answer.status == 200, answer
    assert b'Subscription confirmed' in answer.body
    sent = api('PUT', path, {'confirmed': True}, headers=signed)
    assert sent.status == 204
