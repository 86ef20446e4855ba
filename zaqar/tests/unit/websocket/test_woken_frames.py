# SPDX-License-Identifier: Apache-2.0
"""Frames that wait for messages, on connections that have others."""

from __future__ import annotations

import collections
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from zaqar.controllers.websocket_connection_quota import Place
from zaqar.objects import Scope
from zaqar.tests.unit.websocket.bare import HANDSHAKE, Loop, Transport, turn
from zaqar.tests.unit.websocket.test_rfc6455_fast_path import encoded
from zaqar.transport.large_page_fairness import LARGE, Turns
from zaqar.transport.page_turn_and_message_wait import Turn
from zaqar.transport.websocket.autobahn_adapter import AutobahnSocket
from zaqar.transport.websocket.autobahn_factory import Factory
from zaqar.transport.websocket.connection_manager import Connections
from zaqar.transport.websocket.frame_and_answer_types import Frame, FrameAnswer
from zaqar.transport.websocket.settings import Settings
from zaqar.waiting.waiters import Waiters


class House:
    """A server without a network, whose threads finish when they are told.

    A frame that says "plain" is answered at once, any other one takes a
    message from the queue that it names, or waits for it.
    """

    class authenticator:  # noqa: N801
        proves = False

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.turns = Turns(later=loop.call_soon)
        self.waiters = Waiters(self)
        self.messages: collections.Counter[str] = collections.Counter()
        self.work: list[tuple[str, Callable[[], None]]] = []
        handler: Any = self
        workers: Any = self
        self.connections = Connections(
            handler,
            Settings(max_frame_size=1000, ping_interval=0),
            workers,
            loop,
        )
        self._factory = Factory(self.connections, loop)

    # The observer of those who wait.

    def begin(self, scope: Scope) -> None: ...

    def end(self, scope: Scope) -> None: ...

    def expire_at(self, until: float) -> None: ...

    # The handler of frames.

    def session(self, connection_id: str) -> Any:
        return types.SimpleNamespace(place=Place())

    def answer(self, session: Any, frame: Frame) -> FrameAnswer:
        its = frame.turn or Turn(self.turns, project='p')
        answer = FrameAnswer(frame.data, False, project='p', turn=its)
        if frame.data == b'large':
            answer.data = bytes(LARGE)
        elif frame.data != b'plain':
            taken = self._take(frame.data.decode(), its)
            answer.data += b':%d' % taken
            if its.is_missed:
                answer.frame = frame
        return answer

    def _take(self, queue: str, its: Turn) -> int:
        ticket = its.ticket or self.waiters.enter(
            Scope('p', queue), takes=True, seconds=100
        )
        if ticket.is_over:
            return 0
        if ticket.may_run:
            if self.messages[queue]:
                self.messages[queue] -= 1
                ticket.served(1)
                return 1
            if not ticket.emptied(None):
                return 0
        its.postpone(ticket)
        return 0

    # The threads.

    def submit(
        self, work: Any, done: Callable[[Any], None], owner: str = ''
    ) -> None:
        frame = work.args[-1]
        self.work.append((frame.data.decode(), lambda: done(work())))

    def finish(self, *expected: str) -> None:
        """Have the threads do what they are at, which is this."""
        turn(self.loop)
        assert [name for name, _ in self.work] == list(expected)
        work, self.work = self.work, []
        for _, finish in work:
            finish()
        turn(self.loop)

    def post(self, queue: str) -> None:
        self.messages[queue] += 1
        self.waiters.announce(Scope('p', queue), 1)
        turn(self.loop)

    def connect(self) -> Client:
        client = Client(self._factory())
        turn(self.loop)
        client.transport.written = b''
        return client


class Full(Transport):
    """A connection whose client takes no large answer."""

    wire: AutobahnSocket

    def write(self, data: bytes) -> None:
        if len(data) >= LARGE:
            self.wire.pause_writing()
        else:
            super().write(data)

    def get_write_buffer_size(self) -> int:
        return 0


