# SPDX-License-Identifier: Apache-2.0
"""What a sender owes: one attempt to tell a subscriber.

A sender serves some schemes of subscriber URIs. An entry point of the group
``zaqar.notification``, named as the scheme, names a function that takes
:class:`~zaqar.notification.settings.Settings` and returns the sender; one
object serves all its schemes. It is called by many threads at once, never
twice at a time for one delivery. It keeps no state that matters: deliveries
are repeated after a crash, so a receiver may be told twice.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Delivery:
    """One message, or one confirmation notice, for one subscriber.

    :ivar id: the same over all attempts
    :ivar queue: name of the queue or topic
    :ivar subscription: id of the subscription
    :ivar subscriber: its URI
    :ivar options: of the subscription, ``trust_id`` among them
    :ivar body: JSON text to send
    :ivar attempt: 1 for the first one
    :ivar first_at: when the first attempt was due, in milliseconds
    :ivar confirmation: it asks whether to subscribe, and carries no message
    :ivar sealed: the queue's messages are encrypted at rest
    """

    id: str
    project: str
    queue: str
    subscription: str
    subscriber: str
    options: Mapping[str, Any]
    body: bytes
    attempt: int = 1
    first_at: int = 0
    confirmation: bool = False
    sealed: bool = False


class Verdict(enum.Enum):
    """What came of an attempt.

    :cvar DELIVERED: the subscriber has it
    :cvar RETRY: not now; the policy says when again
    :cvar REFUSED: never; it is given up
    :cvar GONE: nobody is there, and nobody will be: given up; a subscriber
        that says nothing else for a day loses its subscription
    """

    DELIVERED = 'delivered'
    RETRY = 'retry'
    REFUSED = 'refused'
    GONE = 'gone'


@dataclass(frozen=True, slots=True)
class Outcome:
    """A verdict with its circumstances.

    :ivar reason: for the owner of the subscription: a few words without
        secrets, '' on success; nothing that the network of the service is
        explored by
    :ivar detail: what the operator's log says beyond that
    :ivar retry_after: seconds the receiver wants to be left alone
    :ivar confirmed: a receiver of a confirmation notice has answered yes
    """

    verdict: Verdict
    reason: str = ''
    retry_after: int | None = None
    confirmed: bool = False
    detail: str = ''


class Sender(Protocol):
    """Tells subscribers of some schemes."""

    schemes: tuple[str, ...]

    def send(self, delivery: Delivery, *, now: int) -> Outcome:
        """Make one attempt, within a bounded time.

        Whatever fails on the way is an outcome; an exception is a bug, and
        taken for :attr:`Verdict.RETRY`.

        :param now: milliseconds by the clock of the store
        """

    def close(self) -> None:
        """Give back connections. The sender is not used again."""
