# SPDX-License-Identifier: Apache-2.0
"""Answers to bad input: reference/websocket, "Frames"."""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

import msgspec
import pytest
import websocket
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zaqar.tests.functional.websocket.client import (
    BINARY,
    PATIENCE,
    TEXT,
    Closed,
    Talk,
)
from zaqar.tests.functional.websocket.conftest import Connect
from zaqar.tests.servers.zaqar import Zaqar

pack = msgspec.msgpack.encode

NOTHING = {'action': None, 'body': {}, 'headers': {}, 'api': 'v2'}

#: Frames that cannot be read, by their type.
UNREADABLE = [
    (TEXT, b''),
    (TEXT, b'x'),
    (TEXT, b'{'),
    (TEXT, b'{} {}'),
    (TEXT, b'\xef\xbb\xbf{}'),
    (TEXT, b'[' * 100_000),
    (TEXT, b'"\\ud800"'),
    (TEXT, b'[]'),
    (TEXT, b'null'),
    (TEXT, b'1'),
    (BINARY, b''),
    (BINARY, b'\xc1'),
    (BINARY, pack({}) + b'\0'),
    (BINARY, b'\x91' * 100_000),
    (BINARY, pack([])),
    (BINARY, pack('x')),
    (BINARY, b'\x81\xa1\xff\x01'),
]

HEADERS = {'Client-ID': 'x' * 36, 'X-Project-ID': 'p'}

#: Frames that can be read and mean nothing.
SENSELESS: list[Any] = [
    {},
    {'headers': HEADERS},
    {'action': None, 'headers': HEADERS},
    {'action': 'nonsense', 'headers': HEADERS},
    {'action': 1, 'headers': HEADERS},
    {'action': ['queue_list'], 'headers': HEADERS},
    {'action': {'a': 1}, 'headers': HEADERS},
    {'action': 'queue_list'},
    {'action': 'queue_list', 'headers': None},
    {'action': 'queue_list', 'headers': []},
    {'action': 'queue_list', 'headers': 'x'},
    {'action': 'queue_list', 'headers': {}},
    {'action': 'queue_list', 'headers': HEADERS, 'body': None},
    {'action': 'queue_list', 'headers': HEADERS, 'body': []},
    {'action': 'queue_list', 'headers': HEADERS, 'body': 'x'},
    {'action': 'queue_list', 'headers': HEADERS, 'body': {'limit': '1'}},
    {'action': 'queue_list', 'headers': HEADERS, 'body': {'limit': None}},
    {'action': 'queue_list', 'headers': HEADERS, 'body': {'limit': 2**80}},
    {'action': 'queue_get', 'headers': HEADERS},
    {'action': 'queue_get', 'headers': HEADERS, 'body': {}},
    {'action': 'queue_get', 'headers': HEADERS, 'body': {'queue_name': 1}},
    *(
        {'action': 'queue_list', 'headers': {**HEADERS, name: 1}}
        for name in (
            'Client-ID',
            'X-Project-ID',
            'X-Auth-Token',
            'User-Agent',
            'Date',
            'Accept',
        )
    ),
]

MESSAGES: list[Any] = [
    None,
    'x',
    [],
    {},
    [1],
    [None],
    [[]],
    [{}],
    [{'ttl': 60}],
    [{'body': 1, 'ttl': 'x'}],
    [{'body': 1, 'ttl': 1}],
]


def _is_alive(talk: Talk) -> bool:
    return talk.ask('queue_list').status == 200


@pytest.mark.parametrize(('opcode', 'data'), UNREADABLE)
def test_what_cannot_be_read_is_said_so(
    connect: Connect, opcode: int, data: bytes
) -> None:
    talk = connect()
    talk.send_raw(data, opcode)
    said = talk.said()
    assert said.is_error(400)
    assert 'exception' not in said.body
    assert said.request == NOTHING
    assert said.is_binary is (opcode == BINARY)
    assert _is_alive(talk)


