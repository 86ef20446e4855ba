# SPDX-License-Identifier: Apache-2.0
"""Who does not read what he asked for is left, and holds little until then."""

from __future__ import annotations

import gc
import logging
import types
import uuid
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from zaqar.controllers.websocket_connection_quota import Place
from zaqar.tests.unit.websocket.bare import HANDSHAKE, Loop, Transport, turn
from zaqar.tests.unit.websocket.test_rfc6455_fast_path import encoded
from zaqar.transport.large_page_fairness import Turns
from zaqar.transport.page_turn_and_message_wait import Turn
from zaqar.transport.websocket.autobahn_adapter import (
    MAX_UNSENT,
    AutobahnSocket,
)
from zaqar.transport.websocket.autobahn_factory import Factory
from zaqar.transport.websocket.connection_manager import Connections
from zaqar.transport.websocket.frame_and_answer_types import Frame, FrameAnswer
from zaqar.transport.websocket.settings import Settings

TIMEOUT = 60


class Deaf(Transport):
    """Takes nothing once it is told so, as the system when it is full."""

    def __init__(self) -> None:
        super().__init__()
        self.is_deaf = False
        self.is_blocked = False
        self.wire: AutobahnSocket
        self.unsent = 0

    def write(self, data: bytes) -> None:
        super().write(data)
        if self.is_deaf:
            self.unsent += len(data)
        if self.unsent > MAX_UNSENT and not self.is_blocked:
            self.is_blocked = True
            self.wire.pause_writing()

    def take(self) -> None:
        """Take all that waits."""
        self.unsent = 0
        if self.is_blocked:
            self.is_blocked = False
            self.wire.resume_writing()

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def close(self) -> None:
        """Go when all that waits has been taken."""

    def abort(self) -> None:
        if not self.is_cut:
            self.is_cut = True
            # Told in the next turn, as by any loop.
            self.wire.connections.soon(lambda: self.wire.connection_lost(None))


class Project(str):
    """The name of a project, of which is seen whether it is remembered."""


class FrameHandler:
    """Answers with as much as a frame says, for the project that it says."""

    class authenticator:  # noqa: N801
        proves = False

    def __init__(self, max_unread: int) -> None:
        self.turns = Turns(max_unread, after=lambda _, work: work())
        #: Those that connections or the server remember.
        self.projects: weakref.WeakSet[Project] = weakref.WeakSet()

    def session(self, connection_id: str) -> Any:
        return types.SimpleNamespace(place=Place())

    def answer(self, session: Any, frame: Frame) -> FrameAnswer:
        size, _, project = frame.data.decode().partition(' ')
        turn = frame.turn or Turn(self.turns)
        answer = FrameAnswer(b'', False, project=project, turn=turn)
        if not turn.begin('message_list', project):
            answer.frame = frame
            return answer
        answer.data = bytes(int(size))
        turn.record(int(size))
        answer.project = Project(project)
        self.projects.add(answer.project)
        return answer


class Workers:
    """Works at once, unless it is held."""

    def __init__(self) -> None:
        self.is_held = False
        self.begun = 0
        self._held: list[tuple[Any, Any]] = []

    def submit(self, work: Any, done: Any = None, owner: str = '') -> None:
        self._held.append((work, done))
        if not self.is_held:
            self.release()

    def release(self) -> None:
        while self._held:
            self.step()

    def step(self) -> None:
        """Do what is held now, all of it at the same time."""
        held, self._held = self._held, []
        self.begun += len(held)
        results = [(done, work()) for work, done in held]
        for done, result in results:
            done(result)


class House:
    """A server without a network."""

    def __init__(
        self, loop: Loop, max_unread: int = 0, **settings: Any
    ) -> None:
        self.loop = loop
        self.workers = Workers()
        values = Settings(
            max_frame_size=10_000, ping_interval=0, write_timeout=TIMEOUT
        )
        vars(values).update(settings)
        self.handler = FrameHandler(max_unread)
        self.connections = Connections(
            self.handler,  # type: ignore[arg-type]
            values,
            self.workers,  # type: ignore[arg-type]
            loop,
        )
        self._factory = Factory(self.connections, loop)

    def connect(self) -> Deaf:
        """Return a connection that has said nothing yet."""
        transport = Deaf()
        transport.wire = self._factory()
        transport.wire.connection_made(transport)
        return transport

    def join(self) -> Deaf:
        """Return a connection after its handshake."""
        transport = self.connect()
        transport.wire.data_received(HANDSHAKE)
        turn(self.loop)
        transport.is_deaf = True
        return transport

    def ask(self, transport: Deaf, size: int, project: str = 'p') -> None:
        """Ask for so many bytes."""
        frame = encoded(f'{size} {project}'.encode())
        transport.wire.data_received(frame)
        turn(self.loop)


