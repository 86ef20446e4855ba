# SPDX-License-Identifier: Apache-2.0
"""Timeouts of a connection: reference/websocket, "Connections"."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from zaqar.tests.unit.websocket.bare import (
    HANDSHAKE,
    Loop,
    closed_with,
    connected,
    joined,
)


@pytest.fixture
def loop() -> Iterator[Loop]:
    started = Loop()
    yield started
    started.close()


@pytest.mark.parametrize('said', [b'', HANDSHAKE[:-2]])
def test_a_handshake_has_five_seconds(loop: Loop, said: bytes) -> None:
    wire, _, transport = joined(loop)
    wire.data_received(said)
    loop.wait(4.9)
    assert not transport.is_cut
    loop.wait(0.2)
    assert transport.is_cut
    assert transport.written == b''


def test_a_connection_that_is_open_has_all_the_time(loop: Loop) -> None:
    wire, _, transport = connected(loop)
    loop.wait(3600)
    assert not transport.is_cut
    assert wire.state == wire.STATE_OPEN


def test_the_other_end_has_a_second_to_close_too(loop: Loop) -> None:
    wire, _, transport = connected(loop)
    wire.shut(1012, 'restart')
    assert closed_with(transport) == 1012
    loop.wait(0.9)
    assert not transport.is_cut
    loop.wait(0.2)
    assert transport.is_cut
