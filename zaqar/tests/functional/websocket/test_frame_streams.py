# SPDX-License-Identifier: Apache-2.0
"""Streams over WebSocket: reference/websocket, "Streams"."""

from __future__ import annotations

import datetime
import signal
import uuid
from collections.abc import Mapping
from typing import Any

import pytest
import requests

from zaqar.controllers.url_signatures import Grant, Signer
from zaqar.tests.functional.event_source import PATIENCE, EventSource
from zaqar.tests.functional.websocket.client import (
    OTHER_CLIENT,
    Closed,
    Said,
    Talk,
)
from zaqar.tests.functional.websocket.conftest import (
    KEY,
    Connect,
    MakeServer,
)
from zaqar.tests.servers.zaqar import Zaqar, with_database

VERSION = {'OpenStack-API-Version': 'messaging 2.1'}

BEGINNING = '0' * 16

MESSAGES = '/v2/queues/q/messages'


def ask(talk: Talk, action: str, **body: Any) -> Said:
    return talk.ask(action, body, VERSION)


def follow(talk: Talk, queue: str = 'q', **body: Any) -> str:
    """Begin a stream of all messages; return its id."""
    body.setdefault('echo', True)
    said = ask(talk, 'message_stream', queue_name=queue, **body)
    assert said.status == 200, said
    assert set(said.body) == {'stream_id', 'marker'}
    return str(said.body['stream_id'])


def end(talk: Talk, stream_id: Any) -> Said:
    return ask(talk, 'message_stream_end', stream_id=stream_id)


def take(talk: Talk, stream_id: str, count: int) -> list[Any]:
    """Return the bodies of so many messages, which are those of a stream."""
    frames = [talk.pushed() for _ in range(count)]
    assert {frame['stream_id'] for frame in frames} == {stream_id}
    return [frame['message']['body'] for frame in frames]


def post(server: Zaqar, talk: Talk, *bodies: Any, queue: str = 'q') -> None:
    """Post messages by another process and client."""
    answer = requests.post(
        f'{server.url}/v2/queues/{queue}/messages',
        json={'messages': [{'body': body} for body in bodies]},
        headers={
            'Client-ID': str(uuid.uuid4()),
            'X-Project-ID': talk.headers['X-Project-ID'],
        },
        timeout=PATIENCE,
    )
    assert answer.status_code == 201, answer.text


def test_a_stream_has_what_is_there_and_what_comes(
    talk: Talk, server: Zaqar
) -> None:
    body = {'a': [1, 'ä', None, 1.5]}
    talk.post('q', body, 2)
    said = ask(talk, 'message_stream', queue_name='q', echo=True)
    assert said.body == {'stream_id': '1', 'marker': BEGINNING}
    frame = talk.pushed()
    assert set(frame) == {'stream_id', 'marker', 'message'}
    assert frame['stream_id'] == '1'
    assert take(talk, '1', 1) == [2]
    page = ask(talk, 'message_list', queue_name='q', echo=True, limit=1)
    (listed,) = page.body['messages']
    assert frame['message'] | {'age': 0} == listed | {'age': 0}
    assert frame['message']['body'] == body
    assert frame['marker'] == page.body['marker']
    post(server, talk, *range(100))
    assert take(talk, '1', 100) == list(range(100))


def test_the_action_is_unknown_to_the_first_version(talk: Talk) -> None:
    for action in ('message_stream', 'message_stream_end'):
        said = talk.ask(action, queue_name='q', stream_id='1')
        assert said.is_error(400, f'{action} is not a valid action.')


def test_the_version_of_the_connection(talk: Talk) -> None:
    talk.headers.pop('OpenStack-API-Version', None)
    token = {'X-Auth-Token': 'none', **VERSION}
    assert talk.ask('authenticate', headers=token).status == 200
    assert talk.ask('message_stream', queue_name='q').status == 200
    said = talk.ask('message_stream_end', stream_id='1')
    assert (said.status, said.body) == (204, {})


def test_from_now_on_and_resumed(talk: Talk, server: Zaqar) -> None:
    talk.post('q', 'old')
    said = ask(talk, 'message_stream', queue_name='q', marker='now')
    post(server, talk, 'a')
    assert take(talk, '1', 1) == ['a']
    assert end(talk, '1').status == 204
    # The answer names a place, although no message has come.
    stream = follow(talk, marker=said.body['marker'])
    assert take(talk, stream, 1) == ['a']