@pytest.fixture
def loop() -> Iterator[Loop]:
    started = Loop()
    yield started
    started.close()


LARGE = MAX_UNSENT + 1


def test_a_blocked_connection_is_ended_after_a_while(loop: Loop) -> None:
    house = House(loop)
    deaf = house.join()
    house.ask(deaf, LARGE)
    loop.wait(TIMEOUT - 1)
    assert not deaf.is_cut
    loop.wait(2)
    assert deaf.is_cut
    turn(loop)
    assert len(house.connections) == 0


def test_who_reads_at_last_has_all_the_time_again(loop: Loop) -> None:
    house = House(loop)
    slow = house.join()
    for _ in range(3):
        house.ask(slow, LARGE)
        loop.wait(TIMEOUT - 1)
        slow.take()
    loop.wait(10 * TIMEOUT)
    assert not slow.is_cut


def test_no_time_means_any(loop: Loop) -> None:
    house = House(loop, write_timeout=0)
    deaf = house.join()
    house.ask(deaf, LARGE)
    loop.wait(100 * TIMEOUT)
    assert not deaf.is_cut


def test_who_closes_and_reads_nothing_is_left_too(loop: Loop) -> None:
    house = House(loop)
    deaf = house.join()
    # Too little to count as blocked, and more than the system takes.
    house.ask(deaf, 1000)
    deaf.wire.data_received(encoded(b'\x03\xe8', 0x88))
    loop.wait(TIMEOUT - 1)
    assert not deaf.is_cut
    loop.wait(2)
    assert deaf.is_cut


def test_a_connection_for_which_too_much_waits_is_ended(loop: Loop) -> None:
    house = House(loop, max_unsent=2 * LARGE)
    one, other = house.join(), house.join()
    house.ask(one, 2 * LARGE - 100)
    assert not one.is_cut
    house.ask(other, 2 * LARGE + 1)
    assert other.is_cut
    assert not one.is_cut


def test_an_answer_that_comes_while_it_is_blocked_counts(loop: Loop) -> None:
    house = House(loop, max_unsent=2 * LARGE)
    deaf = house.join()
    house.workers.is_held = True
    house.ask(deaf, LARGE)
    deaf.write(bytes(LARGE))
    turn(loop)
    assert not deaf.is_cut
    house.workers.release()
    turn(loop)
    assert deaf.is_cut


def test_of_a_project_the_one_with_most_to_read_is_ended(loop: Loop) -> None:
    house = House(loop, max_unsent_per_project=4 * LARGE)
    small, large, last, other = (house.join() for _ in range(4))
    house.ask(other, 3 * LARGE, 'other')
    house.ask(small, LARGE)
    house.ask(large, 2 * LARGE)
    assert not large.is_cut
    house.ask(last, LARGE)
    assert large.is_cut
    assert not (small.is_cut or last.is_cut or other.is_cut)
    small.take()
    house.ask(house.join(), LARGE)
    house.ask(house.join(), LARGE)
    assert not (small.is_cut or last.is_cut or other.is_cut)


