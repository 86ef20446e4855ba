# SPDX-License-Identifier: Apache-2.0
"""The operation that reports the health of the stores."""

from __future__ import annotations

from zaqar.api import schemas
from zaqar.api.operation import ADMIN, Operation, Rule
from zaqar.controllers import health

OPERATIONS = (
    Operation(
        name='health',
        http='GET /v2/health',
        rule=Rule(
            'health:get', ADMIN, 'Show the state of the storage backends.'
        ),
        call=health.report,
        summary='Check every storage backend and report its state.',
        failure='Health status could not be read',
        answers={200: schemas.ANY_OBJECT},
        needs=frozenset(('admin_mode',)),
        rel='rel/health',
    ),
)
