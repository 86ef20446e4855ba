# SPDX-License-Identifier: Apache-2.0
"""Servers as deliverers see them: leases in a store, and what they answer."""

from __future__ import annotations

import asyncio
import functools
import pathlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from zaqar import store_clock
from zaqar.errors import StoreUnavailable
from zaqar.notification.sender_interface import Delivery, Outcome, Verdict
from zaqar.notification.senders.websocket import PATIENCE, SocketSender
from zaqar.objects import Record
from zaqar.socket_pushes import websocket_node_directory
from zaqar.socket_pushes.signed_push_channel import Key
from zaqar.storage.abstract_stores import ManagementStore
from zaqar.storage.sqlalchemy.driver_declaration import DRIVER
from zaqar.tests.servers import process
from zaqar.transport.websocket.connection_state_machine import Pushed
from zaqar.transport.websocket.node_registration import NodeRegistration
from zaqar.transport.websocket.notifier_endpoint import NotifierEndpoint

SECRET = 'a key of enough length'


class Time:
    """A clock that stands, in milliseconds."""

    def __init__(self) -> None:
        self.now = 1_700_000_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def store(tmp_path: pathlib.Path, time: Time) -> Iterator[ManagementStore]:
    uri = f'sqlite:///{tmp_path}/zaqar.sqlite'
    management = DRIVER.open_management(uri, {})
    management.clock = store_clock.Clock(wall=time)
    yield management
    management.close()


@pytest.fixture
def sender(store: ManagementStore) -> Iterator[SocketSender]:
    socket_sender = SocketSender(store, SECRET)
    yield socket_sender
    socket_sender.close()


def _send(sender: SocketSender, now: int, first_at: int = 0) -> Outcome:
    subscriber = 'websocket://node/connection'
    delivery = Delivery(
        'id', 'p', 'q', 's', subscriber, {}, b'{}', first_at=first_at
    )
    return asyncio.run(sender.send(delivery, now=now))


def test_a_lease_lives_for_thirty_seconds(
    store: ManagementStore, time: Time
) -> None:
    websocket_node_directory.renew(store, 'node', 'tcp://127.0.0.1:1', '')
    time.now += 29_999
    assert (
        websocket_node_directory.NodeDirectory(store).read('node') is not None
    )
    time.now += 1
    assert websocket_node_directory.NodeDirectory(store).read('node') is None
    assert (
        websocket_node_directory.RENEW_SECONDS * 3
        == websocket_node_directory.LIFETIME
        == 30
    )


def test_a_lease_that_is_renewed_elsewhere_is_seen(
    store: ManagementStore, time: Time
) -> None:
    directory = websocket_node_directory.NodeDirectory(store)
    for port in range(1, 5):
        websocket_node_directory.renew(
            store, 'node', f'tcp://127.0.0.1:{port}', ''
        )
        time.now += websocket_node_directory.RENEW_SECONDS * 1000
        lease = directory.read('node')
        assert lease is not None
        assert lease.uri.endswith(f':{port}')


def test_who_was_away_too_long_has_its_clients_come_again(
    store: ManagementStore, time: Time
) -> None:
    calls: list[int] = []
    node = NodeRegistration(
        store, 'node', 'tcp://127.0.0.1:1', '', lambda: calls.append(1)
    )
    assert node.renew()
    time.now += 29_999
    assert node.renew()
    assert calls == []
    time.now += 30_000
    assert node.renew()
    assert calls == [1]


def test_one_that_drains_leaves_the_lease_to_its_successor(
    store: ManagementStore, time: Time
) -> None:
    uris: list[str] = []
    old, new = (
        NodeRegistration(
            store, 'node', uri, '', functools.partial(uris.append, uri)
        )
        for uri in ('tcp://127.0.0.1:1', 'tcp://127.0.0.1:2')
    )

    def holder() -> str:
        lease = websocket_node_directory.NodeDirectory(store).read('node')
        return lease.uri if lease else ''

    assert old.renew()
    assert new.renew()
    for _ in range(3):
        time.now += websocket_node_directory.RENEW_SECONDS * 1000
        assert old.renew()
        assert holder() == 'tcp://127.0.0.1:2'
        assert new.renew()
    assert uris == []
    # It serves on where the other one has died.
    time.now += websocket_node_directory.LIFETIME * 1000
    assert old.renew()
    assert holder() == 'tcp://127.0.0.1:1'
    assert uris == ['tcp://127.0.0.1:1']


