# SPDX-License-Identifier: Apache-2.0
"""A pending delivery that this process has claimed."""

from dataclasses import dataclass, field

from zaqar.models import NewMessage
from zaqar.notification.delivery_leases_and_completion import Lease, Leases
from zaqar.notification.pending_delivery import PendingDelivery
from zaqar.storage.base import MessageStore


@dataclass(slots=True, eq=False)
class ClaimedDelivery:
    """A claimed pending delivery, and how far it has got.

    :ivar place: index of the next message
    :ivar attempt: number of the next attempt
    :ivar pool: the name of that of its store
    :ivar seconds: that its last attempt took
    :ivar replacements: what is to be stored in its place
    """

    pending: PendingDelivery
    message_id: str
    lease: Lease
    leases: Leases
    store: MessageStore
    place: int = 0
    attempt: int = 1
    pool: str = ''
    seconds: float = 0.0
    replacements: list[NewMessage] = field(default_factory=list)

    @property
    def host(self) -> str:
        """The host that the scheduler queues it for."""
        return self.pending.host

    @property
    def project(self) -> str:
        """The project that it counts for."""
        return self.pending.project

    def finish(self) -> None:
        """Have it deleted, once its replacements are stored."""
        self.leases.done(self.lease, self.message_id, self.replacements)

    def release(self) -> None:
        """Leave it to any notifier, as it is stored."""
        self.leases.leave(self.lease, self.message_id)
