# SPDX-License-Identifier: Apache-2.0
"""Notices of posts to marked queues.

They take numbers from the clock instead of a counter: the document of the
outbox, which all queues of a store share, need not be locked by posts.
"""

from __future__ import annotations

import secrets

#: Bits of a number below the millisecond: chance keeps processes apart.
CHANCE = 20


def number(now: int) -> int:
    """Return the number of a notice."""
    return (now << CHANCE) + secrets.randbits(CHANCE)
