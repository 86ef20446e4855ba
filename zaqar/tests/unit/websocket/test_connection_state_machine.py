# SPDX-License-Identifier: Apache-2.0
"""One connection as a state machine: reference/websocket, "Execution"."""

from __future__ import annotations

import collections

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
)

from zaqar.controllers.streams import StreamStart
from zaqar.transport.large_page_fairness import Turns
from zaqar.transport.page_turn_and_message_wait import Turn
from zaqar.transport.websocket.connection_state_machine import (
    DEEP,
    EXPIRED,
    HEAVY,
    POLICY,
    RESTART,
    Connection,
    Pushed,
    State,
)
from zaqar.transport.websocket.frame_and_answer_types import (
    Frame,
    FrameAnswer,
    OwnedStream,
    OwnedSubscription,
)
from zaqar.transport.websocket.state_machine_commands import (
    BeginStream,
    Close,
    Command,
    Drop,
    EndStreams,
    Expire,
    Forget,
    HandleFrame,
    Ping,
    Reading,
    Send,
    Write,
)

OWN = OwnedSubscription('a queue', 'an id')

PUSH = Write(b'frames')

STREAM = OwnedStream('1', StreamStart(None, '', '', None), False)  # type: ignore[arg-type]


def _frame(number: int = 0) -> Frame:
    return Frame(b'%d' % number)


def _answer(number: int = 0, **more: object) -> FrameAnswer:
    return FrameAnswer(b'%d!' % number, False, **more)  # type: ignore[arg-type]


def _subscribed(is_binary: bool = False) -> Connection:
    connection = Connection()
    connection.received(_frame())
    connection.answered(FrameAnswer(b'', is_binary, subscription=OWN))
    return connection


def test_a_frame_is_worked_on_and_its_answer_sent() -> None:
    connection = Connection()
    assert connection.received(_frame(1)) == [HandleFrame(_frame(1))]
    assert connection.answered(_answer(1)) == [Send(Frame(b'1!'))]


def test_an_answer_has_the_type_of_its_request() -> None:
    connection = Connection()
    connection.received(Frame(b'', True))
    assert connection.answered(FrameAnswer(b'x', True)) == [
        Send(Frame(b'x', True))
    ]


def test_one_frame_is_worked_on_at_a_time_and_the_others_in_order() -> None:
    connection = Connection()
    assert connection.received(_frame(1)) == [HandleFrame(_frame(1))]
    assert connection.received(_frame(2)) == []
    assert connection.received(_frame(3)) == []
    assert connection.answered(_answer(1)) == [
        Send(Frame(b'1!')),
        HandleFrame(_frame(2)),
    ]
    assert connection.answered(_answer(2)) == [
        Send(Frame(b'2!')),
        HandleFrame(_frame(3)),
    ]


def test_no_more_is_read_when_enough_frames_wait() -> None:
    connection = Connection()
    connection.received(_frame())
    for number in range(DEEP - 1):
        assert connection.received(_frame(number)) == []
    assert connection.received(_frame()) == [Reading(False)]
    assert not connection.reads
    commands = connection.answered(_answer())
    assert commands[1:] == [HandleFrame(_frame(0)), Reading(True)]


def test_no_more_is_read_when_what_waits_is_heavy() -> None:
    connection = Connection()
    connection.received(_frame())
    assert connection.received(Frame(bytes(HEAVY - 1))) == []
    assert connection.received(Frame(b'x')) == [Reading(False)]


def test_nobody_works_for_who_does_not_take_what_is_said() -> None:
    connection = Connection()
    assert connection.blocked() == [Reading(False)]
    assert connection.received(_frame()) == []
    assert connection.unblocked() == [HandleFrame(_frame()), Reading(True)]


def test_a_token_ends_the_connection_when_it_ends() -> None:
    connection = Connection()
    connection.received(_frame())
    answer = _answer(expires_at=7.0, is_proved=True)
    commands = connection.answered(answer)
    assert commands == [Expire(7.0), Send(Frame(b'0!'))]
    assert connection.is_proved
    (closed,) = connection.expired()
    assert isinstance(closed, Close)
    assert closed.code == EXPIRED
    assert connection.expired() == []


def test_a_refused_token_leaves_the_old_end() -> None:
    connection = Connection()
    connection.received(_frame())
    connection.answered(_answer(expires_at=7.0))
    connection.received(_frame())
    assert connection.answered(_answer()) == [Send(Frame(b'0!'))]


def test_another_token_keeps_the_subscriptions_that_it_may_have() -> None:
    connection = Connection()
    for answer in (
        _answer(expires_at=7.0),
        _answer(subscription=OWN),
        _answer(expires_at=9.0),
    ):
        connection.received(_frame())
        commands = connection.answered(answer)
    assert commands == [Expire(9.0), Send(Frame(b'0!'))]
    assert connection.lost() == [Forget([OWN])]


