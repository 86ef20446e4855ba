# SPDX-License-Identifier: Apache-2.0
"""The sweeper of all stores, which removes what has expired or was deleted.

All of that is invisible already; this frees its room. Every process runs a
sweeper, and stores let one of them work at a time.
"""

from __future__ import annotations

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass

from oslo_config import cfg

from zaqar import options_as_dataclass_fields
from zaqar.errors import StoreUnavailable
from zaqar.options_as_dataclass_fields import option
from zaqar.pools.queue_catalogue import Catalogue

LOG = logging.getLogger(__name__)

GROUP = 'gc'

#: Seconds between two batches, in which requests get their turn.
PAUSE = 0.05


@dataclass(frozen=True)
@options_as_dataclass_fields.of(GROUP)
class Pace:
    """How often, and how much at a time."""

    interval: int = option(
        60,
        'Seconds between two sweeps, which remove expired messages and '
        'claims. 0 leaves that to zaqar-gc.',
        min=0,
    )
    batch: int = option(
        1000, 'Maximum number of rows removed in one transaction.', min=1
    )

    @classmethod
    def from_conf(cls, conf: cfg.ConfigOpts) -> Pace:
        return cls(**options_as_dataclass_fields.values(cls, conf))


OPTS = options_as_dataclass_fields.options(Pace)[GROUP]


class Sweeper:
    """A thread that sweeps until it is stopped.

    :param sweep_records: each removes expired records, up to a given number,
        and returns how many; fewer means that there are no more
    """

    def __init__(
        self,
        catalogue: Catalogue,
        pace: Pace,
        *sweep_records: Callable[[int], int],
    ) -> None:
        self._catalogue = catalogue
        self._sweep_records = sweep_records
        self._pace = pace
        self._ended = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name='sweeper', daemon=True
        )

    def start(self) -> None:
        """Start the thread, unless the interval is 0."""
        if self._pace.interval:
            self._thread.start()

    def stop(self) -> None:
        """Stop after the batch that is under way."""
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
                for sweep in self._sweep_records:
                    self._sweep(sweep)
            except StoreUnavailable:
                LOG.warning('A store does not answer; it is swept later')
            except Exception:
                # The thread must not end.
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
