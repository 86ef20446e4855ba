# SPDX-License-Identifier: Apache-2.0
"""One connection as a state machine: no socket, no thread, no clock.

Told what has happened, it returns what is to be done, in order. One frame at
a time is worked on, so that answers keep the order of requests; the others
wait, and when enough of them do, nothing more is read.

:source: reference/websocket, "Frames", "Authentication", "Pushes", "Execution"
"""

from __future__ import annotations

import collections
import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from zaqar.transport.turns import LARGE, Turn

#: Frames that may wait behind the one that is worked on ...
DEEP = 16

#: ... and the bytes of all of them, beyond which nothing more is read.
HEAVY = 1024 * 1024

#: Codes of close frames.
POLICY = 1008
RESTART = 1012
EXPIRED = 4003


_LATE = 'Not authenticated in time.'


class State(enum.Enum):
    """How far a connection has come.

    :cvar OPEN: it is served
    :cvar DRAINING: what is worked on is answered, then it is closed
    :cvar CLOSING: a close frame is on its way, one way or the other
    :cvar LOST: nobody is there any more
    """

    OPEN = 'open'
    DRAINING = 'draining'
    CLOSING = 'closing'
    LOST = 'lost'


@dataclass(slots=True)
class Frame:
    """A data frame: JSON in a text one, MessagePack in a binary one.

    :ivar turn: the one that it has waited for
    """

    data: bytes
    is_binary: bool = False
    turn: Turn | None = None


@dataclass(frozen=True, slots=True)
class Own:
    """A subscription that a connection has made for itself.

    :ivar path: where the session's token was used to make it, from ``/v2``
        on; '' if a signature was
    """

    scope: Any
    id: str
    path: str = ''


@dataclass(slots=True)
class Answer:
    """What came of a frame.

    :ivar is_proved: whether the frame has brought a token or a signature that
        is good
    :ivar expires_at: when the token ends that the frame has brought, in
        seconds since the epoch; None if it brought none
    :ivar project: whom it is for, '' if that is not known
    :ivar ended: subscriptions of the connection that the token may not have
    :ivar own: the subscription that the frame has made
    :ivar turn: ends with this, unless it is missed
    :ivar frame: what is answered, if the turn is missed
    """

    data: bytes
    is_binary: bool
    is_proved: bool = False
    expires_at: float | None = None
    project: str = ''
    ended: Sequence[Own] = ()
    own: Own | None = None
    turn: Turn | None = None
    frame: Frame | None = None


@dataclass(slots=True)
class Call:
    """Have a frame answered, by another thread."""

    frame: Frame


@dataclass(frozen=True, slots=True)
class Proceed:
    """Ask :meth:`Connection.proceed` what to do, after all else is done."""


@dataclass(slots=True)
class Send:
    """Write a frame."""

    frame: Frame


@dataclass(frozen=True, slots=True)
class Reading:
    """Read on, or stop reading."""

    on: bool


@dataclass(frozen=True, slots=True)
class Expire:
    """Tell when this moment has come, instead of any other before."""

    at: float


@dataclass(frozen=True, slots=True)
class Ping:
    """Ask whether somebody is there."""


