# SPDX-License-Identifier: Apache-2.0
"""Versions of frames: reference/websocket, "Microversions"."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import pytest

from zaqar.api import operation_table
from zaqar.api.microversion_negotiation import HEADER
from zaqar.api.operation import Param
from zaqar.controllers.api_limits_and_defaults import Limits
from zaqar.controllers.url_signatures import Signer
from zaqar.microversion_constants import V2_0, V2_1, Version
from zaqar.transport.websocket.frame_and_answer_types import Frame
from zaqar.transport.websocket.frame_authentication import (
    Authenticator,
    BadToken,
)
from zaqar.transport.websocket.frame_handler import FrameHandler
from zaqar.transport.websocket.session import Session

HEADERS = {
    'Client-ID': '11111111-2222-4333-8444-555555555555',
    'X-Project-ID': 'p',
    'X-Auth-Token': 'gAAAA-secret',
}
OLD = {'status': 204}
NEW = {'status': 204, HEADER: 'messaging 2.1'}


class Recorder:
    """In the place of the dispatcher.

    :ivar versions: of all calls
    :ivar values: the query of the last one
    """

    def __init__(self) -> None:
        self.versions: list[Version] = []
        self.values: Any = None

    def run(
        self, *_: Any, version: Version, values: Any, **_more: Any
    ) -> bool:
        self.versions.append(version)
        self.values = values
        return True


class Client:
    """A client of one connection."""

    def __init__(self, is_binary: bool) -> None:
        self.dispatcher = Recorder()
        self.authenticator = Authenticator(Limits(), Signer(), None)
        self._handler = FrameHandler(
            self.dispatcher,  # type: ignore[arg-type]
            self.authenticator,
        )
        self._is_binary = is_binary
        self._session: Session = self._handler.session(HEADERS['Client-ID'])

    def __call__(self, action: str = 'ping_node', **headers: Any) -> Any:
        """Send a frame with further headers, "_" for "-" but in request_id."""
        named = {
            name if 'id' in name else name.replace('_', '-'): value
            for name, value in headers.items()
        }
        return self.send(
            {'action': action, 'headers': {**HEADERS, **named}, 'body': {}}
        )

    def send(self, document: Any) -> Any:
        coder: Any = msgspec.msgpack if self._is_binary else msgspec.json
        frame = Frame(coder.encode(document), self._is_binary)
        answer = self._handler.answer(self._session, frame)
        return coder.decode(answer.data)


@pytest.fixture(params=[False, True])
def client(request: pytest.FixtureRequest) -> Client:
    return Client(request.param)


def test_a_frame_names_its_version(client: Client) -> None:
    assert client()['headers'] == OLD
    for name in (HEADER, HEADER.lower(), HEADER.upper()):
        assert client(**{name: 'messaging latest'})['headers'] == NEW
    assert client(OpenStack_API_Version='compute 2.90')['headers'] == OLD
    assert client()['headers'] == OLD
    assert client.dispatcher.versions == [V2_0, *[V2_1] * 3, V2_0, V2_0]


def test_2_0_adds_the_version_alone(client: Client) -> None:
    answer = client(OpenStack_API_Version='messaging 2.0', request_id='1')
    assert answer['headers'] == {'status': 204, HEADER: 'messaging 2.0'}
    assert client(request_id='1')['headers'] == OLD


@pytest.mark.parametrize('value', ['one', '', 7, 1.5, None, ['a', {'b': 1}]])
def test_the_id_of_a_request_comes_back(client: Client, value: Any) -> None:
    answer = client(OpenStack_API_Version='messaging 2.1', request_id=value)
    assert answer['headers'] == {**NEW, 'request_id': value}


@pytest.mark.parametrize(
    ('value', 'status'),
    [('messaging 2.99', 406), ('messaging 1.1', 406), ('messaging', 400)],
)
def test_a_refused_version_is_not_used(
    client: Client, value: str, status: int
) -> None:
    answer = client(OpenStack_API_Version=value)
    assert answer['headers'] == {'status': status}
    assert set(answer['body']) == {'error'}
    assert answer['request']['headers'][HEADER] == value
    assert client.dispatcher.versions == []


def test_a_version_that_is_no_text_is_refused(client: Client) -> None:
    assert client(OpenStack_API_Version=2.1)['headers'] == {'status': 400}


def test_the_version_of_a_login_is_the_default(client: Client) -> None:
    first = client('authenticate', OpenStack_API_Version='messaging 2.1')
    assert first['headers'] == {**NEW, 'status': 200}
    assert client()['headers'] == NEW
    assert client(OpenStack_API_Version='messaging 2.0')['headers'] == {
        'status': 204,
        HEADER: 'messaging 2.0',
    }
    assert client(OpenStack_API_Version='compute 2.1')['headers'] == NEW
    # Another login without a version leaves it.
    assert client('authenticate')['headers'] == {**NEW, 'status': 200}
    assert client()['headers'] == NEW
    client('authenticate', OpenStack_API_Version='messaging 2.0')
    assert client()['headers'][HEADER] == 'messaging 2.0'


def test_a_failed_login_leaves_the_default(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_headers: Any) -> None:
        raise BadToken

    # With headers that the next frame repeats.
    client('authenticate')
    with monkeypatch.context() as patch:
        patch.setattr(client.authenticator, 'authenticate', refuse)
        refused = client('authenticate', OpenStack_API_Version='messaging 2.1')
    assert refused['headers'] == {**NEW, 'status': 401}
    assert client()['headers'] == OLD


def test_errors_name_the_version(client: Client) -> None:
    sent = {'OpenStack_API_Version': 'messaging 2.1', 'request_id': 1}
    named = {HEADER: 'messaging 2.1', 'request_id': 1}
    assert client('nothing', **sent)['headers'] == {'status': 400, **named}
    client.dispatcher.run = None  # type: ignore[assignment, method-assign]
    assert client(**sent)['headers'] == {'status': 500, **named}


def test_below_its_version_an_action_and_a_parameter_do_not_exist(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = {'OpenStack_API_Version': 'messaging 2.1'}
    row = operation_table.BY_ACTION['ping_node']
    since = dataclasses.replace(row, since=V2_1)
    rows = {**operation_table.BY_ACTION, 'ping_node': since}
    with monkeypatch.context() as patch:
        patch.setattr(operation_table, 'BY_ACTION', rows)
        refused = client()
        assert refused['body'] == {'error': 'ping_node is not a valid action.'}
        assert client(**new)['headers'] == NEW

    param = Param('depth', 'int', '', since=V2_1)
    grown = dataclasses.replace(row, name='grown', query=(param,))
    monkeypatch.setitem(rows, 'grown', grown)
    monkeypatch.setattr(operation_table, 'BY_ACTION', rows)
    frame = {'action': 'grown', 'headers': HEADERS, 'body': {'depth': 'x'}}
    client.send(frame)
    assert client.dispatcher.values == {}
    frame['headers'] = {**HEADERS, HEADER: 'messaging 2.1'}
    assert client.send(frame)['headers']['status'] == 400
