# SPDX-License-Identifier: Apache-2.0
"""python-zaqarclient's WebSocket transport, and scenarios over both ways."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Protocol

import pytest
import requests
from zaqarclient.transport import errors, request, ws

from zaqar.tests.functional.websocket.client import (
    BINARY,
    CLIENT,
    OTHER_CLIENT,
    Talk,
)
from zaqar.tests.servers.zaqar import Zaqar

#: Frames as msgpackr 2.1.4 and msgpack-lite 0.2.2 send them for
#: {action: 'message_post', headers: ..., body: {queue_name: 'q', messages:
#: [{ttl: 300, body: [2**32, -(2**31) - 1, Number.MAX_SAFE_INTEGER,
#: {at: 1700000000000}, 1.5, 1e300]}]}}, their maps left open.
_FROM_JAVASCRIPT = (
    '{m3}a6616374696f6eac6d6573736167655f706f7374a768656164657273{m2}a9436c69'
    '656e742d4944d92433333831616639322d326239652d313165332d623139312d37313836'
    '3133303037333463ac582d50726f6a6563742d4944a26a73a4626f6479{m2}aa71756575'
    '655f6e616d65a171a86d6573736167657391{m2}a374746ccd012ca4626f647996cb41f0'
    '000000000000cbc1e0000000200000cb433fffffffffffff{m1}a26174cb4278bcfe5680'
    '0000cb3ff8000000000000cb7e37e43c8800759c'
)


@pytest.mark.parametrize(
    'maps',
    [
        {'m1': 'de0001', 'm2': 'de0002', 'm3': 'de0003'},
        {'m1': '81', 'm2': '82', 'm3': '83'},
    ],
    ids=['msgpackr', 'msgpack-lite'],
)
def test_numbers_of_javascript_stay_integers(
    zaqar: Zaqar, maps: dict[str, str]
) -> None:
    with Talk(zaqar.socket_url, 'js') as talk:
        talk.ask('queue_delete', queue_name='q')
        talk.send_raw(bytes.fromhex(_FROM_JAVASCRIPT.format(**maps)), BINARY)
        assert talk.said().status == 201
        (body,) = talk.bodies('q')
        numbers = [2**32, -(2**31) - 1, 2**53 - 1, {'at': 1700000000000}]
        assert repr(body) == repr([*numbers, 1.5, 1e300])
        # As a parameter and a member of the document, in both encodings.
        talk.is_binary = True
        said = talk.ask('message_list', queue_name='q', limit=1.0, echo=True)
        assert len(said.body['messages']) == 1
        talk.post('q', 'x', ttl=300.0)
        said = talk.ask('message_list', queue_name='q', limit=1.5)
        assert said.is_error(400, 'must be an integer')
        said = talk.ask('message_list', queue_name='q', limit=2.0**32)
        assert said.is_error(400, 'Limit must be')


class TestZaqarclient:
    """The client that others use."""

    @pytest.fixture
    def client(self, zaqar: Zaqar, project: str) -> Iterator[Any]:
        options = {'os_project_id': project, 'os_auth_token': 'none'}
        conf = {'auth_opts': {'backend': 'noauth', 'options': options}}
        with ws.WebsocketTransport(conf) as transport:
            self.url = zaqar.socket_url
            yield transport

    def _send(self, client: Any, action: str, **body: Any) -> Any:
        sent = request.Request(self.url, action, content=json.dumps(body))
        answer = client.send(sent)
        return answer.status_code, json.loads(answer.content)

    def test_it_makes_queues_and_posts(self, client: Any) -> None:
        assert self._send(client, 'queue_create', queue_name='q')[0] == 201
        status, body = self._send(
            client,
            'message_post',
            queue_name='q',
            messages=[{'body': {'a': 1}, 'ttl': 60}],
        )
        assert (status, len(body['message_ids'])) == (201, 1)
        status, body = self._send(client, 'claim_create', queue_name='q')
        assert body['messages'][0]['body'] == {'a': 1}

    def test_it_knows_our_errors(self, client: Any) -> None:
        with pytest.raises(errors.MalformedRequest):
            self._send(client, 'nonsense')
        with pytest.raises(errors.ResourceNotFound):
            self._send(
                client, 'message_get', queue_name='q', message_id='none'
            )

    def test_it_is_told_of_messages(self, client: Any) -> None:
        self._send(client, 'subscription_create', queue_name='q', ttl=60)
        messages = [{'body': 'news', 'ttl': 60}]
        posted = {'queue_name': 'q', 'messages': messages}
        seen = []
        client._ws.send(
            json.dumps(
                {
                    'action': 'message_post',
                    'headers': {
                        'Client-ID': CLIENT,
                        'X-Project-ID': client._project_id,
                    },
                    'body': posted,
                }
            )
        )
        for _ in range(2):
            seen.append(client.recv())
        pushed = [one for one in seen if 'request' not in one]
        assert [one['body'] for one in pushed] == ['news']


class Way(Protocol):
    """A way to ask, whichever it is.

    All bodies are those that both ways show alike.
    """

    def queue(self, method: str, body: Any = None) -> int: ...
    def post(self, *messages: Any) -> int: ...
    def list(self, **query: Any) -> list[Any]: ...
    def claim(self, **options: Any) -> tuple[str, list[Any]]: ...
    def delete(self, message_id: str, claim_id: str | None) -> int: ...
    def pop(self, count: int) -> list[Any]: ...
    def as_other(self) -> Way: ...


class OverHttp:
    """Requests."""

    def __init__(self, server: Zaqar, project: str, client: str = CLIENT):
        self._server, self._project = server, project
        self._client = client
        self._base = f'{server.url}/v2/queues/q'

    def _ask(self, method: str, path: str, **more: Any) -> requests.Response:
        return requests.request(
            method,
            self._base + path,
            headers={
                'Client-ID': self._client,
                'X-Project-ID': self._project,
            },
            timeout=30,
            **more,
        )

    def queue(self, method: str, body: Any = None) -> int:
        return self._ask(method, '', json=body).status_code

    def post(self, *messages: Any) -> int:
        body = {'messages': list(messages)}
        return self._ask('POST', '/messages', json=body).status_code

    def list(self, **query: Any) -> list[Any]:
        page = self._ask('GET', '/messages', params=query).json()
        return list(page['messages'])

    def claim(self, **options: Any) -> tuple[str, list[Any]]:
        answer = self._ask('POST', '/claims', json=options)
        if answer.status_code == 204:
            return '', []
        claim_id = answer.headers['Location'].rpartition('/')[2]
        return claim_id, answer.json()['messages']

    def delete(self, message_id: str, claim_id: str | None) -> int:
        params = {'claim_id': claim_id} if claim_id else {}
        path = f'/messages/{message_id}'
        return self._ask('DELETE', path, params=params).status_code

    def pop(self, count: int) -> list[Any]:
        page = self._ask('DELETE', '/messages', params={'pop': count}).json()
        return list(page['messages'])

    def as_other(self) -> OverHttp:
        return OverHttp(self._server, self._project, OTHER_CLIENT)


class OverSocket:
    """Frames."""

    def __init__(
        self,
        server: Zaqar,
        project: str,
        is_binary: bool,
        client: str = CLIENT,
    ):
        self._rest = (server, project, is_binary)
        self._talk = Talk(
            server.socket_url, project, client=client, is_binary=is_binary
        )

    def _ask(self, action: str, **body: Any) -> Any:
        return self._talk.ask(action, {'queue_name': 'q', **body})

    def queue(self, method: str, body: Any = None) -> int:
        if method == 'DELETE':
            return int(self._ask('queue_delete').status)
        return int(self._ask('queue_create', metadata=body or {}).status)

    def post(self, *messages: Any) -> int:
        return int(self._ask('message_post', messages=messages).status)

    def list(self, **query: Any) -> list[Any]:
        return list(self._ask('message_list', **query).body['messages'])

    def claim(self, **options: Any) -> tuple[str, list[Any]]:
        body = self._ask('claim_create', **options).body
        return body['claim_id'] or '', body.get('messages', [])

    def delete(self, message_id: str, claim_id: str | None) -> int:
        more = {'claim_id': claim_id} if claim_id else {}
        said = self._ask('message_delete', message_id=message_id, **more)
        return int(said.status)

    def pop(self, count: int) -> list[Any]:
        said = self._ask('message_delete_many', pop=count)
        return list(said.body['messages'])

    def as_other(self) -> OverSocket:
        return OverSocket(*self._rest, OTHER_CLIENT)


@pytest.fixture(params=['http', 'json', 'msgpack'])
def way(request: pytest.FixtureRequest, server: Zaqar, project: str) -> Way:
    """Each way to ask."""
    if request.param == 'http':
        return OverHttp(server, project)
    return OverSocket(server, project, request.param == 'msgpack')


def _bodies(messages: list[Any]) -> list[Any]:
    return [message['body'] for message in messages]


def test_a_queue_comes_and_goes(way: Way) -> None:
    assert [way.queue('PUT', {}) for _ in range(2)] == [201, 204]
    assert [way.queue('DELETE') for _ in range(2)] == [204, 204]
    assert way.queue('PUT', {'_default_message_ttl': 'x'}) == 400


def test_work_is_handed_out_once(way: Way) -> None:
    assert way.post(*({'body': number} for number in range(3))) == 201
    first, mine = way.claim(ttl=60, grace=60)
    second, others = way.as_other().claim()
    assert (_bodies(mine), others, second) == ([0, 1, 2], [], '')
    done = mine[0]['id']
    assert way.delete(done, None) == 403
    assert way.delete(done, 'unknown') == 400
    assert way.delete(done, first) == 204
    assert way.delete(done, first) == 204


def test_readers_see_what_others_post(way: Way) -> None:
    way.post({'body': 1}, {'body': 2})
    assert way.list() == []
    assert _bodies(way.as_other().list()) == [1, 2]
    assert _bodies(way.list(echo=True, limit=1)) == [1]


def test_popped_is_gone(way: Way) -> None:
    way.post({'body': 1}, {'body': 2})
    assert _bodies(way.pop(1)) == [1]
    assert _bodies(way.list(echo=True)) == [2]


def test_a_bad_post_changes_nothing(way: Way) -> None:
    for bad in ({}, {'body': 1, 'ttl': 59}, {'body': 1, 'ttl': 'x'}, 1):
        assert way.post({'body': 0}, bad) == 400
    assert way.list(echo=True) == []


def test_bodies_of_an_encrypted_queue_are_read_in_the_clear(
    make_encrypting: Any, project: str
) -> None:
    server = make_encrypting
    for is_binary in (False, True):
        way = OverSocket(server, project, is_binary)
        way.queue('PUT', {'_enable_encrypt_messages': True})
        way.post({'body': {'secret': [1]}})
        assert _bodies(way.list(echo=True)) == [{'secret': [1]}]
        assert _bodies(way.claim()[1]) == [{'secret': [1]}]
        way.post({'body': 'x'})
        assert _bodies(way.pop(1)) == ['x']
        way.queue('DELETE')


@pytest.fixture
def make_encrypting(make_server: Any) -> Zaqar:
    """A server with a key."""
    key = 'k' * 32
    server: Zaqar = make_server(
        rest=f'[transport]\nmessage_encryption_key = {key}\n'
    )
    return server