def test_a_token_that_may_not_have_them_ends_them() -> None:
    connection = Connection()
    for answer in (
        _answer(expires_at=7.0),
        _answer(subscription=OWN),
        _answer(expires_at=9.0, ended=[OWN]),
    ):
        connection.received(_frame())
        commands = connection.answered(answer)
    assert Forget([OWN]) in commands
    assert connection.lost() == []


def test_subscriptions_end_with_the_connection() -> None:
    assert _subscribed().lost() == [Forget([OWN])]


def test_one_made_while_the_connection_was_lost_ends_too() -> None:
    connection = Connection()
    connection.received(_frame())
    connection.lost()
    assert connection.answered(_answer(subscription=OWN)) == [Forget((OWN,))]


def test_a_stream_begins_after_the_answer() -> None:
    connection = Connection()
    connection.received(_frame())
    connection.received(_frame(1))
    assert connection.answered(_answer(stream=STREAM)) == [
        Send(Frame(b'0!')),
        BeginStream(STREAM),
        HandleFrame(_frame(1)),
    ]


def test_a_stream_ends_before_the_answer() -> None:
    connection = Connection()
    connection.received(_frame())
    assert connection.answered(_answer(ended_streams={'1': ''})) == [
        EndStreams({'1': ''}),
        Send(Frame(b'0!')),
    ]


def test_no_stream_begins_on_a_connection_that_closes() -> None:
    connection = Connection()
    connection.received(_frame())
    connection.drain()
    commands = connection.answered(_answer(stream=STREAM))
    assert [type(one) for one in commands] == [Send, Close]
    connection = Connection()
    connection.received(_frame())
    connection.lost()
    assert connection.answered(_answer(stream=STREAM)) == []


@pytest.mark.parametrize('is_binary', [False, True])
def test_a_push_is_sent_as_was_subscribed(is_binary: bool) -> None:
    connection = _subscribed(is_binary)
    assert connection.pushes_binary is is_binary
    assert connection.pushed(PUSH) == (Pushed.SENT, [PUSH])


def test_a_push_for_who_has_not_subscribed_finds_nobody() -> None:
    assert Connection().pushed(PUSH) == (Pushed.GONE, [])


def test_a_push_ahead_of_the_answer_has_to_come_again() -> None:
    connection = Connection()
    connection.received(_frame())
    assert connection.pushed(PUSH) == (Pushed.FULL, [])


def test_a_push_for_who_takes_nothing_has_to_come_again() -> None:
    connection = _subscribed()
    connection.blocked()
    assert connection.pushed(PUSH) == (Pushed.FULL, [])
    connection.unblocked()
    assert connection.pushed(PUSH)[0] is Pushed.SENT


def test_a_push_after_the_close_finds_nobody() -> None:
    connection = _subscribed()
    connection.closing()
    assert connection.pushed(PUSH) == (Pushed.GONE, [])


def test_pings_go_unanswered_so_often_and_no_more() -> None:
    connection = Connection(max_missed=2)
    assert [connection.tick() for _ in range(3)] == [
        [Ping()],
        [Ping()],
        [Drop()],
    ]


def test_any_sign_of_life_counts() -> None:
    connection = Connection(max_missed=2)
    connection.tick()
    connection.tick()
    connection.heard()
    assert connection.tick() == [Ping()]


def test_without_a_limit_pings_go_unanswered_for_ever() -> None:
    connection = Connection()
    assert [connection.tick() for _ in range(99)] == [[Ping()]] * 99


def test_whom_we_do_not_read_cannot_answer() -> None:
    connection = Connection(max_missed=1)
    connection.blocked()
    assert [connection.tick() for _ in range(9)] == [[]] * 9


def test_an_idle_connection_is_closed_at_once_at_the_end() -> None:
    (closed,) = Connection().drain()
    assert isinstance(closed, Close)
    assert closed.code == RESTART


def test_what_is_worked_on_is_answered_before_the_end() -> None:
    connection = Connection()
    connection.received(_frame(1))
    connection.received(_frame(2))
    assert connection.drain() == []
    sent, closed = connection.answered(_answer(1))
    assert sent == Send(Frame(b'1!'))
    assert isinstance(closed, Close)
    assert connection.received(_frame(3)) == []


def test_later_frames_are_worked_on_while_one_waits() -> None:
    connection = Connection()
    connection.received(_frame(1))
    connection.received(_frame(2))
    assert connection.postponed(_answer()) == [HandleFrame(_frame(2))]
    # One frame at a time, the woken one before those that came later.
    connection.received(_frame(3))
    assert connection.woken(_frame(1)) == []
    assert connection.answered(_answer(2)) == [
        Send(Frame(b'2!')),
        HandleFrame(_frame(1)),
    ]
    assert connection.answered(_answer(1)) == [
        Send(Frame(b'1!')),
        HandleFrame(_frame(3)),
    ]