def test_a_connection_is_ended_once(
    loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    house = House(loop, max_unsent_per_project=LARGE)
    with caplog.at_level(logging.INFO, 'zaqar'):
        one, other = house.join(), house.join()
        one.wire.data_received(encoded(b'%d p' % (3 * LARGE)))
        # Looked at once more in the same turn.
        house.connections.blocked(one.wire.connection)
        house.ask(other, LARGE // 2)
        turn(loop)
    assert one.is_cut
    assert not other.is_cut
    ended = [record for record in caplog.records if 'Ended' in record.msg]
    assert len(ended) == 1
    loop.wait(2 * TIMEOUT)
    assert not other.is_cut


def test_nobody_else_is_noted_when_all_is_well(loop: Loop) -> None:
    house = House(loop)
    for _ in range(3):
        deaf = house.join()
        house.ask(deaf, LARGE, str(uuid.uuid4()))
        deaf.take()
        deaf.abort()
    turn(loop)
    loop.wait(2 * TIMEOUT)
    del deaf
    gc.collect()
    assert not house.handler.projects


def test_what_waits_for_a_blocked_connection_is_not_begun(loop: Loop) -> None:
    house = House(loop)
    deaf = house.join()
    deaf.wire.data_received(encoded(b'%d p' % LARGE) * 3)
    turn(loop)
    # The second would be held beside the first, unread as it is.
    assert house.workers.begun == 1
    deaf.take()
    turn(loop)
    assert house.workers.begun == 2


def test_a_project_has_one_large_answer_made_at_a_time(loop: Loop) -> None:
    house = House(loop)
    house.ask(house.join(), LARGE)
    readers = [house.join() for _ in range(5)]
    house.workers.is_held = True
    for each in readers:
        house.ask(each, LARGE)
    for answered in range(1, 6):
        # Each has been looked at, and all but one wait for their turn.
        house.workers.step()
        for _ in range(5):
            turn(loop)
        assert sum(bool(each.unsent) for each in readers) == answered


def test_the_turns_of_lost_connections_go_on_to_others(loop: Loop) -> None:
    house = House(loop)
    house.ask(house.join(), LARGE)
    lost, last = [house.join() for _ in range(3)], house.join()
    house.workers.is_held = True
    for each in (*lost, last):
        house.ask(each, LARGE)
    house.workers.step()
    for each in lost:
        each.abort()
    turn(loop)
    house.workers.release()
    for _ in range(20):
        turn(loop)
        house.workers.release()
    assert last.unsent
    assert house.handler.turns.begin('p')


def test_a_frame_of_a_connection_that_closes_has_no_turn(loop: Loop) -> None:
    house = House(loop)
    house.ask(house.join(), LARGE)
    first, closing, last = (house.join() for _ in range(3))
    house.workers.is_held = True
    for each in (first, closing, last):
        house.ask(each, LARGE)
    # All have been looked at; two of them wait.
    house.workers.step()
    begun = house.workers.begun
    closing.wire.data_received(encoded(b'\x03\xe8', 0x88))
    for _ in range(20):
        turn(loop)
        house.workers.release()
    assert house.workers.begun == begun + 1
    assert last.unsent == first.unsent


def test_a_large_frame_that_is_sent_in_part_counts_as_a_whole(
    loop: Loop,
) -> None:
    house = House(loop, max_unsent_per_project=8 * LARGE)
    readers = [house.join() for _ in range(5)]
    for each in readers[:4]:
        house.ask(each, 2 * LARGE - 100)
        # The system has taken most of it; the rest keeps all of it alive.
        each.unsent = 1000
        each.wire.pause_writing()
    turn(loop)
    assert not any(each.is_cut for each in readers)
    house.ask(readers[4], 3 * LARGE)
    assert readers[4].is_cut
    assert not any(each.is_cut for each in readers[:4])


def test_a_project_that_leaves_much_unread_has_no_further_page_read(
    loop: Loop,
) -> None:
    house = House(loop, max_unread=2 * LARGE)
    readers = [house.join() for _ in range(6)]
    for each in readers:
        house.ask(each, LARGE)
    assert [bool(each.unsent) for each in readers] == [True] * 2 + [False] * 4
    house.ask(house.join(), LARGE, 'other')
    readers[0].take()
    for _ in range(5):
        turn(loop)
    # The one that has read may ask again, the next one has got its page.
    assert [bool(each.unsent) for each in readers[1:4]] == [True, True, False]
    readers[1].abort()
    for _ in range(5):
        turn(loop)
    assert [bool(each.unsent) for each in readers[2:5]] == [True, True, False]
    for each in readers[2:]:
        each.abort()
    for _ in range(9):
        turn(loop)
    # Nothing is left but the large answer to the other one.
    turns = house.handler.turns
    turns.add_unread('other', LARGE)
    assert not turns.begin('other')
    turns.add_unread('p', 2 * LARGE - 1)
    assert turns.begin('p')
