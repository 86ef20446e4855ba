# SPDX-License-Identifier: Apache-2.0
"""Who may do what: every operation, every persona, every transport.

What is expected is the table of the guide, configuration/policy.
"""

from __future__ import annotations

import csv
import datetime
import json
import pathlib
import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import pytest

from zaqar.api import operation_table, policy_personas
from zaqar.api.microversions import HEADER, MAX
from zaqar.api.operation import Operation
from zaqar.api.policy_personas import PERSONAS, Persona
from zaqar.controllers.url_signatures import Grant, Signer, shown
from zaqar.tests.functional.http.client import CLIENT, PATCH, PROJECT, Api
from zaqar.tests.functional.http.conftest import POOLED, VIRTUAL, MakeApi
from zaqar.transport.websocket.frame_authentication import Authenticator
from zaqar.transport.websocket.frame_handler import FrameHandler
from zaqar.transport.websocket.frames_and_effects import Frame

# Nothing of this is a matter of the database.
pytestmark = pytest.mark.sqlite

_GUIDE = pathlib.Path(__file__).parents[4] / 'doc/source/configuration'

NEW = """
[signed_url]
secret_key = a key of some length
[oslo_policy]
enforce_new_defaults = true
"""

_REFUSED = 'You are not authorized to complete this action.'


@pytest.fixture
def api(make_api: MakeApi) -> Api:
    return make_api(POOLED + VIRTUAL + NEW)


def _expected() -> Mapping[tuple[str, str], bool]:
    """Return what the guide says, by operation and persona."""
    lines = csv.DictReader((_GUIDE / 'roles.csv').read_text().splitlines())
    return {
        (line['Action'], persona.name): line[persona.name] == 'yes'
        for line in lines
        for persona in PERSONAS
    }


def _path(row: Operation) -> str:
    return re.sub(r'{\w+}', 'x', row.target)


def _signed(
    signer: Signer, paths: Sequence[str], methods: Sequence[str]
) -> dict[str, str]:
    expires = shown(signer.now() + datetime.timedelta(hours=1))
    grant = Grant(paths, methods, PROJECT, expires)
    return {
        'URL-Signature': signer.sign(grant),
        'URL-Expires': expires,
        'URL-Methods': ','.join(methods),
        'URL-Paths': ','.join(paths),
    }


def _over_http(api: Api, row: Operation, persona: Persona) -> bool:
    """Tell whether a request passes the policy."""
    path = _path(row)
    headers: dict[str, str] = {'Content-Type': PATCH, HEADER: MAX.header}
    if persona.is_signed:
        signer = api.service.dispatcher.signer
        headers |= _signed(signer, [path], [row.method])
    else:
        headers['X-Roles'] = ','.join(persona.roles)
    answer = api(row.method, path, headers=headers)
    assert answer.status < 500, (row.name, answer)
    if answer.status == 403 and answer.title == 'Not authorized':
        return False
    # Its signature counts, and so does what it is sent to.
    assert answer.body != b'{"title":"404 Not Found"}', (row.name, answer)
    return True


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
        folder = '/'.join(_path(row).split('/')[:5])
        method = row.method or 'GET'
        signer = handler.dispatcher.signer
        headers |= _signed(signer, [folder], [method])
    else:
        headers['X-Roles'] = ','.join(persona.roles)
    names = re.findall(r'{(\w+)}', row.target)
    body = dict.fromkeys([row.member, *names] if row.member else names, 'x')
    frame = {'action': row.name, 'headers': headers, 'body': body}
    session = handler.session(str(uuid.uuid4()))
    answer = handler.answer(session, Frame(json.dumps(frame).encode()))
    said = json.loads(answer.data)
    status = said['headers']['status']
    assert status < 500, (row.name, said)
    if status != 403:
        return True
    assert said['body']['error'] == _REFUSED, (row.name, said)
    return False


def _differences(
    asked: Iterator[tuple[Operation, Persona, bool]],
) -> list[tuple[str, str, bool]]:
    expected = _expected()
    return [
        (row.name, persona.name, may)
        for row, persona, may in asked
        if expected[row.name, persona.name] is not may
    ]


def _pairs() -> Iterator[tuple[Operation, Persona]]:
    """Yield each operation with whoever can ask for it at all."""
    for row in operation_table.OPERATIONS:
        for persona in PERSONAS:
            if policy_personas.is_within_reach(persona, row):
                yield row, persona


@pytest.mark.proves('roles')
def test_over_http_everyone_may_what_the_guide_says(api: Api) -> None:
    asked = [
        (row, persona, _over_http(api, row, persona))
        for row, persona in _pairs()
        if row.http
    ]
    assert len(asked) > 400
    assert not _differences(iter(asked))


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
    asked = [
        (row, persona, _over_websocket(handler, row, persona))
        for row, persona in _pairs()
        # Frames cannot be signed for topics; what is the connection's own
        # is not there.
        if not (persona.is_signed and ('/topics/' in row.target or row.member))
    ]
    assert len(asked) > 400
    assert not _differences(iter(asked))


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
    signed = _signed(api.service.dispatcher.signer, [path], ['PUT'])
    values = {name.removeprefix('URL-'): text for name, text in signed.items()}
    form = urlencode({**values, 'Project': PROJECT, 'confirmed': 'true'})
    answer = api('POST', '/confirm', raw=form.encode())
    assert answer.status == 200, answer
    assert b'Subscription confirmed' in answer.body
    sent = api('PUT', path, {'confirmed': True}, headers=signed)
    assert sent.status == 204
