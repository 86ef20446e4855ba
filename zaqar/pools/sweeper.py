# SPDX-License-Identifier: Apache-2.0
"""Tidying up in the background.

What is dead is invisible whether or not it has been removed; this gives its
room back. Every process runs a sweeper, and stores let one of them work at a
time.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass

from oslo_config import cfg

from zaqar.errors import StoreUnavailable
from zaqar.pools.catalogue import Catalogue

LOG = logging.getLogger(__name__)

GROUP = 'gc'

OPTS = [
    cfg.IntOpt(
        'interval',
        default=60,
        min=0,
        help='Seconds between two rounds of removing dead messages and '
        'claims. 0 leaves them to another process.',
    ),
    cfg.IntOpt(
        'batch',
        default=1000,
        min=1,
        help='Most rows removed in one transaction.',
    ),
]

#: Seconds between two batches, in which others get their turn.
PAUSE = 0.05


@dataclass(frozen=True)
class Pace:
    """How often, and how much at a time."""

    interval: int
    batch: int

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> Pace:
        """Read it from a loaded configuration."""
        conf.register_opts(OPTS, GROUP)
        return cls(conf[GROUP].interval, conf[GROUP].batch)


class Sweeper:
    """A thread that sweeps until it is stopped.

    :param records: removes dead records, as many as it is told at most, and
        returns how many; fewer means that there are no more
    """

    def __init__(
        self,
        catalogue: Catalogue,
        pace: Pace,
        records: Callable[[int], int] = lambda batch: 0,
    ) -> None:
        self._catalogue = catalogue
        self._records = records
        self._pace = pace
        self._ended = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name='sweeper', daemon=True
        )

    def start(self) -> None:
        """Begin, unless the interval says never."""
        if self._pace.interval:
            self._thread.start()

    def stop(self) -> None:
        """End after the batch that is under way."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        # Servers that start together should not sweep together.
        while not self._ended.wait(
            self._pace.interval * random.uniform(0.5, 1.5)
        ):
            try:
                self._sweep(self._catalogue.sweep)
                self._sweep(self._records)
            except StoreUnavailable:
                LOG.warning('A store does not answer; it is swept later')
            except Exception:
                # The edge of a thread: it must live on.
                LOG.exception('Sweeping failed')

    def _sweep(self, remove: Callable[[int], int]) -> None:
        total = 0
        while True:
            removed = remove(self._pace.batch)
            total += removed
            if removed < self._pace.batch or self._ended.wait(PAUSE):
                break
        if total:
            LOG.debug('Removed %d dead rows', total)
