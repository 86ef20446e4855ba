# SPDX-License-Identifier: Apache-2.0
"""One open connection: its socket, state machine, session and timers."""

import asyncio
import collections
from collections.abc import Mapping
from dataclasses import dataclass, field

from zaqar.transport.page_turn_and_message_wait import Turn
from zaqar.transport.websocket.connection_state_machine import (
    ClientSocket,
    Connection,
)
from zaqar.transport.websocket.followed_queues_of_connection import (
    ConnectionStreams,
)
from zaqar.transport.websocket.frame_and_answer_types import Frame
from zaqar.transport.websocket.session import Session
from zaqar.transport.websocket.state_machine_commands import Command


@dataclass(slots=True, eq=False)
class OpenConnection:
    """An open connection.

    :ivar id: a UUID
    :ivar peer: address of the client
    :ivar todo: commands of the machine that are not performed yet
    :ivar project: that of the last answer
    :ivar unread: bytes that waited for the client when it stopped reading
    :ivar postponed: turns of frames that wait for messages, until answered
    :ivar passed_on: frames whose turn came while another one was handled
    :ivar streams: those that are sent, None before the first
    :ivar login_timer: closes it unless the client authenticates
    :ivar read_timer: closes it unless the client reads
    :ivar expiry_timer: ends what its credentials allow
    :ivar pulse_timer: sends the next ping
    """

    id: str
    socket: ClientSocket
    peer: str
    machine: Connection
    session: Session
    todo: collections.deque[Command] = field(default_factory=collections.deque)
    is_busy: bool = False
    project: str = ''
    unread: int = 0
    postponed: dict[int, Turn] = field(default_factory=dict)
    passed_on: list[tuple[Frame, Turn]] = field(default_factory=list)
    streams: ConnectionStreams | None = None
    read_timer: asyncio.TimerHandle | None = None
    expiry_timer: asyncio.TimerHandle | None = None
    login_timer: asyncio.TimerHandle | None = None
    pulse_timer: asyncio.TimerHandle | None = None

    def leave_queues(self) -> None:
        """Wait for messages no longer, and follow no queue."""
        for turn in list(self.postponed.values()):
            turn.give_up()
        if self.streams is not None:
            self.streams.close()

    def give_up_turns(self) -> None:
        """Let others go first for all frames whose turn has come."""
        for turn in list(self.postponed.values()):
            if not turn.is_postponed:
                turn.give_up()

    def end_streams(self, reasons: Mapping[str, str]) -> None:
        """End some streams; see :meth:`ConnectionStreams.end`."""
        if self.streams is not None:
            self.streams.end(reasons)

    def block_streams(self, on: bool) -> None:
        """Handle that the client reads too slowly, or reads again."""
        if self.streams is not None:
            self.streams.block(on)

    def cancel_timers(self) -> None:
        """Cancel those of an open connection."""
        for timer in (self.expiry_timer, self.login_timer, self.pulse_timer):
            if timer is not None:
                timer.cancel()
