# SPDX-License-Identifier: Apache-2.0
"""Streams of a queue's messages: reference/websocket, "Streams"."""

from __future__ import annotations

import datetime
import signal
import socket
import time
import urllib.parse
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from zaqar.controllers.url_signatures import Grant, Signer
from zaqar.tests.functional.event_source import PATIENCE, EventSource
from zaqar.tests.functional.websocket.conftest import KEY, MakeServer
from zaqar.tests.servers.zaqar import Zaqar, with_database

MESSAGES = '/v2/queues/q/messages'

MEDIA_TYPE = 'text/event-stream'


class Queue:
    """A queue of a project, and streams of it."""

    def __init__(self, server: Zaqar, project: str) -> None:
        self.server = server
        self.project = project
        self.headers = {
            'Client-ID': str(uuid.uuid4()),
            'X-Project-ID': project,
        }
        self._streams: list[EventSource] = []

    def url(self, query: str = '', server: Zaqar | None = None) -> str:
        origin = (server or self.server).socket_url.replace('ws:', 'http:')
        return f'{origin}{MESSAGES}{query}'

    def follow(
        self,
        query: str = '',
        *,
        last_id: str = '',
        server: Zaqar | None = None,
        **headers: str,
    ) -> EventSource:
        """Begin a stream, as a browser does: without a Client-ID."""
        sent = {'X-Project-ID': self.project} | {
            name.replace('_', '-'): value for name, value in headers.items()
        }
        self._streams.append(
            EventSource(self.url(query, server), sent, last_id)
        )
        return self._streams[-1]

    def call(self, method: str, path: str, document: Any = None) -> Any:
        answer = requests.request(
            method,
            f'{self.server.url}/v2/queues/q{path}',
            json=document,
            headers=self.headers,
            timeout=PATIENCE,
        )
        assert answer.ok, answer.text
        return answer.json() if answer.text else None

    def post(self, *bodies: Any, **more: Any) -> None:
        messages = [{'body': body, 'ttl': 300, **more} for body in bodies]
        self.call('POST', '/messages', {'messages': messages})

    def close(self) -> None:
        for stream in self._streams:
            stream.close()


@pytest.fixture
def queue(server: Zaqar, project: str) -> Iterator[Queue]:
    made = Queue(server, project)
    yield made
    made.close()


def test_a_stream_has_what_is_there_and_what_comes(queue: Queue) -> None:
    queue.post(1, {'two': 2})
    stream = queue.follow()
    assert stream.status == 200
    assert stream.response.headers['Content-Type'] == MEDIA_TYPE
    assert stream.response.headers['Cache-Control'] == 'no-store'
    assert stream.response.headers['X-Accel-Buffering'] == 'no'
    assert stream.take(2) == [1, {'two': 2}]
    # By another process.
    queue.post(*range(3, 100))
    assert stream.take(97) == list(range(3, 100))
    assert stream.retry == '2000'


def test_messages_are_shown_as_in_lists(queue: Queue) -> None:
    # Line breaks would end the event.
    text = b'{"messages": [{"ttl": 300, "body": {"a":\r\n\n  "x\\n"}}]}'
    answer = requests.post(
        f'{queue.server.url}{MESSAGES}',
        data=text,
        headers=queue.headers,
        timeout=PATIENCE,
    )
    assert answer.status_code == 201
    event = next(queue.follow())
    queue.headers['OpenStack-API-Version'] = 'messaging 2.1'
    listed = queue.call('GET', '/messages?echo=true')['messages']
    assert [event.message | {'age': 0}] == [listed[0] | {'age': 0}]
    assert event.message['body'] == {'a': 'x\n'}


def test_a_queue_that_is_created_later(queue: Queue) -> None:
    stream = queue.follow()
    queue.post('first')
    assert stream.take(1) == ['first']


def test_claimed_and_delayed_messages_are_included(queue: Queue) -> None:
    queue.post('claimed')
    queue.call('POST', '/claims', {'ttl': 300, 'grace': 60})
    queue.post('delayed', delay=200)
    queue.post('free')
    stream = queue.follow()
    events = [next(stream).message for _ in range(3)]
    assert [one['body'] for one in events] == ['claimed', 'delayed', 'free']
    assert 'claim_id=' in events[0]['href']
    queue.post('later', delay=200)
    assert stream.take(1) == ['later']


