# SPDX-License-Identifier: Apache-2.0
"""All pools: their records, their open stores, and the virtual pool.

That is the configured message store, which has no record.
"""

import time
from collections.abc import Callable, Sequence

from zaqar.pools.open_stores_and_pings import OpenStores
from zaqar.pools.pool_records import PoolRecords
from zaqar.storage.abstract_stores import ManagementStore, MessageStore
from zaqar.storage.store_opener import PoolOpener

#: Name of the configured message store; no pool can have it.
VIRTUAL = ':message_store'


class Pools:
    """All pools, with their open stores.

    :param virtual: the configured message store
    :param use_virtual: whether new queues may be placed there
    :param timer: seconds by a clock that never goes back
    """

    def __init__(
        self,
        management: ManagementStore,
        opener: PoolOpener,
        virtual: MessageStore,
        *,
        use_virtual: bool,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self.opener = opener
        self.use_virtual = use_virtual
        self._virtual = virtual
        self.stores = OpenStores(management, opener, timer)
        self.records = PoolRecords(management, self.stores.look_again)

    def store(self, name: str) -> MessageStore:
        """Return the open store of a pool.

        :raises PoolMissing: there is no such pool
        """
        if name == VIRTUAL:
            return self._virtual
        return self.stores.get(name)

    def names(self) -> Sequence[str]:
        """Return the names of the pools, and of the virtual one if in use."""
        names = [pool.name for pool in self.records.all()]
        return [*names, VIRTUAL] if self.use_virtual else names

    def close(self) -> None:
        self.stores.close()
