# SPDX-License-Identifier: Apache-2.0
"""What the settings of a store's server promise."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass

#: What a crash may lose where data reach the disk once a second.
LAST_SECOND = 'all but the last second'

#: Whether what was acknowledged survives an event; None where that is unknown.
Survival = bool | str | None


class Order(enum.StrEnum):
    """The order in which messages are first handed out."""

    FIFO = 'fifo'
    ALMOST = 'almost fifo'


@dataclass(frozen=True, slots=True)
class Guarantees:
    """What the settings of a server promise.

    :ivar store: name of the driver
    :ivar store_kill: whether what was acknowledged survives a crash of the
        server or of its machine; may be :data:`LAST_SECOND`
    :ivar failover: whether it survives that another server takes over
    :ivar because: the settings with their values, and what follows from them,
        in the words of the server's documentation
    """

    store: str
    order: Order
    store_kill: Survival
    failover: Survival
    because: Sequence[str]