@pytest.mark.parametrize('document', SENSELESS, ids=json.dumps)
def test_what_means_nothing_is_said_so(talk: Talk, document: Any) -> None:
    if talk.is_binary and '"limit": 1208' in json.dumps(document):
        pytest.skip('MessagePack has no such number')
    talk.send_document(document)
    said = talk.said()
    assert said.is_error(400)
    assert 'exception' not in said.body
    assert _is_alive(talk)


@pytest.mark.parametrize('messages', MESSAGES, ids=json.dumps)
def test_messages_that_are_none_are_refused(talk: Talk, messages: Any) -> None:
    said = talk.ask('message_post', queue_name='q', messages=messages)
    assert said.is_error(400)
    assert talk.ask('queue_list').body == {'queues': []}


@pytest.mark.parametrize(
    'body',
    [b'x', {b'a': 1}, {1: 2}, float('nan'), msgspec.msgpack.Ext(1, b'')],
)
def test_a_body_is_what_json_could_say(connect: Connect, body: Any) -> None:
    talk = connect(is_binary=True)
    said = talk.ask('message_post', queue_name='q', messages=[{'body': body}])
    assert said.is_error(400)
    assert _is_alive(talk)


def test_nesting_in_a_body_ends(talk: Talk) -> None:
    body: Any = 1
    for _ in range(200):
        body = [body]
    said = talk.ask('message_post', queue_name='q', messages=[{'body': body}])
    assert said.is_error(400)


def test_keys_that_are_no_strings_are_not_heard(connect: Connect) -> None:
    talk = connect(is_binary=True)
    talk.send_document({b'action': 'queue_list', 'headers': talk.headers})
    assert talk.said().is_error(400)
    talk.send_document(
        {'action': 'queue_list', 'headers': talk.headers, b'body': 1, 5: 6}
    )
    assert talk.said().status == 200


def test_a_lone_surrogate_comes_back_as_it_was_sent(connect: Connect) -> None:
    talk = connect()
    head = json.dumps(talk.headers)
    talk.send_raw(
        b'{"action":"message_post","headers":%b,"body":{"queue_name":"q",'
        b'"messages":[{"body":"\\ud800x"}]}}' % head.encode()
    )
    assert talk.said().status == 201
    assert talk.bodies('q') == ['\ud800x']
    talk.is_binary = True
    assert talk.bodies('q') == ['?x']


# Faults of the protocol itself, by bytes.


def _raw(server: Zaqar) -> socket.socket:
    connection = socket.create_connection(
        ('127.0.0.1', server.socket_port), PATIENCE
    )
    connection.sendall(
        b'GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n'
        b'Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n'
        b'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n'
    )
    assert b'101' in connection.recv(4096)
    return connection


def _close_code(connection: socket.socket) -> int:
    """Return the code of the close frame; answer it and see the end."""
    data = b''
    while len(data) < 4:
        part = connection.recv(4096)
        assert part, data
        data += part
    assert data[0] == 0x88
    connection.sendall(b'\x88\x82\0\0\0\0' + data[2:4])
    try:
        while connection.recv(4096):
            pass
    except ConnectionResetError:
        pass
    return int(struct.unpack('!H', data[2:4])[0])


MASK = b'\0\0\0\0'

BYTES = [
    (b'\x81\x02{}', 1002),
    (b'\xc1\x82' + MASK + b'{}', 1002),
    (b'\x83\x80' + MASK, 1002),
    (b'\x8f\x80' + MASK, 1002),
    (b'\x80\x80' + MASK, 1002),
    (b'\x09\x80' + MASK, 1002),
    (b'\x89\xfe\x00\x7e' + MASK, 1002),
    (b'\x81\xfe\x00\x01' + MASK + b'x', 1002),
    (b'\x81\x82' + MASK + b'\xff\xfe', 1007),
    (b'\x81\x81' + MASK + b'\xc3', 1007),
    (b'\x81\xff' + (1 << 32).to_bytes(8, 'big') + MASK + b'x', 1009),
    (b'\x82\xff' + (1 << 62).to_bytes(8, 'big') + MASK + b'x', 1009),
]


