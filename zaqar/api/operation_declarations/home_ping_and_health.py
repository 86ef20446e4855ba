# SPDX-License-Identifier: Apache-2.0
"""Operations that show the resources of the API and whether it works."""

import dataclasses

from zaqar.api import json_schema_parts
from zaqar.api.operation import ADMIN, ANYONE, PUBLIC, Operation, Rule
from zaqar.controllers import health, home_and_ping

_PING = Operation(
    name='ping_node',
    http='GET /v2/ping',
    rule=Rule('ping:get', ANYONE, 'Check that the service works.'),
    handler=home_and_ping.ping,
    summary='Check that the storage backends respond.',
    error_message='Ping failed',
    responses={204: None, 503: None},
    rel='rel/ping',
)

OPERATIONS = (
    Operation(
        name='get_home_doc',
        http='GET /v2/',
        rule=PUBLIC,
        handler=home_and_ping.home,
        summary='Show the resources of the API as a JSON home document.',
        error_message='The home document could not be read',
        responses={200: json_schema_parts.ANY_OBJECT},
    ),
    _PING,
    dataclasses.replace(
        _PING, name='ping_node_head', http='HEAD /v2/ping', rel=None
    ),
    Operation(
        name='health',
        http='GET /v2/health',
        rule=Rule(
            'health:get', ADMIN, 'Show the state of the storage backends.'
        ),
        handler=health.report,
        summary='Check every storage backend and report its state.',
        error_message='Health status could not be read',
        responses={200: json_schema_parts.ANY_OBJECT},
        needs=frozenset(('admin_mode',)),
        rel='rel/health',
    ),
)
