# SPDX-License-Identifier: Apache-2.0
"""The interface of senders, which make single delivery attempts.

A sender serves some schemes of subscriber URIs. An entry point of the group
``zaqar.notification``, named as the scheme, names a function that takes
:class:`~zaqar.notification.settings.NotificationSettings` and returns the
sender; one object serves all its schemes. It has no state that matters:
deliveries are repeated after a crash, so a receiver may be notified twice.

``send`` may be a coroutine function: then it runs on the event loop of the
notifier, which it must never block, many times at once. It may be a plain
function instead: then it is called in one of :data:`THREADS` threads of its
scheme. Neither is called twice at a time for one delivery.
"""

import enum
import functools
from collections.abc import Awaitable, Mapping
from typing import Any, Protocol

import msgspec

#: Threads of each scheme whose ``send`` function is a plain one.
THREADS = 16


@functools.lru_cache(1000)
def _scheme(subscriber: str) -> str:
    return subscriber.partition(':')[0].lower()


class Delivery(msgspec.Struct, frozen=True):
    """One message, or one request for confirmation, for one subscriber.

    :ivar id: the same in all attempts
    :ivar queue: name of the queue or topic
    :ivar subscription: id of the subscription
    :ivar subscriber: its URI
    :ivar options: of the subscription, ``trust_id`` among them
    :ivar body: JSON text to send
    :ivar attempt: 1 for the first one
    :ivar first_at: when the first attempt was due, in milliseconds
    :ivar confirmation: it requests a confirmation and carries no message
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

    @property
    def scheme(self) -> str:
        """The scheme of the subscriber, in lower case."""
        return _scheme(self.subscriber)


class Verdict(enum.Enum):
    """The kind of result of an attempt.

    :cvar DELIVERED: the subscriber has it
    :cvar RETRY: it failed; the policy says when to retry
    :cvar REFUSED: it failed for good and is given up
    :cvar GONE: the subscriber says that it is gone; given up, and after a day
        of nothing else the subscription is removed
    """

    DELIVERED = 'delivered'
    RETRY = 'retry'
    REFUSED = 'refused'
    GONE = 'gone'


class Outcome(msgspec.Struct, frozen=True):
    """The result of an attempt.

    :ivar reason: for the owner of the subscription: a few words, '' on
        success, without secrets and without facts about the network of the
        service
    :ivar detail: more for the log of the operator
    :ivar status: that of the HTTP response, 0 without one
    :ivar retry_after: seconds that the receiver asks to wait
    :ivar confirmed: the receiver has confirmed the subscription
    """

    verdict: Verdict
    reason: str = ''
    retry_after: int | None = None
    confirmed: bool = False
    detail: str = ''
    status: int = 0


class Sender(Protocol):
    """Notifies subscribers of some schemes."""

    schemes: tuple[str, ...]

    def send(
        self, delivery: Delivery, *, now: int
    ) -> Outcome | Awaitable[Outcome]:
        """Make one attempt, within a bounded time.

        Failures are outcomes. An exception is a bug and taken for
        :attr:`Verdict.RETRY`.

        :param now: milliseconds by the clock of the store
        """

    def close(self) -> None:
        """Close connections; called on the event loop, after all attempts."""
