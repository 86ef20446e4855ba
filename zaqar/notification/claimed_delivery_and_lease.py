# SPDX-License-Identifier: Apache-2.0
"""A claimed pending delivery: its lease, and the attempts made of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from zaqar.controllers.delivery_attempt_history import Attempt
from zaqar.controllers.delivery_attempt_history import Outcome as Result
from zaqar.notification.delivery_decision import DeadLetter, Remove
from zaqar.notification.pending_delivery import PendingDelivery
from zaqar.notification.sender_interface import Delivery, Outcome
from zaqar.objects import NewMessage, Subscription
from zaqar.storage.abstract_stores import PENDING, MessageStore

#: Seconds after which the claims of a dead process lapse.
LEASE = 30

#: Bytes of messages that count as much as a job.
UNIT = 32 * 1024


@dataclass(slots=True, eq=False)
class Lease:
    """A claim on pending deliveries, or on notices in their place.

    :ivar qid: the queue of what is claimed
    :ivar open: by the id of each claimed message, its unfinished deliveries
    :ivar left: messages to release
    :ivar weight: that of the unfinished deliveries
    """

    qid: str
    claim_id: str
    renewed_at: int
    left: set[str] = field(default_factory=set)
    open: dict[str, set[ClaimedDelivery]] = field(default_factory=dict)
    weight: int = 0

    def add(self, job: ClaimedDelivery) -> None:
        """Note a delivery that is to be made."""
        self.left.discard(job.claimed_id)
        self.open.setdefault(job.claimed_id, set()).add(job)
        self.weight += job.weight

    def finish(self, job: ClaimedDelivery) -> None:
        """Note a delivery that is finished."""
        if not job.is_lost:
            jobs = self.open[job.claimed_id]
            jobs.discard(job)
            self.weight -= job.weight
            if not jobs:
                del self.open[job.claimed_id]

    def lose(self, claimed_id: str) -> None:
        """Note that other notifiers may have a message."""
        for job in self.open.pop(claimed_id, ()):
            job.is_lost = True
            self.weight -= job.weight


class Attempted(msgspec.Struct, frozen=True):
    """An attempt that was made.

    :ivar seconds: that it took
    :ivar is_sent: False if it was refused before anything was sent
    """

    subscription: Subscription
    delivery: Delivery
    outcome: Outcome
    seconds: float = 0.0
    is_sent: bool = False

    def as_recorded(self, now: int, result: Result, **more: Any) -> Attempt:
        """Return what is recorded of it, when it has just ended.

        :param now: milliseconds
        :param more: further members

        :source: reference/delivery, "Attempts"
        """
        spent = int(self.seconds * 1000)
        return Attempt(
            self.delivery.id,
            now - spent,
            self.delivery.attempt,
            result,
            self.outcome.status or None,
            spent,
            self.outcome.reason,
            **more,
        )


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

    :ivar claimed_id: the message that is claimed: itself, as it is stored, or
        the notice of which it is made without being stored
    :ivar name: that by which notices know it: in the store its id
    :ivar place: index of the next message
    :ivar attempt: number of the next attempt
    :ivar pool: the name of that of its store
    :ivar weight: what it counts for: one, and more for long messages
    :ivar given_up: messages that are given up, by their index
    :ivar confirms: the subscriber has confirmed its subscription
    :ivar replacements: what is to be stored in its place
    :ivar left: the bytes that these are to deliver
    :ivar is_slow: an attempt takes long
    :ivar is_decided: only what follows from its attempts is to be written
    :ivar is_lost: other notifiers may have it
    """

    pending: PendingDelivery
    claimed_id: str
    name: str
    lease: Lease
    store: MessageStore
    place: int = 0
    attempt: int = 1
    pool: str = ''
    weight: int = 1
    given_up: deque[GivenUp] = field(default_factory=deque)
    confirms: bool = False
    replacements: list[NewMessage] = field(default_factory=list)
    left: int = 0
    is_slow: bool = False
    is_decided: bool = False
    is_lost: bool = False

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
        return self.lease.qid == PENDING

    @property
    def stored_bytes(self) -> int:
        """The bytes that it counts for, as long as it is stored."""
        return self.pending.size if self.is_stored else 0

    def advance(self) -> bool:
        """Go on to the next message; return whether there is one."""
        self.place += 1
        self.attempt = 1
        return self.place < len(self.pending.messages)
