# SPDX-License-Identifier: Apache-2.0
"""The state machine of a connection: no socket, no thread, no clock.

It is notified of events, and returns the commands to perform, in order. Frames
are handled one at a time, so that answers keep the order of requests; the
others wait, and if too many do, reading is paused. Those that wait for
messages are postponed meanwhile, and handled again when they are woken.

:source: reference/websocket, "Frames", "Authentication", "Pushes", "Execution"
"""

import collections
import enum
from collections.abc import Sequence
from typing import Protocol

from zaqar.transport.large_page_fairness import LARGE
from zaqar.transport.websocket.frame_and_answer_types import (
    Frame,
    FrameAnswer,
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
    Proceed,
    Reading,
    Send,
    Write,
)

#: Frames that may wait behind the one that is handled ...
DEEP = 16

#: ... and their bytes in total, beyond which reading is paused.
HEAVY = 1024 * 1024

#: Codes of close frames.
POLICY = 1008
RESTART = 1012
EXPIRED = 4003

_LATE = 'Not authenticated in time.'


class State(enum.Enum):
    """State of a connection.

    :cvar OPEN: it is served
    :cvar DRAINING: the frame that is handled is answered, then it is closed
    :cvar CLOSING: a close frame was sent or received
    :cvar LOST: it is closed
    """

    OPEN = 'open'
    DRAINING = 'draining'
    CLOSING = 'closing'
    LOST = 'lost'


#: States in which answers are sent.
_SERVED = (State.OPEN, State.DRAINING)


class ClientSocket(Protocol):
    """The socket of a connection, as the state machine uses it."""

    def send(self, frame: Frame) -> None:
        """Write a data frame."""

    def write(self, data: bytes) -> None:
        """Write data frames that are ready."""

    def ping(self) -> None:
        """Write a ping."""

    def read(self, on: bool) -> None:
        """Resume or pause reading."""

    def shut(self, code: int, reason: str) -> None:
        """Write a close frame."""

    def cut(self) -> None:
        """Abort the connection."""

    def unsent(self) -> int:
        """Return the bytes that the client has not read yet."""


class Pushed(enum.Enum):
    """Outcome of a push."""

    SENT = 'sent'
    GONE = 'gone'
    FULL = 'full'