def test_a_stream_is_resumed_at_another_server(
    make_server: MakeServer,
) -> None:
    first = make_server()
    url = f'sqlite:///{first.folder}/zaqar.sqlite'
    second = make_server(rest=with_database(url))
    queue = Queue(first, 'p')
    queue.post(*range(20))
    stream = queue.follow('?marker=0000000000000000')
    assert stream.take(5) == [0, 1, 2, 3, 4]
    stream.close()
    queue.post(20)
    # The query is that of the first request, as browsers repeat it.
    resumed = queue.follow(
        '?marker=0000000000000000', last_id=stream.last_id, server=second
    )
    assert resumed.take(16) == list(range(5, 21))
    queue.post(21)
    assert resumed.take(1) == [21]
    queue.close()


def test_from_now_on(queue: Queue) -> None:
    queue.post('old')
    stream = queue.follow('?marker=now')
    queue.post('new')
    assert stream.take(1) == ['new']


def test_from_now_on_resumes_although_no_message_has_come(
    queue: Queue,
) -> None:
    queue.post('old')
    stream = queue.follow('?marker=now')
    # The first event has an id, and no data.
    parts = stream.response.iter_content(None)
    fields = next(parts).decode().split('\n')
    (last_id,) = [one[4:] for one in fields if one.startswith('id: ')]
    stream.close()
    queue.post('meanwhile')
    resumed = queue.follow('?marker=now', last_id=last_id)
    assert resumed.take(1) == ['meanwhile']


def test_from_the_id_of_a_message_that_is_gone(queue: Queue) -> None:
    queue.post('a', 'b')
    listed = queue.call('GET', '/messages?echo=true')['messages']
    queue.call('DELETE', f'/messages?ids={listed[1]["id"]}')
    stream = queue.follow(f'?marker={listed[1]["id"]}')
    queue.post('c')
    assert stream.take(1) == ['c']


@pytest.mark.parametrize(
    ('query', 'expected'),
    [('', ['other']), ('?echo=false', ['other']), ('?echo=true', ['own'])],
)
def test_own_messages(queue: Queue, query: str, expected: list[str]) -> None:
    stream = queue.follow(query, Client_ID=queue.headers['Client-ID'])
    queue.post('own')
    queue.headers['Client-ID'] = str(uuid.uuid4())
    queue.post('other')
    assert stream.take(1) == expected


@pytest.mark.parametrize(
    ('query', 'headers', 'text'),
    [
        ('', {'Client_ID': 'x'}, 'UUID'),
        ('', {'X_Project_ID': ''}, 'X-PROJECT-ID'),
        ('?echo=perhaps', {}, 'echo'),
        ('?wait=5', {}, 'wait'),
        ('?marker=%0Aid:', {}, 'marker'),
    ],
)
def test_bad_requests(
    queue: Queue, query: str, headers: dict[str, str], text: str
) -> None:
    stream = queue.follow(query, **headers)
    assert stream.status == 400
    assert text in stream.response.text


def test_lists_are_what_they_were(queue: Queue) -> None:
    queue.post(1)
    for accept in ('application/json', f'{MEDIA_TYPE}, */*', '*/*'):
        headers = queue.headers | {'Accept': accept}
        answer = requests.get(
            queue.url('?echo=true'), headers=headers, timeout=PATIENCE
        )
        assert len(answer.json()['messages']) == 1


def test_the_http_server_names_the_one_that_has_streams(
    queue: Queue,
) -> None:
    headers = queue.headers | {'Accept': MEDIA_TYPE}
    url = queue.server.url
    answer = requests.get(url + MESSAGES, headers=headers, timeout=PATIENCE)
    assert answer.status_code == 406
    assert 'messaging-websocket' in answer.json()['description']
    assert answer.headers['Vary'] == 'Accept'
    # What has no stream is refused as ever.
    for path in ('/v2/queues', '/v2/queues/q/stats'):
        answer = requests.get(url + path, headers=headers, timeout=PATIENCE)
        assert answer.status_code == 406
        assert 'application/json only' in answer.json()['description']


def test_a_slow_reader_gets_all_later(queue: Queue) -> None:
    path = urllib.parse.urlsplit(queue.url())
    with socket.create_connection(
        (str(path.hostname), int(path.port or 0)), PATIENCE
    ) as slow:
        lines = [
            f'GET {MESSAGES} HTTP/1.0',
            f'X-Project-ID: {queue.project}',
            f'Accept: {MEDIA_TYPE}',
        ]
        slow.sendall('\r\n'.join([*lines, '', '']).encode())
        # More than sockets hold.
        for number in range(100):
            queue.post(f'{number}:' + 'x' * 200_000)
        # Another one is not held up.
        for number, body in enumerate(queue.follow().take(100)):
            assert body.startswith(f'{number}:')
        expected = b''.join(b'"%d:' % number for number in range(100))
        received, seen = b'', b''
        while len(seen) < len(expected):
            received += slow.recv(1 << 20)
            *whole, received = received.split(b'x' * 200_000)
            seen += b''.join(part[part.rindex(b'"') :] for part in whole)
        assert seen == expected


