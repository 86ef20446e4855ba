# SPDX-License-Identifier: Apache-2.0
"""Frames between notifiers and WebSocket servers, and who may send them."""

from __future__ import annotations

import msgspec
import pytest
from oslo_config import cfg

from zaqar.notification.settings import socket_secrets
from zaqar.socket_pushes import push_frames, signed_push_channel
from zaqar.socket_pushes.push_frames import MAX_CONNECTIONS
from zaqar.socket_pushes.signed_push_channel import (
    LENGTH,
    MAGIC,
    Channel,
    Key,
    Refused,
)

KEY = Key('a secret that is long enough')

MOST = 100_000


def _channels(key: Key = KEY) -> tuple[Channel, Channel]:
    """Return both ends of a connection, the notifier's first."""
    challenge = signed_push_channel.challenge(MOST)
    reply, notifier = key.reply(challenge)
    return notifier, KEY.accept(challenge, reply)


def _frame(channel: Channel, data: bytes) -> bytes:
    return channel.sealed(data)[LENGTH:]


def test_frames_are_received_as_they_were_sent() -> None:
    notifier, server = _channels()
    for data in (b'', b'first', b'second'):
        sent = notifier.sealed(data)
        assert int.from_bytes(sent[:LENGTH], 'big') == len(data)
        assert server.opened(sent[LENGTH:]) == data
        assert notifier.opened(_frame(server, data)) == data
    assert notifier.most == server.most == MOST


def test_another_secret_is_refused() -> None:
    with pytest.raises(Refused):
        _channels(Key('another secret altogether'))


def test_a_server_accepts_former_and_future_secrets() -> None:
    own, other = 'a secret that is long enough', 'another secret altogether'
    for first, second in ((own, other), (other, own)):
        challenge = signed_push_channel.challenge(MOST)
        reply, notifier = Key(first).reply(challenge)
        server = Key(second, first).accept(challenge, reply)
        assert server.opened(_frame(notifier, b'data')) == b'data'
        assert notifier.opened(_frame(server, b'')) == b''
        with pytest.raises(Refused):
            Key(second).accept(challenge, reply)


def test_a_reply_fits_one_challenge() -> None:
    reply, _ = KEY.reply(signed_push_channel.challenge(MOST))
    with pytest.raises(Refused):
        KEY.accept(signed_push_channel.challenge(MOST), reply)


@pytest.mark.parametrize(
    'challenge', [b'', b'HTTP/1.1 400 Bad Request', bytes(len(MAGIC)) * 6]
)
def test_nothing_is_proved_to_other_servers(challenge: bytes) -> None:
    with pytest.raises(Refused):
        KEY.reply(challenge)


@pytest.mark.proves('pushed once')
def test_no_frame_is_taken_twice_changed_or_elsewhere() -> None:
    notifier, server = _channels()
    _, other = _channels()
    frame = _frame(notifier, b'a message')
    changed = frame[:-1] + bytes([frame[-1] ^ 1])
    for wrong in (b'', frame[:-1], b'b' + frame[1:], changed):
        with pytest.raises(Refused):
            server.opened(wrong)
    with pytest.raises(Refused):
        other.opened(frame)
    with pytest.raises(Refused):
        # As if the server had sent it.
        notifier.opened(frame)
    assert server.opened(frame) == b'a message'
    with pytest.raises(Refused):
        server.opened(frame)
    # What was refused has used nothing up.
    assert server.opened(_frame(notifier, b'next')) == b'next'


def test_a_hand_over_is_decoded() -> None:
    data = push_frames.encode(['one', 'two'], [b'"a"', b'"b"'])
    hand_over = push_frames.decode(data)
    assert hand_over.connections == ['one', 'two']
    assert hand_over.texts == [b'"a"', b'"b"']
    # There is room for the connections beside the messages.
    ids = ['00000000-0000-0000-0000-000000000000'] * MAX_CONNECTIONS
    assert len(push_frames.encode(ids, [b''])) < push_frames.ROOM


@pytest.mark.parametrize(
    'value',
    [
        {},
        [['c']],
        [[1], [b'"a"']],
        [['c'] * (MAX_CONNECTIONS + 1), [b'"a"']],
    ],
)
def test_nothing_else_is(value: object) -> None:
    with pytest.raises(Refused):
        push_frames.decode(msgspec.msgpack.encode(value))
    with pytest.raises(Refused):
        push_frames.decode(b'\xc1')


def test_an_option_of_its_own_comes_first() -> None:
    conf = cfg.ConfigOpts()
    conf([], project='zaqar', default_config_files=[])
    assert socket_secrets(conf) == []
    conf.set_override('secret_key', 'k' * 16, 'signed_url')
    conf.set_override('verification_keys', ['o' * 16], 'signed_url')
    assert socket_secrets(conf) == ['k' * 16, 'o' * 16]
    conf.set_override('socket_secret', 's' * 16, 'notification')
    assert socket_secrets(conf) == ['s' * 16]