def test_one_that_ends_while_another_takes_over_leaves_it_the_lease(
    store: ManagementStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = 'tcp://127.0.0.1:1', 'tcp://127.0.0.1:2'
    websocket_node_directory.renew(store, 'node', old, '')
    delete = store.delete

    def take_over_first(*key: str, **more: Any) -> Record | None:
        websocket_node_directory.renew(store, 'node', new, '')
        return delete(*key, **more)

    monkeypatch.setattr(store, 'delete', take_over_first)
    websocket_node_directory.release(store, 'node', old)
    lease = websocket_node_directory.NodeDirectory(store).read('node')
    assert lease is not None
    assert lease.uri == new


def test_nobody_is_asked_where_a_server_has_gone(
    store: ManagementStore, sender: SocketSender, time: Time
) -> None:
    assert _send(sender, time.now).verdict is Verdict.GONE
    websocket_node_directory.renew(
        store, 'node', f'tcp://127.0.0.1:{process.free_port()}', ''
    )
    time.now += 30_000
    assert _send(sender, time.now).verdict is Verdict.GONE


def test_one_that_cannot_be_reached_is_tried_for_a_minute(
    store: ManagementStore, sender: SocketSender, time: Time
) -> None:
    websocket_node_directory.renew(
        store, 'node', f'tcp://127.0.0.1:{process.free_port()}', ''
    )
    begun = time.now
    late = begun + PATIENCE * 1000
    assert PATIENCE == 60
    assert _send(sender, late - 1, begun).verdict is Verdict.RETRY
    assert _send(sender, late, begun).verdict is Verdict.REFUSED


@pytest.mark.parametrize(
    ('pushed', 'verdict'),
    [
        (Pushed.SENT, Verdict.DELIVERED),
        (Pushed.GONE, Verdict.GONE),
        (Pushed.FULL, Verdict.RETRY),
    ],
)
def test_what_a_server_says_decides(
    store: ManagementStore,
    sender: SocketSender,
    time: Time,
    pushed: Pushed,
    verdict: Verdict,
) -> None:
    pushes: list[Any] = []

    class Pushes:
        async def push(self, *handed: Any) -> list[Pushed]:
            pushes.append(handed)
            return [pushed] * len(handed[0])

    async def send(*bodies: bytes) -> Any:
        listener = socket.create_server(('127.0.0.1', 0))
        endpoint = NotifierEndpoint(
            Pushes(),  # type: ignore[arg-type]
            Key(SECRET),
            100_000,
        )
        await endpoint.start(listener)
        uri = f'tcp://127.0.0.1:{listener.getsockname()[1]}'
        websocket_node_directory.renew(store, 'node', uri, '')
        results = await sender.push(
            'node', ['one', 'two'], bodies, first_at=time.now, now=time.now
        )
        sender.close()
        await endpoint.stop()
        return results

    outcomes = asyncio.run(send(b'"a"', b'"b"'))
    # Both in one hand-over.
    assert pushes == [(['one', 'two'], [b'"a"', b'"b"'])]
    assert [[one.verdict for one in each] for each in outcomes] == (
        [[verdict] * 2] * 2
    )
    time.now += 30_000
    # Each alone where they are too long together, and not at all if alone.
    long, longer = bytes(100_000), bytes(200_000)
    outcomes = asyncio.run(send(long, long, longer))
    assert [texts for _, texts in pushes[1:]] == [[long]] * 2
    assert [each[0].verdict for each in outcomes] == (
        [verdict, verdict, Verdict.REFUSED]
    )


def test_one_of_an_earlier_release_is_tried_as_long_as_the_policy_says(
    store: ManagementStore, sender: SocketSender, time: Time
) -> None:
    websocket_node_directory.renew(store, 'node', 'http://127.0.0.1:1', '')
    late = time.now + PATIENCE * 1000
    assert _send(sender, late, time.now).verdict is Verdict.RETRY


def test_it_is_tried_again_when_the_store_is_back(
    store: ManagementStore, time: Time, monkeypatch: pytest.MonkeyPatch
) -> None:
    def silent(*_: object) -> None:
        raise StoreUnavailable

    monkeypatch.setattr(store, 'get', silent)
    sender = SocketSender(store, SECRET)
    assert _send(sender, time.now).verdict is Verdict.RETRY


def test_a_lease_is_given_back_by_the_server_that_has_it(
    store: ManagementStore,
) -> None:
    first, second = 'tcp://127.0.0.1:1', 'tcp://127.0.0.1:2'
    websocket_node_directory.renew(store, 'node', first, '')
    websocket_node_directory.renew(store, 'node', second, '')
    websocket_node_directory.release(store, 'node', first)
    lease = websocket_node_directory.NodeDirectory(store).read('node')
    assert lease is not None
    assert lease.uri == second
    websocket_node_directory.release(store, 'node', second)
    assert websocket_node_directory.NodeDirectory(store).read('node') is None