@dataclass(frozen=True, slots=True)
class Close:
    """Send a close frame, and nothing after it."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Drop:
    """Cut the connection."""


@dataclass(frozen=True, slots=True)
class Forget:
    """End subscriptions."""

    owns: Sequence[Own]


Effect = (
    Call | Proceed | Send | Reading | Expire | Ping | Close | Drop | Forget
)


class Wire(Protocol):
    """What a connection is written to."""

    def send(self, frame: Frame) -> None:
        """Write a data frame."""

    def ping(self) -> None:
        """Write a ping."""

    def read(self, on: bool) -> None:
        """Read on, or stop reading."""

    def shut(self, code: int, reason: str) -> None:
        """Write a close frame."""

    def cut(self) -> None:
        """End the connection at once."""

    def unsent(self) -> int:
        """Return the bytes that wait for the other end."""


class Pushed(enum.Enum):
    """What became of a push."""

    SENT = 'sent'
    GONE = 'gone'
    FULL = 'full'


class Connection:
    """What is known of a connection, and nothing of it survives.

    :ivar pushes_binary: the type of frames for pushes
    :ivar is_proved: whether a token or a signature has been accepted
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
        self._reads = True
        self._is_blocked = False
        self._owns: list[Own] = []

    @property
    def has_owns(self) -> bool:
        """Tell whether the connection has subscribed itself."""
        return bool(self._owns)

    @property
    def reads(self) -> bool:
        """Tell whether more frames are wanted."""
        return self._reads

    def received(self, frame: Frame) -> list[Effect]:
        """Take a frame."""
        if self.state is not State.OPEN:
            return []
        self._waiting.append(frame)
        self._weight += len(frame.data)
        return self.proceed()

    def answered(self, answer: Answer) -> list[Effect]:
        """Take the answer to the frame that was worked on."""
        self._works = False
        if self.state in (State.CLOSING, State.LOST):
            return [Forget((answer.own,))] if answer.own else []
        effects = self._noted(answer)
        effects.append(Send(Frame(answer.data, answer.is_binary)))
        if self._is_late and not self.is_proved:
            return effects + self._close(POLICY, _LATE)
        if self.state is State.DRAINING:
            return effects + self._close(RESTART, 'The server stops.')
        if len(answer.data) >= LARGE:
            # Writing it tells whether the other end reads.
            return [*effects, Proceed()]
        return effects + self.proceed()

    def proceed(self) -> list[Effect]:
        """Have the next frame answered, and read more, if that is wanted."""
        effects: list[Effect] = []
        if self.state is not State.OPEN:
            return effects
        if self._waiting and not (self._works or self._is_blocked):
            frame = self._waiting.popleft()
            self._weight -= len(frame.data)
            self._works = True
            effects.append(Call(frame))
        has_room = len(self._waiting) < DEEP and self._weight < HEAVY
        return effects + self._reading(has_room and not self._is_blocked)

    def pushed(self, frame: Frame) -> tuple[Pushed, list[Effect]]:
        """Take a message for the other end."""
        if self.state is not State.OPEN:
            return Pushed.GONE, []
        if not self._owns and not self._works:
            return Pushed.GONE, []
        if self._is_blocked or not self._owns:
            # Perhaps it is about to learn that it has subscribed.
            return Pushed.FULL, []
        return Pushed.SENT, [Send(frame)]

    def blocked(self) -> list[Effect]:
        """Note that the other end does not take what is written."""
        self._is_blocked = True
        return self.proceed()

    def unblocked(self) -> list[Effect]:
        """Note that it does again."""
        self._is_blocked = False
        return self.proceed()

    def expired(self) -> list[Effect]:
        """Note that the token has come to its end."""
        if self.state in (State.CLOSING, State.LOST):
            return []
        return self._close(EXPIRED, 'The token has expired.')

    def late(self) -> list[Effect]:
        """Note that the time is up to prove who is there."""
        if self.is_proved or self.state is not State.OPEN:
            return []
        if self._works:
            # Perhaps this does.
            self._is_late = True
            return []
        return self._close(POLICY, _LATE)

    def heard(self) -> None:
        """Note that something came from the other end."""
        self._missed = 0

    def tick(self) -> list[Effect]:
        """Ask whether somebody is there; called once per interval."""
        if self.state is not State.OPEN or not self._reads:
            # Whom we do not listen to cannot answer.
            return []
        if self._max_missed and self._missed >= self._max_missed:
            return [Drop()]
        self._missed += 1
        return [Ping()]

    def drain(self) -> list[Effect]:
        """Stop: answer what is worked on, and close."""
        if self.state is not State.OPEN:
            return []
        if self._works:
            self.state = State.DRAINING
            self._waiting.clear()
            return []
        return self._close(RESTART, 'The server stops.')

    def closing(self) -> list[Effect]:
        """Note that a close frame is on its way."""
        if self.state is not State.LOST:
            self.state = State.CLOSING
        self._waiting.clear()
        return self._reading(True)

    def lost(self) -> list[Effect]:
        """Note that the connection is no more."""
        self.state = State.LOST
        self._waiting.clear()
        return self._forget(self._owns)

    def _reading(self, on: bool) -> list[Effect]:
        if on is self._reads:
            return []
        self._reads = on
        return [Reading(on)]

    def _noted(self, answer: Answer) -> list[Effect]:
        """Note what an answer changes."""
        effects: list[Effect] = []
        self.is_proved |= answer.is_proved
        if answer.expires_at is not None:
            effects += self._forget(answer.ended)
            effects.append(Expire(answer.expires_at))
        if answer.own is not None:
            self._owns.append(answer.own)
            self.pushes_binary = answer.is_binary
        return effects

    def _forget(self, owns: Sequence[Own]) -> list[Effect]:
        """End subscriptions of the connection."""
        ended = set(owns)
        self._owns = [own for own in self._owns if own not in ended]
        return [Forget(owns)] if owns else []

    def _close(self, code: int, reason: str) -> list[Effect]:
        self.state = State.CLOSING
        self._waiting.clear()
        return [*self._reading(True), Close(code, reason)]
