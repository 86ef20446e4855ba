# SPDX-License-Identifier: Apache-2.0
"""Selection of a pool for a new queue, among all pools with their stores."""

import logging
import random
import time
from collections.abc import Callable, Sequence
from typing import Any

from oslo_config import cfg

from zaqar.errors import NoPool, StoreUnavailable
from zaqar.pools.open_stores import OpenStores
from zaqar.pools.pool_records import PoolRecords
from zaqar.storage.base import ManagementStore, MessageStore
from zaqar.storage.store_opener import POOL_GROUP, PoolOpener

LOG = logging.getLogger(__name__)

GROUP = POOL_GROUP

OPTS = [
    cfg.BoolOpt(
        'enable_virtual_pool',
        default=False,
        help='Whether queues for which no pool is suitable or reachable are '
        'created in the store that [drivers] message_store names. If off, '
        'their creation is refused.',
    ),
]

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

    def choose(self, flavor: Any) -> str:
        """Return the name of a pool for a new queue, at random by weight.

        :param flavor: its name, or something falsy
        :raises NoPool: no pool fits
        :raises StoreUnavailable: none of those that fit answers
        """
        fitting = [
            pool
            for pool in self.records.all()
            if pool.flavor == (flavor or None) and pool.weight > 0
        ]
        if not fitting and self.use_virtual and not flavor:
            return VIRTUAL
        if not fitting:
            raise NoPool(_reason(flavor))
        now = self.records.now()
        free = [pool for pool in fitting if not pool.is_closed(now)]
        while free:
            weights = [pool.weight for pool in free]
            (chosen,) = random.choices(free, weights)
            if self.stores.answers(chosen.name):
                return chosen.name
            free.remove(chosen)
        if self.use_virtual and not flavor:
            return VIRTUAL
        LOG.error('No pool for a queue of flavor %s answers', flavor)
        raise StoreUnavailable

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


def _reason(flavor: Any) -> str:
    kind = f'of the flavor {flavor}' if flavor else 'without a flavor'
    return (
        f'There is no pool for queues {kind}. An administrator has to create '
        'one with a weight above 0.'
    )