@pytest.mark.parametrize(('data', 'code'), BYTES)
def test_a_fault_of_the_protocol_has_its_close_code(
    server: Zaqar, data: bytes, code: int
) -> None:
    with _raw(server) as connection:
        connection.sendall(data)
        assert _close_code(connection) == code


def test_a_message_over_the_limit_ends_the_connection(
    connect: Connect,
) -> None:
    talk = connect()
    # Twice the largest post and 64 KiB; in two fragments.
    half = b'x' * (262_144 + 40_000)
    talk.socket.send_frame(_fragment(TEXT, half, 0))
    talk.socket.send_frame(_fragment(0, half, 1))
    with pytest.raises(Closed) as closed:
        talk.receive()
    assert closed.value.code == 1009


def _fragment(opcode: int, data: bytes, fin: int) -> Any:
    return websocket.ABNF(fin, 0, 0, 0, opcode, 1, data)


def test_a_message_may_come_in_fragments(connect: Connect) -> None:
    talk = connect()
    data = json.dumps({'action': 'queue_list', 'headers': talk.headers})
    parts = [data[at : at + 9].encode() for at in range(0, len(data), 9)]
    for number, part in enumerate(parts):
        talk.socket.send_frame(
            _fragment(
                0 if number else TEXT, part, int(number == len(parts) - 1)
            )
        )
    assert talk.said().status == 200


def test_a_ping_is_answered_with_what_it_holds(server: Zaqar) -> None:
    with _raw(server) as connection:
        connection.sendall(b'\x89\x84' + MASK + b'abcd')
        assert connection.recv(100) == b'\x8a\x04abcd'


def test_a_close_is_answered(server: Zaqar) -> None:
    with _raw(server) as connection:
        connection.sendall(b'\x88\x82' + MASK + b'\x03\xe8')
        assert connection.recv(100) == b'\x88\x02\x03\xe8'
        assert connection.recv(100) == b''


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
ACTIONS = st.sampled_from(
    [
        'authenticate',
        'claim_create',
        'message_delete_many',
        'message_get_many',
        'message_list',
        'message_post',
        'queue_create',
        'queue_update',
        'queue_share',
        'subscription_create',
    ]
)
NAMES = st.sampled_from(
    [
        'queue_name',
        'messages',
        'message_ids',
        'claim_id',
        'limit',
        'marker',
        'ttl',
        'metadata',
        'changes',
        'paths',
        'subscriber',
        'options',
        'pop',
    ]
)


@given(
    action=ACTIONS | JSON_VALUES,
    body=st.dictionaries(NAMES, JSON_VALUES | st.just('q'), max_size=4),
    more=st.dictionaries(
        st.sampled_from(['headers', 'body']), JSON_VALUES, max_size=1
    ),
)
@settings(
    max_examples=150,
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
    ],
)
def test_any_frame_gets_an_answer_below_500(
    talk: Talk, action: Any, body: Any, more: Any
) -> None:
    document = {
        'action': action,
        'headers': talk.headers,
        'body': {'queue_name': 'q', **body},
        **more,
    }
    try:
        talk.send_document(document)
    except (OverflowError, UnicodeEncodeError):
        return  # MessagePack cannot say it.
    said = talk.said()
    assert 200 <= said.status < 500, (document, said)


@given(data=st.binary(max_size=200))
@settings(
    suppress_health_check=[
        HealthCheck.function_scoped_fixture,
        HealthCheck.too_slow,
    ],
)
def test_any_bytes_of_message_pack_get_an_answer(
    talk: Talk, data: bytes
) -> None:
    talk.send_raw(data, BINARY)
    assert talk.said().status < 500
