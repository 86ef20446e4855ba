# SPDX-License-Identifier: Apache-2.0
"""The streams of a session, and tokens that cover them or do not."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pytest

from zaqar.api.microversion_negotiation import HEADER
from zaqar.controllers.api_limits_and_defaults import Limits
from zaqar.controllers.streams import StreamSource, StreamStart
from zaqar.controllers.url_signatures import Signer
from zaqar.identity import Identity
from zaqar.microversion_constants import V2_1
from zaqar.objects import Scope
from zaqar.transport.token_validation import Credentials
from zaqar.transport.websocket import session as sessions
from zaqar.transport.websocket.frame_and_answer_types import Frame, FrameAnswer
from zaqar.transport.websocket.frame_authentication import Authenticator
from zaqar.transport.websocket.frame_handler import FrameHandler

LATER = datetime.datetime(2040, 1, 1, tzinfo=datetime.UTC)


class Tokens:
    """A token is its project, and perhaps the only path that it permits."""

    def prove(self, environ: dict[str, Any]) -> Credentials:
        project, _, path = environ['HTTP_X_AUTH_TOKEN'].partition(' ')
        token = {
            'HTTP_X_IDENTITY_STATUS': 'Confirmed',
            'HTTP_X_PROJECT_ID': project,
        }

        def permits(method: str, requested: str) -> bool:
            assert method == 'GET'
            return requested == path

        return Credentials(token, 7.0, permits if path else None)


class Dispatcher:
    """Begins streams that end later, and ends those that it is told."""

    def run(
        self, row: Any, identity: Identity, scope: Scope, path: Any, **_: Any
    ) -> Any:
        if row.name == 'message_stream_end':
            return path['stream_id']
        source = StreamSource(scope, None, None)  # type: ignore[arg-type]
        return StreamStart(source, '7', '', LATER)


class Client:
    """One connection to a service with authentication."""

    def __init__(self) -> None:
        tokens: Any = Tokens()
        self._handler = FrameHandler(
            Dispatcher(),  # type: ignore[arg-type]
            Authenticator(Limits(), Signer(), tokens),
        )
        self.session = self._handler.session(
            '11111111-2222-4333-8444-555555555555'
        )
        self.project = 'p'

    def __call__(self, action: str, **body: str) -> tuple[int, FrameAnswer]:
        headers = {
            'Client-ID': '11111111-2222-4333-8444-555555555555',
            'X-Project-ID': self.project,
            HEADER: V2_1.header,
        }
        if 'token' in body:
            headers['X-Auth-Token'] = body.pop('token')
        document = {'action': action, 'headers': headers, 'body': body}
        frame = Frame(json.dumps(document).encode())
        answer = self._handler.answer(self.session, frame)
        said = json.loads(answer.data)
        return said['headers']['status'], answer

    def login(self, token: str) -> FrameAnswer:
        status, answer = self('authenticate', token=token)
        assert status == 200
        self.project = token.partition(' ')[0]
        return answer

    def follow(self, queue: str) -> str:
        status, answer = self('message_stream', queue_name=queue)
        assert status == 200
        assert answer.stream is not None
        # The token of the session may be replaced until then.
        assert answer.stream.ends_at is None
        return answer.stream.id


@pytest.fixture
def client() -> Client:
    return Client()


def test_nothing_begins_or_ends_without_a_token(client: Client) -> None:
    assert client('message_stream', queue_name='q')[0] == 403
    assert client('message_stream_end', stream_id='1')[0] == 403
    assert not client.session.streams


def test_another_token_of_the_project_keeps_them(client: Client) -> None:
    client.login('p')
    client.follow('q')
    assert not client.login('p').ended_streams
    assert set(client.session.streams) == {'1'}


def test_a_token_of_another_project_ends_them(client: Client) -> None:
    client.login('p')
    for queue in ('a', 'b'):
        client.follow(queue)
    ended = client.login('other').ended_streams
    assert set(ended) == {'1', '2'}
    assert all('token' in reason for reason in ended.values())


def test_a_token_ends_those_that_its_access_rules_do_not_permit(
    client: Client,
) -> None:
    client.login('p')
    for queue in ('a', 'b'):
        client.follow(queue)
    ended = client.login('p /v2/queues/b/messages').ended_streams
    assert set(ended) == {'1'}
    assert client('message_stream', queue_name='a')[0] == 403
    assert client('message_stream_end', stream_id='2')[0] == 204


def test_a_client_ends_its_own(client: Client) -> None:
    client.login('p')
    stream = client.follow('q')
    status, answer = client('message_stream_end', stream_id=stream)
    assert status == 204
    assert answer.ended_streams == {stream: ''}
    status, answer = client('message_stream_end', stream_id='7')
    assert status == 404
    assert not answer.ended_streams


def test_their_number_is_limited(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, 'MOST_STREAMS', 2)
    client.login('p')
    client.follow('q')
    client.follow('q')
    status, answer = client('message_stream', queue_name='q')
    assert status == 403
    assert answer.stream is None
    # As the loop does.
    del client.session.streams['1']
    assert client.follow('q') == '3'