def test_own_messages(talk: Talk, server: Zaqar) -> None:
    said = ask(talk, 'message_stream', queue_name='q')
    assert said.status == 200
    talk.post('q', 'own')
    post(server, talk, 'other')
    assert take(talk, '1', 1) == ['other']


def test_two_streams_of_a_queue_and_one_of_another(
    talk: Talk, server: Zaqar
) -> None:
    talk.post('q', 1, 2)
    first = follow(talk)
    assert take(talk, first, 2) == [1, 2]
    second = follow(talk)
    assert take(talk, second, 2) == [1, 2]
    other = follow(talk, 'r')
    assert len({first, second, other}) == 3
    post(server, talk, 3)
    frames = [talk.pushed() for _ in range(2)]
    assert {one['stream_id'] for one in frames} == {first, second}
    post(server, talk, 'r', queue='r')
    assert take(talk, other, 1) == ['r']
    assert end(talk, first).status == 204
    post(server, talk, 4)
    assert take(talk, second, 1) == [4]


def test_claimed_and_delayed_messages_are_included(talk: Talk) -> None:
    talk.post('q', 'claimed')
    claim = talk.ask('claim_create', queue_name='q', limit=1)
    talk.post('q', 'delayed', delay=200)
    stream = follow(talk)
    frame = talk.pushed()
    assert frame['message']['claim_id'] == claim.body['claim_id']
    assert take(talk, stream, 1) == ['delayed']


def test_streams_that_the_connection_does_not_have(
    talk: Talk, connect: Connect, server: Zaqar
) -> None:
    assert end(talk, '1').is_error(404, 'no such stream')
    other = connect()
    stream = follow(other)
    assert end(talk, stream).is_error(404)
    post(server, talk, 'a')
    assert take(other, stream, 1) == ['a']
    assert end(other, stream).status == 204
    assert end(other, stream).is_error(404)


def test_a_hundred_streams_and_no_more(talk: Talk, server: Zaqar) -> None:
    streams = [follow(talk, f'q{number}') for number in range(100)]
    said = ask(talk, 'message_stream', queue_name='q')
    assert said.is_error(403, 'at most 100 streams')
    assert end(talk, streams[50]).status == 204
    follow(talk)
    post(server, talk, 'a')
    assert take(talk, '101', 1) == ['a']


@pytest.mark.parametrize(
    ('action', 'body', 'part'),
    [
        ('message_stream', {}, 'queue_name'),
        ('message_stream', {'queue_name': 7}, 'queue_name'),
        ('message_stream', {'queue_name': 'not a name'}, ''),
        ('message_stream', {'queue_name': 'q', 'marker': 7}, 'marker'),
        ('message_stream', {'queue_name': 'q', 'marker': '\n'}, 'marker'),
        ('message_stream', {'queue_name': 'q', 'echo': 'true'}, 'echo'),
        ('message_stream', {'queue_name': 'q', 'wait': 1}, 'wait'),
        ('message_stream_end', {}, 'stream_id'),
        ('message_stream_end', {'stream_id': 1}, 'stream_id'),
        ('message_stream_end', {'stream_id': None}, 'stream_id'),
    ],
)
def test_bad_requests(
    talk: Talk, action: str, body: Mapping[str, Any], part: str
) -> None:
    assert talk.ask(action, body, VERSION).is_error(400, part)
    # Nothing has begun.
    assert follow(talk) == '1'


def test_a_stream_is_resumed_at_another_server(
    make_server: MakeServer,
) -> None:
    first = make_server()
    url = f'sqlite:///{first.folder}/zaqar.sqlite'
    second = make_server(rest=with_database(url))
    with Talk(first.socket_url, 'p') as talk:
        talk.post('q', *range(20))
        follow(talk)
        frames = [talk.pushed() for _ in range(5)]
    with Talk(second.socket_url, 'p', is_binary=True) as talk:
        stream = follow(talk, marker=frames[-1]['marker'])
        assert take(talk, stream, 15) == list(range(5, 20))
        post(first, talk, 20)
        assert take(talk, stream, 1) == [20]


def test_streams_of_both_transports(
    talk: Talk, server: Zaqar, project: str
) -> None:
    url = server.socket_url.replace('ws:', 'http:') + MESSAGES
    events = EventSource(url, {'X-Project-ID': project})
    stream = follow(talk)
    post(server, talk, *range(50))
    assert events.take(50) == take(talk, stream, 50) == list(range(50))
    late = EventSource(url, {'X-Project-ID': project})
    assert late.take(50) == list(range(50))
    for one in (events, late):
        one.close()


