# SPDX-License-Identifier: Apache-2.0
"""Whether a Redis server is a replica, as it says itself."""

from typing import Any

#: The command that asks for it.
ROLE = ('INFO', 'replication')


def is_replica(answer: Any) -> bool:
    """Tell whether the answer to :data:`ROLE` is that of a replica."""
    return isinstance(answer, bytes) and b'role:slave' in answer
