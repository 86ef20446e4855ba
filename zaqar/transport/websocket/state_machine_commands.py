# SPDX-License-Identifier: Apache-2.0
"""Commands of the state machine of a connection to who owns its socket."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from zaqar.transport.websocket.frame_and_answer_types import (
    Frame,
    OwnedStream,
    OwnedSubscription,
)


@dataclass(slots=True)
class HandleFrame:
    """Handle a frame, on another thread or in a greenlet."""

    frame: Frame


@dataclass(frozen=True, slots=True)
class Proceed:
    """Ask :meth:`Connection.proceed` what to do, after all else is done."""


@dataclass(slots=True)
class Send:
    """Write a frame."""

    frame: Frame


@dataclass(frozen=True, slots=True)
class Write:
    """Write frames that are ready, the same to many connections."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Reading:
    """Resume or pause reading."""

    on: bool


@dataclass(frozen=True, slots=True)
class Expire:
    """Set the timer of the token's expiry."""

    at: float


@dataclass(frozen=True, slots=True)
class Ping:
    """Send a ping."""


@dataclass(frozen=True, slots=True)
class Close:
    """Send a close frame, and nothing after it."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Drop:
    """Abort the connection."""


@dataclass(frozen=True, slots=True)
class Forget:
    """Delete subscriptions."""

    subscriptions: Sequence[OwnedSubscription]


@dataclass(frozen=True, slots=True)
class BeginStream:
    """Follow a queue."""

    stream: OwnedStream


@dataclass(frozen=True, slots=True)
class EndStreams:
    """Follow queues no longer; see :class:`FrameAnswer`."""

    reasons: Mapping[str, str]


Command = (
    HandleFrame
    | Proceed
    | Send
    | Write
    | Reading
    | Expire
    | Ping
    | Close
    | Drop
    | Forget
    | BeginStream
    | EndStreams
)