class Connection:
    """The state machine of a connection.

    :ivar pushes_binary: the type of frames for pushes
    :ivar is_proved: whether a token or a signature has been accepted
    :ivar reads: whether the server reads what the client sends
    :param max_missed: pings that may stay unanswered, 0 for any number
    """

    def __init__(self, max_missed: int = 0) -> None:
        self.state = State.OPEN
        self.pushes_binary = False
        self.is_proved = False
        self._is_late = False
        self._max_missed = max_missed
        self._missed = 0
        self._waiting: collections.deque[Frame] = collections.deque()
        self._weight = 0
        self._works = False
        self._postponed = 0
        self.reads = True
        self._is_blocked = False
        self._subscriptions: list[OwnedSubscription] = []

    @property
    def has_subscriptions(self) -> bool:
        return bool(self._subscriptions)

    @property
    def is_served(self) -> bool:
        """Tell whether answers are sent."""
        return self.state in _SERVED

    @property
    def is_working(self) -> bool:
        """Tell whether a frame is being handled."""
        return self._works

    @property
    def _has_work(self) -> bool:
        return bool(self._postponed or self._waiting)

    def received(self, frame: Frame) -> list[Command]:
        if self.state is not State.OPEN:
            return []
        self._waiting.append(frame)
        self._weight += len(frame.data)
        return self.proceed()

    def answered(self, answer: FrameAnswer) -> list[Command]:
        """Handle the answer to the frame that was handled."""
        self._works = False
        if self.state not in _SERVED:
            created = answer.subscription
            return [Forget((created,))] if created else []
        commands = self._noted(answer)
        commands.append(Send(Frame(answer.data, answer.is_binary)))
        if self._is_late and not self.is_proved:
            return commands + self._close(POLICY, _LATE)
        if self.state is State.DRAINING and not self._has_work:
            return commands + self._close(RESTART, 'The server stops.')
        if answer.stream is not None:
            commands.append(BeginStream(answer.stream))
        if len(answer.data) >= LARGE:
            # Writing it tells whether the other end reads.
            return [*commands, Proceed()]
        return commands + self.proceed()

    def postponed(self, answer: FrameAnswer) -> list[Command]:
        """Handle that the frame that was handled waits for messages."""
        self._works = False
        self._postponed += 1
        return self._noted(answer) + self.proceed()

    def woken(self, frame: Frame) -> list[Command]:
        """Handle such a frame again, before all others."""
        self._postponed -= 1
        self._waiting.appendleft(frame)
        self._weight += len(frame.data)
        return self.proceed()

    def proceed(self) -> list[Command]:
        """Start with the next frame, and resume reading, if possible."""
        commands: list[Command] = []
        if self.state not in _SERVED:
            return commands
        if self._waiting and not (self._works or self._is_blocked):
            frame = self._waiting.popleft()
            self._weight -= len(frame.data)
            self._works = True
            commands.append(HandleFrame(frame))
        reads = (
            len(self._waiting) < DEEP
            and self._weight < HEAVY
            and not self._is_blocked
        )
        if reads is not self.reads:
            commands += self._reading(reads)
        return commands

    def pushed(self, write: Write) -> tuple[Pushed, list[Command]]:
        if self.state is not State.OPEN:
            return Pushed.GONE, []
        if not self._subscriptions and not self._works:
            return Pushed.GONE, []
        if self._is_blocked or not self._subscriptions:
            # Perhaps it is about to learn that it has subscribed.
            return Pushed.FULL, []
        return Pushed.SENT, [write]

    def blocked(self) -> list[Command]:
        """Handle that the client does not read."""
        self._is_blocked = True
        return self.proceed()

    def unblocked(self) -> list[Command]:
        """Handle that the client reads again."""
        self._is_blocked = False
        return self.proceed()

    def expired(self) -> list[Command]:
        """Handle that the token has expired."""
        if not self.is_served:
            return []
        return self._close(EXPIRED, 'The token has expired.')

    def late(self) -> list[Command]:
        """Handle the end of the time for authentication."""
        if self.is_proved or self.state is not State.OPEN:
            return []
        if self._works:
            # Perhaps this does.
            self._is_late = True
            return []
        return self._close(POLICY, _LATE)

    def heard(self) -> None:
        """Handle any sign of life of the client."""
        self._missed = 0

    def tick(self) -> list[Command]:
        """Send a ping, or give up; called once per interval."""
        if self.state is not State.OPEN or not self.reads:
            # Whom we do not listen to cannot answer.
            return []
        if self._max_missed and self._missed >= self._max_missed:
            return [Drop()]
        self._missed += 1
        return [Ping()]

    def drain(self) -> list[Command]:
        """Answer the frames that are handled or postponed, and close."""
        if self.state is not State.OPEN:
            return []
        woken = [frame for frame in self._waiting if frame.turn is not None]
        self._waiting = collections.deque(woken)
        if self._works or self._has_work:
            self.state = State.DRAINING
            return []
        return self._close(RESTART, 'The server stops.')

    def closing(self) -> list[Command]:
        """Handle that a close frame was sent or received."""
        if self.state is not State.LOST:
            self.state = State.CLOSING
        self._waiting.clear()
        return self._reading(True)

    def lost(self) -> list[Command]:
        self.state = State.LOST
        self._waiting.clear()
        return self._forget(self._subscriptions)

    def _reading(self, on: bool) -> list[Command]:
        if on is self.reads:
            return []
        self.reads = on
        return [Reading(on)]

    def _noted(self, answer: FrameAnswer) -> list[Command]:
        """Apply the effects of an answer on the session."""
        commands: list[Command] = []
        self.is_proved |= answer.is_proved
        if answer.expires_at is not None:
            commands += self._forget(answer.ended)
            commands.append(Expire(answer.expires_at))
        if answer.ended_streams:
            commands.append(EndStreams(answer.ended_streams))
        if answer.subscription is not None:
            self._subscriptions.append(answer.subscription)
            self.pushes_binary = answer.is_binary
        return commands

    def _forget(
        self, subscriptions: Sequence[OwnedSubscription]
    ) -> list[Command]:
        ended = set(subscriptions)
        self._subscriptions = [
            item for item in self._subscriptions if item not in ended
        ]
        return [Forget(subscriptions)] if subscriptions else []

    def _close(self, code: int, reason: str) -> list[Command]:
        self.state = State.CLOSING
        self._waiting.clear()
        return [*self._reading(True), Close(code, reason)]
