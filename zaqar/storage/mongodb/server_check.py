# SPDX-License-Identifier: Apache-2.0
"""Checks of a server at start-up: version and replication."""

from collections.abc import Mapping
from typing import Any

from zaqar.errors import ConfigurationError

#: The wire version of MongoDB 4.4, whose first versions have no ``hello``.
OLDEST_WIRE = 9
TOO_OLD = 'the server is too old; 4.4.2 is the oldest'


def check(hello: Mapping[str, Any], unreliable: bool) -> bool:
    """Check the answer of a server to ``hello``.

    :returns: whether it has transactions
    """
    if hello.get('maxWireVersion', 0) < OLDEST_WIRE:
        raise ConfigurationError(TOO_OLD)
    if hello.get('msg') == 'isdbgrid':
        return True
    members = [*hello.get('hosts', ()), *hello.get('passives', ())]
    if len(members) < 2 and not unreliable:
        kind = 'a replica set of one' if members else 'not replicated'
        raise ConfigurationError(
            f'the server is {kind} and may lose messages; use a replica set '
            'of three, or set [DEFAULT] unreliable'
        )
    return 'setName' in hello