def test_a_frame_that_waits_may_prove_who_it_is() -> None:
    connection = Connection()
    connection.received(_frame(1))
    connection.postponed(_answer(is_proved=True))
    assert connection.late() == []
    assert connection.state is State.OPEN


def test_what_waits_is_answered_before_the_end() -> None:
    connection = Connection()
    turn = Turn(Turns())
    for number in (1, 2):
        connection.received(_frame(number))
        connection.postponed(_answer())
    assert connection.woken(Frame(b'1', turn=turn)) != []
    connection.received(_frame(3))
    assert connection.woken(Frame(b'2', turn=turn)) == []
    assert connection.drain() == []
    assert connection.answered(_answer(1)) == [
        Send(Frame(b'1!')),
        HandleFrame(Frame(b'2', turn=turn)),
    ]
    sent, closed = connection.answered(_answer(2))
    assert sent == Send(Frame(b'2!'))
    assert isinstance(closed, Close)


def test_after_a_close_frame_nothing_is_sent_and_all_is_read() -> None:
    connection = Connection()
    for number in range(DEEP + 1):
        connection.received(_frame(number))
    assert connection.closing() == [Reading(True)]
    assert connection.answered(_answer()) == []
    assert connection.received(_frame()) == []


class Life(RuleBasedStateMachine):
    """Whatever happens in whatever order, some things hold."""

    def __init__(self) -> None:
        super().__init__()
        self.connection = Connection(max_missed=2)
        self.requested: collections.deque[int] = collections.deque()
        self.working: int | None = None
        self.reading = True
        self.closed = self.lost_it = False
        self.number = 0

    def do(self, commands: list[Command]) -> None:
        for command in commands:
            if isinstance(command, HandleFrame):
                assert self.working is None, 'one at a time'
                assert command.frame == _frame(self.requested.popleft())
                self.working = 1
            elif isinstance(command, Reading):
                assert command.on is not self.reading
                self.reading = command.on
            elif isinstance(command, Send):
                assert not self.closed, 'nothing follows a close frame'
                assert not self.lost_it
            elif isinstance(command, Close):
                assert not self.closed
                self.closed = True

    @precondition(lambda self: self.reading)
    @rule()
    def receive(self) -> None:
        self.number += 1
        if self.connection.state is State.OPEN:
            self.requested.append(self.number)
        self.do(self.connection.received(_frame(self.number)))

    @precondition(lambda self: self.working is not None)
    @rule(subscription=st.booleans(), end=st.booleans())
    def answer(self, subscription: bool, end: bool) -> None:
        self.working = None
        answer = _answer(
            subscription=OWN if subscription else None,
            expires_at=1.0 if end else None,
        )
        self.do(self.connection.answered(answer))

    @rule(frames=st.booleans())
    def block(self, frames: bool) -> None:
        connection = self.connection
        self.do(connection.blocked() if frames else connection.unblocked())

    @rule()
    def push(self) -> None:
        self.do(self.connection.pushed(PUSH)[1])

    @rule()
    def tick(self) -> None:
        self.do(self.connection.tick())

    @rule()
    def expire(self) -> None:
        self.do(self.connection.expired())

    @rule()
    def drain(self) -> None:
        self.do(self.connection.drain())

    @rule()
    def close(self) -> None:
        self.closed = True
        self.do(self.connection.closing())

    @precondition(lambda self: not self.lost_it)
    @rule()
    def lose(self) -> None:
        self.lost_it = True
        self.do(self.connection.lost())

    @invariant()
    def few_wait(self) -> None:
        if self.connection.state is State.OPEN:
            assert len(self.requested) <= DEEP
            assert self.reading is self.connection.reads
        else:
            self.requested.clear()


TestLife = Life.TestCase


def test_who_proves_nothing_in_time_is_closed() -> None:
    connection = Connection()
    (closed,) = connection.late()
    assert isinstance(closed, Close)
    assert closed.code == POLICY
    assert connection.late() == []


def test_who_has_proved_something_is_never_late() -> None:
    connection = Connection()
    connection.received(_frame())
    connection.answered(_answer(is_proved=True))
    assert connection.late() == []
    connection.received(_frame())
    assert connection.answered(_answer()) == [Send(Frame(b'0!'))]


@pytest.mark.parametrize('is_proved', [False, True])
def test_what_is_worked_on_when_the_time_is_up_decides(
    is_proved: bool,
) -> None:
    connection = Connection()
    connection.received(_frame())
    assert connection.late() == []
    sent, *more = connection.answered(_answer(is_proved=is_proved))
    assert sent == Send(Frame(b'0!'))
    assert [type(command) for command in more] == [Close] * (not is_proved)
