# SPDX-License-Identifier: Apache-2.0
"""The short way of plain frames leads where autobahn's leads."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websocket._abnf import frame_buffer

from zaqar.tests.unit.websocket.bare import (
    MOST,
    closed_with,
    connected,
    joined,
)
from zaqar.transport.websocket import rfc6455_fast_path
from zaqar.transport.websocket.frame_and_answer_types import Frame


def encoded(
    data: bytes, first: int = 0x81, mask: bytes | None = b'\1\2\3\4'
) -> bytes:
    """Return a frame as a client sends it."""
    masked = 0x80 if mask is not None else 0
    size = len(data)
    if size < 126:
        head = bytes((first, masked | size))
    elif size < 1 << 16:
        head = bytes((first, masked | 126)) + size.to_bytes(2, 'big')
    else:
        head = bytes((first, masked | 127)) + size.to_bytes(8, 'big')
    if mask is None:
        return head + data
    turned = bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))
    return head + mask + turned


@pytest.fixture(scope='module')
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    created = asyncio.new_event_loop()
    yield created
    created.close()


FRAMES = st.lists(
    st.tuples(
        st.one_of(
            st.binary(max_size=300),
            st.text(max_size=100).map(str.encode),
            st.sampled_from([bytes(125), bytes(126), bytes(65_535)]),
        ),
        st.sampled_from([0x81, 0x82]),
        st.binary(min_size=4, max_size=4),
    ),
    max_size=6,
)


@given(frames=FRAMES, cuts=st.lists(st.integers(min_value=1, max_value=400)))
def test_frames_come_out_however_they_were_cut(
    loop: asyncio.AbstractEventLoop,
    frames: list[tuple[bytes, int, bytes]],
    cuts: list[int],
) -> None:
    wire, connections, transport = connected(loop)
    data = b''.join(encoded(*frame) for frame in frames)
    for cut in cuts:
        wire.data_received(data[:cut])
        data = data[cut:]
        if not data:
            break
    if data:
        wire.data_received(data)
    good = []
    for body, first, _ in frames:
        if first == 0x81 and not _is_utf8(body):
            assert closed_with(transport) == 1007
            break
        good.append(Frame(body, first == 0x82))
    assert connections.frames == good


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


FAULTS = [
    (encoded(b'{}', mask=None), 1002),
    (encoded(b'{}', first=0xC1), 1002),
    (encoded(b'{}', first=0x83), 1002),
    (encoded(b'{}', first=0x8B), 1002),
    (encoded(b'{}', first=0x80), 1002),
    (encoded(b'', first=0x09), 1002),
    (b'\x81\xfe\x00\x05' + bytes(9), 1002),
    (b'\x81\xff' + bytes(8) + bytes(9), 1002),
    (encoded(b'\xff\xfe'), 1007),
    (encoded(b'\xc3'), 1007),
    (b'\x82\xff' + (MOST + 1).to_bytes(8, 'big') + bytes(9), 1009),
    (b'\x82\xff' + (1 << 62).to_bytes(8, 'big') + bytes(9), 1009),
    (encoded(bytes(60_000), first=0x02) + encoded(bytes(60_000), 0x80), 1009),
]


@pytest.mark.parametrize(('data', 'code'), FAULTS)
def test_a_fault_of_the_protocol_gets_its_close_code(
    loop: asyncio.AbstractEventLoop, data: bytes, code: int
) -> None:
    wire, connections, transport = connected(loop)
    wire.data_received(encoded(b'{}') + data + encoded(b'{}'))
    assert closed_with(transport) == code
    assert connections.frames == [Frame(b'{}')]


def test_a_message_in_fragments_is_one(
    loop: asyncio.AbstractEventLoop,
) -> None:
    wire, connections, transport = connected(loop)
    wire.data_received(
        encoded(b'{"a":', first=0x01)
        + encoded(b'pp', first=0x89)
        + encoded(b'', first=0x00)
        + encoded(b'1}', first=0x80)
    )
    assert connections.frames == [Frame(b'{"a":1}')]
    assert transport.written == b'\x8a\x02pp'


@given(data=st.binary(max_size=600))
def test_any_bytes_are_survived(
    loop: asyncio.AbstractEventLoop, data: bytes
) -> None:
    wire, _, transport = connected(loop)
    wire.data_received(data)
    assert closed_with(transport) in (None, 1000, 1002, 1007, 1008, 1009) or (
        wire.state == wire.STATE_CLOSED
    )


@given(
    data=st.binary(max_size=200) | st.sampled_from([bytes(70_000)]),
    is_binary=st.booleans(),
)
def test_what_we_send_can_be_read(data: bytes, is_binary: bool) -> None:
    left = bytearray(
        b''.join(rfc6455_fast_path.framed(Frame(data, is_binary)))
    )

    def receive(size: int) -> bytes:
        part = bytes(left[:size])
        del left[:size]
        return part

    parsed = frame_buffer(receive, True).recv_frame()
    assert (parsed.fin, parsed.opcode) == (1, 2 if is_binary else 1)
    assert parsed.data == data
    assert not left


def test_a_handshake_without_an_end_is_refused(
    loop: asyncio.AbstractEventLoop,
) -> None:
    wire, _, transport = joined(loop)
    wire.data_received(b'GET / HTTP/1.1\r\n' + b'a: b\r\n' * 20_000)
    assert transport.written.startswith(b'HTTP/1.1 431 ')
    assert transport.is_cut
