# SPDX-License-Identifier: Apache-2.0
"""Subscriptions of connections: reference/websocket, "Pushes"."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import socket
import sqlite3
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests

from zaqar.socket_pushes import push_frames, signed_push_channel
from zaqar.socket_pushes.push_client import PushClient
from zaqar.socket_pushes.signed_push_channel import LENGTH, SIGNATURE, Key
from zaqar.tests.functional.websocket.client import Talk
from zaqar.tests.functional.websocket.conftest import (
    KEY,
    SIGNED,
    Connect,
    MakeServer,
)
from zaqar.tests.servers.zaqar import Zaqar
from zaqar.transport.websocket.connection_state_machine import Pushed
from zaqar.transport.websocket.notifier_endpoint import STATUS

SENT, GONE, FULL = (
    STATUS[one] for one in (Pushed.SENT, Pushed.GONE, Pushed.FULL)
)


def _post(server: Zaqar, talk: Talk, *bodies: Any, queue: str = 'q') -> None:
    """Post over HTTP."""
    answer = requests.post(
        f'{server.url}/v2/queues/{queue}/messages',
        json={'messages': [{'body': body, 'ttl': 300} for body in bodies]},
        headers=talk.headers,
        timeout=30,
    )
    assert answer.status_code == 201, answer.text


def _subscriptions(server: Zaqar, talk: Talk, queue: str = 'q') -> list[Any]:
    answer = requests.get(
        f'{server.url}/v2/queues/{queue}/subscriptions',
        headers=talk.headers,
        timeout=30,
    )
    subscriptions: list[Any] = answer.json()['subscriptions']
    return subscriptions


def _until(condition: Callable[[], bool], patience: float = 60.0) -> bool:
    end = time.monotonic() + patience
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.05)
    return False


def _push(body: Any, queue: str = 'q', **more: Any) -> dict[str, Any]:
    return {
        'body': body,
        'ttl': 300,
        'queue_name': queue,
        'Message_Type': 'Notification',
        **more,
    }


@pytest.mark.parametrize('subscriber', [{}, {'subscriber': ''}])
def test_what_is_posted_over_http_is_pushed(
    talk: Talk, server: Zaqar, subscriber: dict[str, str]
) -> None:
    answer = talk.ask('subscription_create', {'queue_name': 'q', **subscriber})
    assert answer.status == 201
    _post(server, talk, {'é': [1, None]}, 'two')
    assert talk.pushed() == _push({'é': [1, None]})
    assert talk.pushed() == _push('two')
    # It stays in the queue as well.
    assert talk.bodies('q') == [{'é': [1, None]}, 'two']


def test_a_lone_surrogate_keeps_nothing_from_being_pushed(
    talk: Talk, server: Zaqar
) -> None:
    talk.ask('subscription_create', queue_name='q')
    lone = 'a \ud800 b'
    _post(server, talk, 'before', lone, 'after')
    assert talk.pushed() == _push('before')
    # MessagePack has no text for it.
    assert talk.pushed() == _push('a ? b' if talk.is_binary else lone)
    assert talk.pushed() == _push('after')


def test_ones_own_messages_are_pushed_too(talk: Talk) -> None:
    talk.ask('subscription_create', queue_name='q')
    talk.send('message_post', queue_name='q', messages=[{'body': 1}])
    frames = [talk.receive()[0], talk.receive()[0]]
    pushes = [frame for frame in frames if 'request' not in frame]
    assert [push['body'] for push in pushes] == [1]


def test_a_push_tells_the_delay_of_a_delayed_queue(
    talk: Talk, server: Zaqar
) -> None:
    metadata = {'_default_message_delay': 7}
    talk.ask('queue_create', queue_name='q', metadata=metadata)
    talk.ask('subscription_create', queue_name='q')
    _post(server, talk, 1)
    assert talk.pushed() == _push(1, delay=7)


def test_a_topic_can_be_subscribed(talk: Talk) -> None:
    talk.ask('topic_subscription_create', topic_name='t')
    talk.send('topic_message_post', topic_name='t', messages=[{'body': 1}])
    frames = [talk.receive()[0], talk.receive()[0]]
    assert 1 in [frame['body'] for frame in frames if 'request' not in frame]


def test_pushes_have_the_type_of_the_last_subscription(
    connect: Connect, server: Zaqar
) -> None:
    talk = connect()
    talk.ask('subscription_create', queue_name='a')
    talk.is_binary = True
    talk.ask('subscription_create', queue_name='b')
    _post(server, talk, 1, queue='a')
    assert talk.pushed() == _push(1, 'a')


def test_a_subscription_is_confirmed_one_per_queue_and_shown(
    talk: Talk, server: Zaqar
) -> None:
    answer = talk.ask('subscription_create', queue_name='q', ttl=90)
    again = talk.ask('subscription_create', queue_name='q')
    assert (again.status, type(again.body)) == (409, str)
    assert talk.ask('subscription_create', queue_name='r').status == 201
    (subscription,) = _subscriptions(server, talk)
    assert subscription['id'] == answer.body['subscription_id']
    assert subscription['confirmed'] is True
    assert subscription['ttl'] == 90
    assert re.fullmatch(
        r'websocket://[\w.-]+/[0-9a-f-]{36}', subscription['subscriber']
    )
    short = talk.ask('subscription_create', queue_name='s', ttl=59)
    assert short.is_error(400)


def test_it_needs_no_confirmation_where_others_do(
    make_server: MakeServer, connect: Connect
) -> None:
    server = make_server(
        rest=SIGNED + '[notification]\nrequire_confirmation = true\n'
    )
    talk = connect(url=server.socket_url)
    talk.ask('subscription_create', queue_name='q')
    _post(server, talk, 1)
    assert talk.pushed() == _push(1)


@pytest.mark.parametrize('is_clean', [True, False])
def test_subscriptions_go_with_the_connection(
    connect: Connect, server: Zaqar, is_clean: bool
) -> None:
    talk = connect()
    for queue in ('q', 'r'):
        talk.ask('subscription_create', queue_name=queue)
    answer = talk.ask(
        'subscription_create',
        queue_name='q',
        subscriber='http://example.com',
    )
    if is_clean:
        talk.close()
    else:
        talk.cut()
    assert _until(lambda: not _subscriptions(server, talk, 'r'))
    assert _until(lambda: len(_subscriptions(server, talk)) == 1)
    (subscription,) = _subscriptions(server, talk)
    assert subscription['id'] == answer.body['subscription_id']


def test_another_server_pushes_what_this_one_is_told(
    make_server: MakeServer, connect: Connect
) -> None:
    first = make_server(rest=SIGNED)
    store = f'uri = sqlite:///{first.folder}/zaqar.sqlite\n'
    second = make_server(
        rest=f'{SIGNED}[drivers:management_store:sqlalchemy]\n{store}'
    )
    here, there = (
        connect(url=one.socket_url, is_binary=one is second)
        for one in (first, second)
    )
    here.ask('subscription_create', queue_name='q')
    there.ask('subscription_create', queue_name='q')
    there.send(
        'message_post', queue_name='q', messages=[{'body': 1, 'ttl': 300}]
    )
    assert here.pushed() == _push(1)
    frames = [there.receive()[0], there.receive()[0]]
    assert _push(1) in frames


def test_subscriptions_of_a_dead_server_are_removed(
    make_server: MakeServer, connect: Connect
) -> None:
    server = make_server(rest=SIGNED)
    talk = connect(url=server.socket_url)
    talk.ask('subscription_create', queue_name='q')
    _kill_websocket_server(server)
    with _database(server) as database:
        # Thirty seconds later.
        database.execute("DELETE FROM record WHERE kind = 'node'")
    _post(server, talk, 1)
    assert _until(lambda: not _subscriptions(server, talk))


def _kill_websocket_server(server: Zaqar) -> None:
    pids = re.findall(
        r'Started WebSocket server as process (\d+)', server.log.read_text()
    )
    os.kill(int(pids[-1]), signal.SIGKILL)


@contextlib.contextmanager
def _database(server: Zaqar) -> Any:
    path = server.folder / 'zaqar.sqlite'
    connection = sqlite3.connect(path, timeout=30)
    with contextlib.closing(connection) as database, database:
        yield database


# The internal endpoint.


def _lease(server: Zaqar) -> dict[str, Any]:
    with _database(server) as database:
        (row,) = database.execute(
            "SELECT data FROM record WHERE kind = 'node'"
        )
    data: dict[str, Any] = json.loads(row[0])
    return data


def _address(server: Zaqar) -> tuple[str, int]:
    parts = urlsplit(_lease(server)['uri'])
    return str(parts.hostname), int(parts.port or 0)


def _hand_over(
    server: Zaqar, connections: list[str], *texts: bytes, key: str = KEY
) -> list[int]:
    """Hand messages over as a notifier does; return the statuses."""

    async def once() -> bytes:
        client = PushClient(_lease(server)['uri'], Key(key))
        try:
            return await client.hand_over(connections, texts)
        finally:
            client.close()

    return list(asyncio.run(once()))


def _own(talk: Talk, queue: str = 'q') -> str:
    """Subscribe, and return the id of the connection."""
    talk.ask('subscription_create', queue_name=queue)
    (subscription,) = talk.ask('subscription_list', queue_name=queue).body[
        'subscriptions'
    ]
    return str(subscription['subscriber']).rpartition('/')[2]


def test_a_hand_over_is_pushed_in_the_form_of_each(
    connect: Connect, server: Zaqar
) -> None:
    talks = [connect(is_binary=is_binary) for is_binary in (False, True, True)]
    connections = [_own(talk, f'q{n}') for n, talk in enumerate(talks)]
    texts = (b'{"a":1}', b'{"b":"\xc3\xa9"}')
    assert _hand_over(server, connections, *texts) == [SENT] * 3
    for talk in talks:
        assert [talk.pushed(), talk.pushed()] == [{'a': 1}, {'b': 'é'}]


@pytest.mark.proves('pushed once')
def test_what_is_sent_again_is_not_pushed_again(
    connect: Connect, server: Zaqar
) -> None:
    talk = connect()
    connection = _own(talk)
    data = push_frames.encode([connection], [b'{"a":1}'])

    def opened() -> tuple[socket.socket, bytes]:
        peer = socket.create_connection(_address(server), 30)
        return peer, peer.recv(
            signed_push_channel.CHALLENGE, socket.MSG_WAITALL
        )

    peer, challenge = opened()
    reply, channel = Key(KEY).reply(challenge)
    frame = channel.sealed(data)
    answer = LENGTH + 1 + SIGNATURE
    with peer:
        peer.sendall(reply + frame + frame)
        assert len(peer.recv(answer, socket.MSG_WAITALL)) == answer
        # The second one is not the second frame.
        assert peer.recv(1) == b''
    again, _ = opened()
    with again:
        again.sendall(reply + frame)
        assert again.recv(1) == b''
    assert _hand_over(server, [connection], b'{"b":2}') == [SENT]
    assert [talk.pushed(), talk.pushed()] == [{'a': 1}, {'b': 2}]


def test_nothing_else_is(connect: Connect, server: Zaqar) -> None:
    talk = connect()
    with pytest.raises(OSError):
        _hand_over(server, [_own(talk)], b'{}', key='another secret')
    with socket.create_connection(_address(server), 30) as stranger:
        # As notifiers of earlier releases do.
        stranger.sendall(b'POST /x HTTP/1.1\r\nHost: x\r\n\r\n' + bytes(99))
        stranger.recv(signed_push_channel.CHALLENGE, socket.MSG_WAITALL)
        assert stranger.recv(1) == b''
    assert talk.ask('queue_get', queue_name='q').status == 200


def test_nobody_is_under_another_id(connect: Connect, server: Zaqar) -> None:
    unknown = '00000000-0000-0000-0000-000000000000'
    talk, other = connect(), connect()
    connection = _own(talk)
    both = [unknown, _own(other, 'r')]
    assert _hand_over(server, both, b'{}') == [GONE, SENT]
    talk.cut()
    assert _until(lambda: _hand_over(server, [connection], b'{}') == [GONE])


def test_who_takes_nothing_is_told_later(
    connect: Connect, server: Zaqar
) -> None:
    talk, other = connect(), connect()
    connections = [_own(talk), _own(other, 'r')]
    body = json.dumps('x' * 200_000).encode()
    statuses = set()

    def is_full() -> bool:
        statuses.add(tuple(_hand_over(server, connections, body)))
        assert other.pushed() == 'x' * 200_000
        return (FULL, SENT) in statuses

    assert _until(is_full)
    assert statuses == {(SENT, SENT), (FULL, SENT)}
    assert talk.pushed() == 'x' * 200_000


def test_servers_without_a_secret_have_one_of_their_own(
    make_server: MakeServer, connect: Connect
) -> None:
    server = make_server()
    talk = connect(url=server.socket_url)
    talk.ask('subscription_create', queue_name='q')
    assert len(_lease(server)['secret']) == 64
    _post(server, talk, 1)
    assert talk.pushed() == _push(1)


def test_a_lease_is_given_back_at_the_end(make_server: MakeServer) -> None:
    server = make_server()
    Talk(server.socket_url).close()
    assert _lease(server)['uri'].startswith('tcp://127.0.0.1:')
    assert server.stop() == 0
    with _database(server) as database:
        rows = database.execute("SELECT name FROM record WHERE kind = 'node'")
        assert list(rows) == []
