# SPDX-License-Identifier: Apache-2.0
"""Frames and the answers to them, with what these begin and end."""

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec

from zaqar.controllers.streams import StreamStart
from zaqar.objects import Scope
from zaqar.transport.page_turn_and_message_wait import Turn


@dataclass(slots=True)
class Frame:
    """A data frame: JSON in a text one, MessagePack in a binary one.

    :ivar may_wait: whether it may be postponed
    :ivar opened: its members and action, if they are decoded already
    """

    data: bytes
    is_binary: bool = False
    turn: Turn | None = None
    may_wait: bool = True
    opened: tuple[Mapping[str, msgspec.Raw], Any] | None = None

    def size(self) -> int:
        """Return the bytes that it holds."""
        return len(self.data)


@dataclass(frozen=True, slots=True)
class OwnedSubscription:
    """A subscription of a connection to itself.

    :ivar path: of the equivalent HTTP request, from ``/v2`` on, if the
        session's token authenticated it; '' for a signature
    """

    scope: Any
    id: str
    path: str = ''


@dataclass(frozen=True, slots=True)
class OwnedStream:
    """A stream of a connection.

    :ivar is_binary: the type of its frames
    :ivar path: see :class:`OwnedSubscription`
    """

    id: str
    start: StreamStart
    is_binary: bool
    path: str = ''

    @property
    def scope(self) -> Scope:
        return self.start.source.scope

    @property
    def ends_at(self) -> datetime.datetime | None:
        """When its signature expires, None if the session owns it."""
        return None if self.path else self.start.ends_at


@dataclass(slots=True)
class FrameAnswer:
    """The answer to a frame, and its effects on the session.

    :ivar is_proved: whether the frame has brought a token or a signature that
        is good
    :ivar expires_at: when the token ends that the frame has brought, in
        seconds since the epoch; None if it brought none
    :ivar project: of the frame, '' if unknown
    :ivar ended: subscriptions of the connection that the token may not have
    :ivar subscription: of the connection to itself, created by the frame
    :ivar stream: of the connection, begun by the frame
    :ivar ended_streams: of the connection, by their ids, with the reasons
        that the client is sent; '' where it has ended one itself
    :ivar turn: ends with this, unless it is missed
    :ivar frame: what is answered, if the turn is missed
    """

    data: bytes
    is_binary: bool
    is_proved: bool = False
    expires_at: float | None = None
    project: str = ''
    ended: Sequence[OwnedSubscription] = ()
    subscription: OwnedSubscription | None = None
    stream: OwnedStream | None = None
    ended_streams: Mapping[str, str] = field(default_factory=dict)
    turn: Turn | None = None
    frame: Frame | None = None
