# SPDX-License-Identifier: Apache-2.0
"""All open connections of a process, and the commands to them."""

import asyncio
import functools
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zaqar.transport.large_page_fairness import Job
from zaqar.transport.page_turn_and_message_wait import Turn
from zaqar.transport.websocket import frame_greenlets
from zaqar.transport.websocket.api_requests_over_http import HttpRequests
from zaqar.transport.websocket.client_address_behind_proxies import (
    client_address,
)
from zaqar.transport.websocket.connection_limits import Admission
from zaqar.transport.websocket.connection_state_machine import (
    RESTART,
    ClientSocket,
    Connection,
)
from zaqar.transport.websocket.connection_with_session_and_timers import (
    OpenConnection,
)
from zaqar.transport.websocket.followed_queues_of_connection import (
    ConnectionStreams,
)
from zaqar.transport.websocket.frame_and_answer_types import Frame, FrameAnswer
from zaqar.transport.websocket.frame_greenlets import FrameGreenlets
from zaqar.transport.websocket.frame_handler import FrameHandler
from zaqar.transport.websocket.queue_feeds import QueueFeeds
from zaqar.transport.websocket.settings import Settings
from zaqar.transport.websocket.slow_readers import SlowReaders
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
    Proceed,
    Reading,
    Send,
    Write,
)
from zaqar.transport.websocket.subscription_cleanup import SubscriptionCleanup
from zaqar.transport.websocket.worker_threads import Workers

#: Frames of a connection that may wait for messages; more do not wait.
MOST_POSTPONED = 100


