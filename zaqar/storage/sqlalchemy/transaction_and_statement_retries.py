# SPDX-License-Identifier: Apache-2.0
"""Retries of transactions and statements, and the pauses in between."""

import logging
import random
import time
from typing import NoReturn

from zaqar.errors import StoreUnavailable, one_line

LOG = logging.getLogger(__name__)

#: Seconds before each try after a broken connection, at most; and after how
#: many no further one is begun, since it may have to connect first.
PAUSES = (0.02, 0.05)
RETRY_PERIOD = 1.5

#: Seconds before the second try after a conflict, and before any later one,
#: at most. The pause doubles from try to try.
FIRST_PAUSE = 0.01
LONGEST_PAUSE = 0.3

#: Seconds that a try must have left to be begun.
SHORTEST_TRY = 0.1


class TransientError(Exception):
    """The work may be retried; the reason is the cause."""


class ConnectionLostError(TransientError):
    """There is no connection, or it broke."""


class ConflictError(TransientError):
    """A concurrent transaction got ahead."""


class Retries:
    """The further tries of a call.

    :param end: when the call ends, by the monotonic clock
    """

    def __init__(self, start: float, end: float) -> None:
        self._start = start
        self._end = end
        self._last = end - SHORTEST_TRY
        self._losses = 0
        self._conflicts = 0

    def wait(self, error: TransientError) -> None:
        """Return when the next try is due.

        :raises StoreUnavailable: there is none
        """
        if isinstance(error, ConflictError):
            self._conflicts += 1
            self._wait_after_conflict(error)
        else:
            self._losses += 1
            self._wait_after_loss(error)

    def _wait_after_conflict(self, error: TransientError) -> None:
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2**self._conflicts)
        # Rivals that collided once should not collide again.
        pause = random.uniform(0, longest)
        if time.monotonic() + pause > self._last:
            self._give_up_conflict(error)
        time.sleep(pause)

    def _give_up_conflict(self, error: TransientError) -> NoReturn:
        LOG.error(
            'Conflict: %d tries of a transaction were undone by '
            'concurrent ones, the last one by: %s',
            self._conflicts,
            one_line(error.__cause__ or error),
        )
        raise StoreUnavailable from error.__cause__

    def _wait_after_loss(self, error: TransientError) -> None:
        if self._conflicts and time.monotonic() >= self._end:
            # Waiting for the same rival, the last try was cut off by us.
            self._conflicts += 1
            self._give_up_conflict(error)
        last = min(self._last, self._start + RETRY_PERIOD)
        pause = 0.0
        if self._losses <= len(PAUSES):
            pause = PAUSES[self._losses - 1] * random.uniform(0.5, 1)
        if self._losses > len(PAUSES) or time.monotonic() + pause > last:
            LOG.error(
                'The database does not answer: %s',
                one_line(error.__cause__ or error),
            )
            raise StoreUnavailable from error.__cause__
        time.sleep(pause)