def test_streams_end_when_the_server_stops(make_server: MakeServer) -> None:
    server = make_server()
    queue = Queue(server, 'p')
    queue.post(1)
    streams = [queue.follow() for _ in range(3)]
    assert [one.take(1) for one in streams] == [[1]] * 3
    began = time.monotonic()
    server.process.child.send_signal(signal.SIGTERM)
    # Properly, with the last chunk.
    assert [list(one) for one in streams] == [[]] * 3
    assert time.monotonic() - began < PATIENCE / 2
    assert server.stop() == 0


def _grant(queue: Queue, seconds: int, method: str = 'GET') -> dict[str, str]:
    expires = datetime.datetime.now(datetime.UTC) + datetime.timedelta(
        seconds=seconds
    )
    grant = Grant(
        [MESSAGES],
        [method],
        queue.project,
        expires.strftime('%Y-%m-%dT%H:%M:%S'),
    )
    return {
        'url_signature': Signer(KEY).sign(grant),
        'url_expires': grant.expires,
        'url_methods': method,
        'url_paths': MESSAGES,
        'project_id': queue.project,
    }


def _signed(queue: Queue, query: dict[str, str]) -> EventSource:
    # No header but what a browser sends.
    return EventSource(queue.url(f'?{urllib.parse.urlencode(query)}'))


@pytest.mark.proves('signatures in queries')
def test_a_presigned_url_in_the_query(queue: Queue) -> None:
    queue.post(1)
    grant = _grant(queue, 60)
    stream = _signed(queue, grant)
    assert stream.take(1) == [1]
    stream.close()
    for name in grant:
        spoilt = grant | {name: grant[name] + '0'}
        assert _signed(queue, spoilt).status == 404, name
    assert _signed(queue, _grant(queue, 60, 'POST')).status == 404
    assert _signed(queue, _grant(queue, -1)).status == 404


@pytest.mark.proves('signatures in queries')
def test_signatures_in_the_query_are_for_streams_alone(queue: Queue) -> None:
    query = urllib.parse.urlencode(_grant(queue, 60))
    answer = requests.get(
        queue.url(f'?{query}'),
        headers={'Client-ID': str(uuid.uuid4())},
        timeout=PATIENCE,
    )
    assert answer.status_code == 400
    assert 'X-PROJECT-ID' in answer.text


@pytest.mark.proves('signatures in queries')
def test_signatures_are_not_logged(make_server: MakeServer) -> None:
    server = make_server(
        general='debug = true\n', rest=f'[signed_url]\nsecret_key = {KEY}\n'
    )
    queue = Queue(server, 'p')
    queue.post(1)
    grant = _grant(queue, 60)
    stream = _signed(queue, grant | {'marker': 'now'})
    assert stream.status == 200
    # Refused, by the other server.
    url = f'{server.url}{MESSAGES}?{urllib.parse.urlencode(grant)}'
    assert EventSource(url).status == 406
    # A list, in which they count for nothing.
    caller = {'X-Project-ID': 'p', 'Client-ID': str(uuid.uuid4())}
    answer = requests.get(url, headers=caller, timeout=PATIENCE)
    assert len(answer.json()['messages']) == 1
    stream.close()
    assert server.stop() == 0
    log = server.log.read_text()
    assert 'message_stream' in log and 'marker' in log
    assert 'message_list' in log
    assert grant['url_signature'] not in log


def test_pages_of_other_origins(make_server: MakeServer) -> None:
    server = make_server(rest='[cors]\nallowed_origin = https://a.example\n')
    queue = Queue(server, 'p')
    queue.post(1)
    stream = queue.follow(Origin='https://a.example')
    allowed = stream.response.headers['Access-Control-Allow-Origin']
    assert allowed == 'https://a.example'
    assert stream.take(1) == [1]
    queue.close()


def test_encrypted_messages(make_server: MakeServer) -> None:
    key = 'message_encryption_key = a key of enough length'
    server = make_server(rest=f'[transport]\n{key}\n')
    queue = Queue(server, 'p')
    document = {'_enable_encrypt_messages': True}
    queue.call('PUT', '', document)
    queue.post('secret')
    stream = queue.follow()
    queue.post('another')
    assert stream.take(2) == ['secret', 'another']
    queue.close()
