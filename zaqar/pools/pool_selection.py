# SPDX-License-Identifier: Apache-2.0
"""Selection of a pool for a new queue, among all pools."""

import logging
import random
from typing import Any

from oslo_config import cfg

from zaqar.errors import NoPool, StoreUnavailable
from zaqar.pools.registered_and_virtual_pools import VIRTUAL, Pools
from zaqar.storage.store_opener import POOL_GROUP

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


def choose(pools: Pools, flavor: Any) -> str:
    """Return the name of a pool for a new queue, at random by weight.

    :param flavor: its name, or something falsy
    :raises NoPool: no pool fits
    :raises StoreUnavailable: none of those that fit answers
    """
    fitting = [
        pool
        for pool in pools.records.all()
        if pool.flavor == (flavor or None) and pool.weight > 0
    ]
    if not fitting and pools.use_virtual and not flavor:
        return VIRTUAL
    if not fitting:
        raise NoPool(_reason(flavor))
    now = pools.records.now()
    free = [pool for pool in fitting if not pool.is_closed(now)]
    while free:
        weights = [pool.weight for pool in free]
        (chosen,) = random.choices(free, weights)
        if pools.stores.answers(chosen.name):
            return chosen.name
        free.remove(chosen)
    if pools.use_virtual and not flavor:
        return VIRTUAL
    LOG.error('No pool responds for a queue of flavor %s', flavor)
    raise StoreUnavailable


def _reason(flavor: Any) -> str:
    kind = f'of the flavor {flavor}' if flavor else 'without a flavor'
    return (
        f'There is no pool for queues {kind}. An administrator has to create '
        'one with a weight above 0.'
    )
