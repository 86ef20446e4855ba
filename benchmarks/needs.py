# SPDX-License-Identifier: Apache-2.0
"""How many of each part of a deployment a load needs.

That follows from what its operations cost each part.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks import costs
from benchmarks.costs import DELIVERY, PUSH, Cost
from benchmarks.deployment import API, NOTIFIER, SOCKETS, STORE
from zaqar.pools.queue_record_cache import CACHED, FRESH

#: Part of its time for which each part may be busy.
FILL = 0.7

#: Where records are looked up.
RECORDS = 'records of queues'

#: Cores that can work for one of each part.
CORES = {API: 1, NOTIFIER: 1, SOCKETS: 1}

#: Connections of one WebSocket server, unless ``max_connections`` is raised.
CONNECTIONS = 10_000

#: The requests of a message's life.
LIVES: Mapping[str, Sequence[str]] = {
    'one': ('post 1', 'claim 5 + delete'),
    'ten': ('post 10', 'claim 10 + settle'),
}

Costs = Mapping[str, Cost]


@dataclass
class Load:
    """What a deployment shall carry.

    :ivar messages: posted, claimed and deleted a second
    :ivar life: key of :data:`LIVES`
    :ivar pages: read a second
    :ivar deliveries: to webhooks a second
    :ivar pushes: to WebSocket connections a second
    :ivar sockets: WebSocket connections
    :ivar queues: that are in use
    """

    messages: float
    life: str = 'one'
    pages: float = 0.0
    deliveries: float = 0.0
    pushes: float = 0.0
    sockets: float = 0.0
    queues: float = 1000.0

    def rates(self) -> Mapping[str, float]:
        """Return operations a second, by name."""
        requests = {
            name: self.messages * costs.OPERATIONS[name].each
            for name in LIVES[self.life]
        }
        return {
            **requests,
            'list 10': self.pages,
            DELIVERY: self.deliveries,
            PUSH: self.pushes,
        }


@dataclass
class Need:
    """What a load needs of a part.

    :ivar cores: that are busy with it
    :ivar count: how many there have to be
    :ivar each: cores that one of them has
    """

    part: str
    cores: float
    count: int
    each: float

    @property
    def busy(self) -> float:
        """The part of its time for which each is busy."""
        return self.cores / (self.count * self.each)


def of_load(known: Costs, load: Load, store_cores: float) -> Sequence[Need]:
    """Return what a load needs, the part that is busiest first.

    :param store_cores: that one store can use: 1 of Redis
    """
    rates = load.rates()
    found = []
    for part, each in {**CORES, STORE: store_cores}.items():
        cores = sum(
            rate * known[name].cpu.get(part, 0.0)
            for name, rate in rates.items()
        )
        need = _need(part, cores, each)
        if part == SOCKETS:
            least = math.ceil(load.sockets / CONNECTIONS)
            need.count = max(need.count, least)
        found.append(need)
    (workers,) = (need.count for need in found if need.part == API)
    reads = record_reads(requests(rates), load.queues, workers)
    # There is one management store, however many there would have to be.
    cores = reads * known['show'].cpu[STORE]
    found.append(Need(RECORDS, cores, 1, store_cores))
    return sorted(found, key=lambda need: -need.busy)


def _need(part: str, cores: float, each: float) -> Need:
    return Need(part, cores, max(1, math.ceil(cores / (each * FILL))), each)


def requests(rates: Mapping[str, float]) -> float:
    """Return the requests a second of API workers."""
    return sum(
        rate for name, rate in rates.items() if name in costs.OPERATIONS
    )


def record_reads(rate: float, queues: float, workers: int) -> float:
    """Return the look-ups a second of records that no worker has cached.

    :param rate: of requests, which spread evenly over queues and workers
    """
    # Each worker looks a queue up once in FRESH seconds while it is used, or
    # as often as it is used, if it forgets it before.
    each = rate / (queues * workers)
    fresh = min(FRESH, CACHED * workers / rate if rate else FRESH)
    if queues <= CACHED:
        fresh = FRESH
    return rate / (1 + each * fresh)


def traffic(known: Costs, load: Load) -> tuple[float, float]:
    """Return the bytes a second to and from clients, and stores."""
    rates = load.rates().items()
    return (
        sum(rate * known[name].client_bytes for name, rate in rates),
        sum(rate * known[name].store_bytes for name, rate in rates),
    )