class Client:
    """A connection."""

    def __init__(self, wire: AutobahnSocket) -> None:
        self.wire = wire
        self.transport = Full()
        self.transport.wire = wire
        wire.connection_made(self.transport)
        wire.data_received(HANDSHAKE)

    def send(self, *texts: str) -> None:
        for text in texts:
            self.wire.data_received(encoded(text.encode()))

    def answers(self) -> list[str]:
        """Return what has come since the last time."""
        data, answers = self.transport.written, []
        while data:
            is_closed = data[0] == 0x88
            text = data[2 : 2 + data[1]]
            answers.append('closed' if is_closed else text.decode())
            data = data[2 + data[1] :]
        self.transport.written = b''
        return answers


@pytest.fixture
def loop() -> Iterator[Loop]:
    started = Loop()
    yield started
    started.close()


@pytest.fixture
def house(loop: Loop) -> House:
    return House(loop)


def _waiting(house: House, count: int, queue: str = 'q') -> list[Client]:
    """Return connections, each with a frame that waits."""
    clients = [house.connect() for _ in range(count)]
    for client in clients:
        client.send(queue)
        house.finish(queue)
    return clients


def test_the_oldest_frame_is_woken(house: House) -> None:
    first, second = _waiting(house, 2)
    house.post('q')
    house.finish('q')
    assert (first.answers(), second.answers()) == (['q:1'], [])


def test_others_do_not_wait_for_a_slow_frame_of_the_first(
    house: House,
) -> None:
    first, second = _waiting(house, 2)
    first.send('plain', 'plain')
    house.post('q')
    # The slow one is handled still.
    slow = house.work.pop(0)
    house.finish('q')
    assert (first.answers(), second.answers()) == ([], ['q:1'])
    house.post('q')
    assert not house.work
    house.work.append(slow)
    house.finish('plain')
    # Before the frame that has come meanwhile.
    house.finish('q')
    house.finish('plain')
    assert first.answers() == ['plain', 'q:1', 'plain']


def test_who_has_let_others_go_first_keeps_its_place(house: House) -> None:
    first, second, third = _waiting(house, 3)
    first.send('plain')
    house.post('q')
    slow = house.work.pop(0)
    house.finish('q')
    house.work.append(slow)
    house.finish('plain')
    assert second.answers() == ['q:1']
    house.post('q')
    house.finish('q')
    assert (first.answers(), third.answers()) == (['plain', 'q:1'], [])


def test_others_do_not_wait_for_a_client_that_does_not_read(
    house: House,
) -> None:
    (first,) = _waiting(house, 1)
    first.send('large')
    house.post('q')
    # Its turn comes with the answer that its client does not take.
    house.finish('large')
    second = house.connect()
    second.send('q')
    house.finish('q')
    assert second.answers() == ['q:1']
    first.wire.resume_writing()
    house.finish('q')
    assert first.transport.written.endswith(b'q:0')


def test_frames_of_one_connection_wait_for_several_queues(
    house: House,
) -> None:
    (first,) = _waiting(house, 1)
    first.send('r')
    house.finish('r')
    (second,) = _waiting(house, 1)
    (third,) = _waiting(house, 1, 'r')
    house.post('q')
    house.post('r')
    # The second of its frames could not be handled beside the first.
    house.finish('q', 'r')
    assert first.answers() == ['q:1']
    assert third.answers() == ['r:1']
    house.post('r')
    house.post('q')
    house.finish('r', 'q')
    assert first.answers() == ['r:1']
    assert second.answers() == ['q:1']


def test_a_connection_is_lost_while_others_go_first(house: House) -> None:
    (first,) = _waiting(house, 1)
    first.send('plain')
    house.post('q')
    first.wire.connection_lost(None)
    house.finish('plain')
    assert not len(house.waiters)
    second = house.connect()
    second.send('q')
    house.finish('q')
    assert second.answers() == ['q:1']


def test_a_shutdown_answers_who_has_let_others_go_first(
    house: House,
) -> None:
    (first,) = _waiting(house, 1)
    first.send('plain')
    house.messages['q'] -= 1
    house.post('q')
    house.waiters.close()
    house.connections.drain()
    house.finish('plain')
    house.finish('q')
    assert first.answers() == ['plain', 'q:0', 'closed']