def test_a_slow_reader_gets_all_later(
    talk: Talk, connect: Connect, server: Zaqar
) -> None:
    slow = follow(talk)
    other = connect()
    fast = follow(other)
    # More than sockets hold.
    for number in range(30):
        post(server, talk, f'{number}:' + 'x' * 200_000)
        (body,) = take(other, fast, 1)
        assert body.startswith(f'{number}:')
    for number, body in enumerate(take(talk, slow, 30)):
        assert body.startswith(f'{number}:')
    assert end(talk, slow).status == 204


def test_a_slow_reader_of_many_short_messages(
    talk: Talk, server: Zaqar
) -> None:
    streams = [follow(talk) for _ in range(8)]
    for first in range(0, 2000, 500):
        post(server, talk, *range(first, first + 500))
    got: dict[str, list[Any]] = {one: [] for one in streams}
    for _ in range(2000 * len(streams)):
        frame = talk.pushed()
        got[frame['stream_id']].append(frame['message']['body'])
    assert set(map(tuple, got.values())) == {tuple(range(2000))}


def test_a_shutdown_closes_the_connection(make_server: MakeServer) -> None:
    server = make_server()
    with Talk(server.socket_url) as talk:
        stream = follow(talk)
        post(server, talk, 'a')
        assert take(talk, stream, 1) == ['a']
        server.process.child.send_signal(signal.SIGTERM)
        with pytest.raises(Closed) as closed:
            talk.pushed()
        assert closed.value.code == 1012
    assert server.stop() == 0


def test_encrypted_messages(make_server: MakeServer) -> None:
    key = 'message_encryption_key = a key of enough length'
    server = make_server(rest=f'[transport]\n{key}\n')
    with Talk(server.socket_url) as talk:
        encrypted = {'_enable_encrypt_messages': True}
        talk.ask('queue_create', queue_name='q', metadata=encrypted)
        stream = follow(talk)
        post(server, talk, 'secret')
        assert take(talk, stream, 1) == ['secret']


def signed(project: str, method: str = 'GET') -> dict[str, Any]:
    """Return the headers of a pre-signed frame about the messages of q."""
    expires = datetime.datetime.now(datetime.UTC) + datetime.timedelta(
        seconds=60
    )
    grant = Grant(
        [MESSAGES], [method], project, expires.strftime('%Y-%m-%dT%H:%M:%S')
    )
    return VERSION | {
        'URL-Signature': Signer(KEY).sign(grant),
        'URL-Expires': grant.expires,
        'URL-Methods': grant.methods,
        'URL-Paths': grant.paths,
        'X-Project-ID': project,
    }


def test_signed_frames(talk: Talk, project: str, server: Zaqar) -> None:
    headers = signed(project)
    said = talk.ask('message_stream', {'queue_name': 'other'}, headers)
    assert said.is_error(403)
    said = talk.ask(
        'message_stream', {'queue_name': 'q'}, signed(project, 'POST')
    )
    assert said.is_error(403)
    # Of which there is none that the signature could cover.
    said = talk.ask('message_stream_end', {'stream_id': '1'}, headers)
    assert said.is_error(403)
    said = talk.ask('message_stream', {'queue_name': 'q'}, headers)
    assert said.status == 200
    post(server, talk, 'a')
    assert take(talk, said.body['stream_id'], 1) == ['a']
    other = follow(talk, 'other')
    said = talk.ask('message_stream_end', {'stream_id': other}, headers)
    assert said.is_error(403)
    said = talk.ask('message_stream_end', {'stream_id': '1'}, headers)
    assert said.status == 204


def test_streams_and_answers_share_a_connection(
    talk: Talk, server: Zaqar
) -> None:
    stream = follow(talk)
    for number in range(20):
        talk.send('message_post', queue_name='q', messages=[{'body': number}])
    bodies, answers = [], 0
    for _ in range(40):
        frame, _ = talk.receive()
        if 'request' in frame:
            answers += 1
        else:
            assert frame['stream_id'] == stream
            bodies.append(frame['message']['body'])
    assert bodies == list(range(20))
    assert answers == 20


def test_a_subscription_beside_a_stream(talk: Talk, connect: Connect) -> None:
    assert talk.ask('subscription_create', queue_name='q').status == 201
    stream = follow(talk)
    connect(client=OTHER_CLIENT).post('q', 'a')
    frames = [talk.pushed(), talk.pushed()]
    kinds = {'stream_id' in frame for frame in frames}
    assert kinds == {True, False}
    assert end(talk, stream).status == 204
