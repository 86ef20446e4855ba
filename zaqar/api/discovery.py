# SPDX-License-Identifier: Apache-2.0
"""Operations that show the resources of the API and whether it works."""

from __future__ import annotations

from zaqar.api import schemas
from zaqar.api.operation import ANYONE, PUBLIC, Operation, Rule
from zaqar.controllers import discovery

_PING = Rule('ping:get', ANYONE, 'Check that the service works.')

OPERATIONS = (
    Operation(
        name='get_home_doc',
        http='GET /v2/',
        rule=PUBLIC,
        call=discovery.home,
        summary='Show the resources of the API as a JSON home document.',
        failure='The home document could not be read',
        answers={200: schemas.ANY_OBJECT},
    ),
    Operation(
        name='ping_node',
        http='GET /v2/ping',
        rule=_PING,
        call=discovery.ping,
        summary='Check that the storage backends respond.',
        failure='Ping failed',
        answers={204: None, 503: None},
        rel='rel/ping',
    ),
    Operation(
        name='ping_node_head',
        http='HEAD /v2/ping',
        rule=_PING,
        call=discovery.ping,
        summary='Check that the storage backends respond.',
        failure='Ping failed',
        answers={204: None, 503: None},
    ),
)
