# SPDX-License-Identifier: Apache-2.0
"""A pending delivery that this process has claimed."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from zaqar.models import NewMessage, Subscription
from zaqar.notification.decision import DeadLetter, Remove
from zaqar.notification.pending_delivery import PendingDelivery
from zaqar.notification.sender_interface import Delivery, Outcome
from zaqar.storage.base import MessageStore

#: Seconds after which the claims of a dead process lapse.
LEASE = 30

#: Bytes of messages that count as much as a job.
UNIT = 32 * 1024


@dataclass(slots=True, eq=False)
class Lease:
    """A claim, and the deliveries under it that are not finished.

    :ivar open: these, with their weights
    :ivar is_lost: it has lapsed; other notifiers may have its messages
    :ivar left: messages to release
    :ivar notices: those whose deliveries these are; else they are stored
    """

    claim_id: str
    renewed_at: int
    open: dict[str, int] = field(default_factory=dict)
    left: set[str] = field(default_factory=set)
    is_lost: bool = False
    notices: list[ClaimedNotice] = field(default_factory=list)

    def finish(self, ids: Iterable[str]) -> None:
        """Note messages that are finished."""
        for one in ids:
            self.open.pop(one, None)


@dataclass(slots=True, eq=False)
class ClaimedNotice:
    """A claimed notice whose deliveries are made without being stored.

    :ivar open: those that are not finished
    :ivar is_lost: the claim has lapsed; other notifiers may have it
    """

    id: str
    claim_id: str
    project: str
    open: set[ClaimedDelivery] = field(default_factory=set)
    is_lost: bool = False

    @property
    def weight(self) -> int:
        """Weight of those that are not made yet, and not slow either."""
        return sum(
            job.weight
            for job in self.open
            if not (job.is_slow or job.is_decided)
        )


@dataclass(frozen=True, slots=True)
class Attempted:
    """An attempt that was made.

    :ivar seconds: that it took
    :ivar is_sent: False if it was refused before anything was sent
    """

    subscription: Subscription
    delivery: Delivery
    outcome: Outcome
    seconds: float = 0.0
    is_sent: bool = False


@dataclass(slots=True)
class GivenUp:
    """A message that is given up.

    :ivar place: its index in the pending delivery
    :ivar at: when that was decided, in milliseconds
    :ivar stored_copy: where it is kept to be sent again
    """

    place: int
    last: Attempted
    decision: DeadLetter | Remove
    at: int
    stored_copy: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True, eq=False)
class ClaimedDelivery:
    """A claimed pending delivery, and how far it has got.

    :ivar message_id: in the store, unless it has a notice
    :ivar notice: that of which it is made, if it is not stored
    :ivar place: index of the next message
    :ivar attempt: number of the next attempt
    :ivar pool: the name of that of its store
    :ivar held_bytes: of its messages, or of its share of those of a notice
    :ivar given_up: messages that are given up, by their index
    :ivar confirms: the subscriber has confirmed its subscription
    :ivar replacements: what is to be stored in its place
    :ivar left: the bytes that these are to deliver
    :ivar is_slow: an attempt takes long
    :ivar is_decided: only what follows from its attempts is to be written
    """

    pending: PendingDelivery
    message_id: str
    lease: Lease
    store: MessageStore
    notice: ClaimedNotice | None = None
    place: int = 0
    attempt: int = 1
    pool: str = ''
    held_bytes: int = 0
    given_up: deque[GivenUp] = field(default_factory=deque)
    confirms: bool = False
    replacements: list[NewMessage] = field(default_factory=list)
    left: int = 0
    is_slow: bool = False
    is_decided: bool = False

    @property
    def host(self) -> str:
        """The host that the scheduler queues it for."""
        return self.pending.host

    @property
    def project(self) -> str:
        """The project that it counts for."""
        return self.pending.project

    @property
    def is_stored(self) -> bool:
        """Whether it need not be stored if its host makes it wait."""
        return self.notice is None

    @property
    def stored_bytes(self) -> int:
        """The bytes that it counts for, as long as it is stored."""
        return self.pending.size if self.is_stored else 0

    @property
    def is_lost(self) -> bool:
        """Whether other notifiers may have it."""
        return (self.notice or self.lease).is_lost

    @property
    def weight(self) -> int:
        """What it counts for: one, and more for long messages."""
        return 1 + self.held_bytes // UNIT

    def replace(self, pending: PendingDelivery, record: NewMessage) -> None:
        """Have something stored in its place, as it is encoded."""
        self.replacements.append(record)
        self.left += pending.size

    def advance(self) -> bool:
        """Go on to the next message; return whether there is one."""
        self.place += 1
        self.attempt = 1
        return self.place < len(self.pending.messages)