class Connections:
    """Performs the commands that state machines of connections return.

    :param watch: called with the number of connections when it changes
    """

    def __init__(
        self,
        handler: FrameHandler,
        settings: Settings,
        workers: Workers,
        loop: asyncio.AbstractEventLoop,
        watch: Callable[[int], None] | None = None,
    ) -> None:
        self.handler = handler
        self._watch = watch
        self.settings = settings
        self.workers = workers
        self._loop = loop
        self._by_id: dict[str, OpenConnection] = {}
        #: Both are set before any connection is accepted.
        self.http: HttpRequests | None = None
        self.feeds: QueueFeeds | None = None
        #: Answer what is fit for them, if the stores are.
        self.greenlets: FrameGreenlets | None = None
        #: Whether a connection has to prove who it is.
        self.proves: bool = handler.authenticator.proves
        self.admission = Admission(settings, self.proves)
        self._slow = SlowReaders(settings, handler.turns, loop)
        self._cleanup = SubscriptionCleanup(handler, workers, loop)
        self._does: Mapping[type, Callable[[OpenConnection, Any], None]] = {
            HandleFrame: self._call,
            Proceed: lambda one, command: one.todo.extend(
                one.machine.proceed()
            ),
            Send: lambda one, command: one.socket.send(command.frame),
            Write: lambda one, command: one.socket.write(command.data),
            Reading: lambda one, command: one.socket.read(command.on),
            Expire: self._schedule_expiry,
            Ping: lambda one, command: one.socket.ping(),
            Close: self._close,
            Drop: lambda one, command: one.socket.cut(),
            Forget: lambda one, command: self._cleanup.remove(
                command.subscriptions
            ),
            BeginStream: self._begin_stream,
            EndStreams: lambda one, command: one.end_streams(command.reasons),
        }

    def __len__(self) -> int:
        return len(self._by_id)

    @property
    def is_quiet(self) -> bool:
        """Tell whether no work is left."""
        greenlets = self.greenlets
        return (
            not self._by_id
            and self._cleanup.is_done
            and (greenlets is None or greenlets.are_idle)
        )

    def refusal(
        self, connection: OpenConnection, headers: Mapping[str, str]
    ) -> int:
        """Count a connection for its client, behind whatever we trust.

        :param headers: by their names in small letters
        :returns: the HTTP status if there are too many, else 0
        """
        if self.admission.is_full(len(self)):
            return 503
        address = client_address(
            connection.peer, headers, self.settings.trusted_proxies
        )
        self.admission.remove(connection.peer)
        connection.peer = address
        self.admission.add(address)
        return 429 if self.admission.is_crowded(address) else 0

    def join(self, socket: ClientSocket, peer: str) -> OpenConnection:
        connection_id = str(uuid.uuid4())
        connection = OpenConnection(
            connection_id,
            socket,
            peer,
            Connection(self.settings.max_missed),
            self.handler.session(connection_id),
        )
        self._by_id[connection.id] = connection
        self.admission.add(peer)
        self._tell()
        return connection

    def _tell(self) -> None:
        if self._watch is not None:
            self._watch(len(self._by_id))

    def opened(self, connection: OpenConnection) -> None:
        patience = self.settings.authentication_timeout
        if self.proves and patience:
            connection.login_timer = self._loop.call_later(
                patience, self._late, connection
            )
        if self.settings.ping_interval:
            self._schedule_pulse(connection)

    def left(self, connection: OpenConnection) -> None:
        if self._by_id.pop(connection.id, None) is None:
            return
        self._tell()
        connection.session.place.close()
        self._slow.remove(connection)
        connection.cancel_timers()
        connection.leave_queues()
        if not connection.machine.is_proved:
            self.admission.remove(connection.peer)
        self.perform(connection, connection.machine.lost())

    def perform(
        self, connection: OpenConnection, commands: Sequence[Command]
    ) -> None:
        """Perform commands, in order."""
        connection.todo.extend(commands)
        if connection.is_busy:
            # What is being done has come back to us: a write that blocks.
            # That comes after what was wanted before.
            return
        connection.is_busy = True
        try:
            while connection.todo:
                command = connection.todo.popleft()
                self._does[type(command)](connection, command)
        finally:
            connection.is_busy = False

    def blocked(self, connection: OpenConnection) -> None:
        self.perform(connection, connection.machine.blocked())
        self._slow.add(connection)
        connection.block_streams(True)
        # Others must not wait until the client reads again.
        connection.give_up_turns()

    def unblocked(self, connection: OpenConnection) -> None:
        self._slow.remove(connection)
        self.perform(connection, connection.machine.unblocked())
        connection.block_streams(False)

    def closing(self, connection: OpenConnection) -> None:
        connection.leave_queues()
        self.perform(connection, connection.machine.closing())
        self._slow.limit_time(connection)

    def get(self, connection_id: str) -> OpenConnection | None:
        """Return an open connection, None if there is none."""
        return self._by_id.get(connection_id)

    def now(self) -> float:
        return self._loop.time()

    def soon(self, call: Callable[[], None]) -> None:
        self._loop.call_soon(call)

    def drain(self) -> None:
        """Close all connections after their current frame."""
        for connection in list(self._by_id.values()):
            self.perform(connection, connection.machine.drain())

    def renew(self) -> None:
        """Close connections whose subscriptions may have been lost."""
        for connection in list(self._by_id.values()):
            if connection.machine.has_subscriptions:
                connection.socket.shut(
                    RESTART, 'Subscriptions may have been lost.'
                )

    def _close(self, connection: OpenConnection, command: Close) -> None:
        connection.leave_queues()
        connection.socket.shut(command.code, command.reason)

    def _begin_stream(
        self, connection: OpenConnection, command: BeginStream
    ) -> None:
        if not connection.machine.is_served or self.feeds is None:
            return
        if connection.streams is None:
            connection.streams = ConnectionStreams(
                connection.socket,
                connection.session.streams,
                self.feeds,
                self._loop,
                self.settings.max_unacknowledged,
                connection in self._slow,
            )
        connection.streams.begin(command.stream)

    def _call(self, connection: OpenConnection, command: HandleFrame) -> None:
        frame = command.frame
        frame.may_wait = (
            frame.turn is not None
            or len(connection.postponed) < MOST_POSTPONED
        )
        greenlets = self.greenlets
        submit = (
            self.workers.submit
            if greenlets is None or not frame_greenlets.fits(frame)
            else greenlets.submit
        )
        submit(
            functools.partial(self.handler.answer, connection.session, frame),
            functools.partial(self.answered, connection),
            connection.project or connection.peer,
        )

    def answered(
        self, connection: OpenConnection, answer: FrameAnswer
    ) -> None:
        """Handle the answer to a frame, or queue the frame for its turn."""
        turn, frame = answer.turn, answer.frame
        if connection.passed_on and (
            frame is None or (turn is not None and turn.is_postponed)
        ):
            self._come_back(connection)
        if turn is not None and frame is not None:
            if turn.is_postponed:
                if not connection.machine.is_served:
                    self._later(turn.end())
                    return
                connection.postponed[id(turn)] = turn
                self._noted(connection, answer, connection.machine.postponed)
            wait = functools.partial(self._resume, connection, frame, turn)
            self._later(turn.wait(wait))
            return
        try:
            self._noted(connection, answer, connection.machine.answered)
        finally:
            if turn is not None:
                connection.postponed.pop(id(turn), None)
                self._later(turn.end())

    def _resume(
        self, connection: OpenConnection, frame: Frame, turn: Turn
    ) -> None:
        """Handle a frame whose turn has come, or let others go first."""
        if connection.machine.is_working and turn.pass_on():
            connection.passed_on.append((frame, turn))
        else:
            self._handle_again(connection, frame, turn)

    def _come_back(self, connection: OpenConnection) -> None:
        """Handle the first frame that has let others go first, if it can."""
        while connection.passed_on:
            frame, turn = connection.passed_on.pop(0)
            resume = functools.partial(self._resume, connection, frame, turn)
            if turn.come_back(resume):
                self._handle_again(connection, frame, turn)
                if connection.machine.is_served:
                    return

    def _handle_again(
        self, connection: OpenConnection, frame: Frame, turn: Turn
    ) -> None:
        is_postponed = turn.is_postponed
        turn.resume()
        frame.turn = turn
        if not connection.machine.is_served:
            # Messages that it took from a queue would be lost.
            self._later(turn.end())
        elif not is_postponed:
            self._call(connection, HandleFrame(frame))
        else:
            if connection in self._slow:
                # Others must not wait until the client reads again.
                turn.give_up()
            self.perform(connection, connection.machine.woken(frame))

    def _later(self, job: Job | None) -> None:
        if job is not None:
            self.soon(job)

    def _noted(
        self,
        connection: OpenConnection,
        answer: FrameAnswer,
        note: Callable[[FrameAnswer], Sequence[Command]],
    ) -> None:
        """Note what an answer says of its connection, and let that go on."""
        was_proved = connection.machine.is_proved
        self.note_project(connection, answer.project)
        commands = note(answer)
        if connection.machine.is_proved and not was_proved:
            self._is_proved(connection)
        self.perform(connection, commands)

    def note_project(self, connection: OpenConnection, project: str) -> None:
        """Note whom the next answer is for, '' if that is not known."""
        if connection in self._slow:
            self._slow.check_soon(connection)
        elif project:
            connection.project = project

    def prove(self, connection: OpenConnection) -> None:
        """Note that a connection has shown credentials."""
        if not connection.machine.is_proved:
            connection.machine.is_proved = True
            self._is_proved(connection)

    def _is_proved(self, connection: OpenConnection) -> None:
        self.admission.remove(connection.peer)
        if connection.login_timer is not None:
            connection.login_timer.cancel()

    def _schedule_expiry(
        self, connection: OpenConnection, command: Expire
    ) -> None:
        if connection.expiry_timer is not None:
            connection.expiry_timer.cancel()
        if connection.id in self._by_id:
            connection.expiry_timer = self._loop.call_later(
                max(0.0, command.at - time.time()), self._expire, connection
            )

    def _late(self, connection: OpenConnection) -> None:
        self.perform(connection, connection.machine.late())

    def _expire(self, connection: OpenConnection) -> None:
        self.perform(connection, connection.machine.expired())

    def _schedule_pulse(self, connection: OpenConnection) -> None:
        connection.pulse_timer = self._loop.call_later(
            self.settings.ping_interval, self._pulse, connection
        )

    def _pulse(self, connection: OpenConnection) -> None:
        self.perform(connection, connection.machine.tick())
        if connection.id in self._by_id:
            self._schedule_pulse(connection)
