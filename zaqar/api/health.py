# SPDX-License-Identifier: Apache-2.0
"""The operation that tells how the stores are."""

from __future__ import annotations

from zaqar.api import schemas
from zaqar.api.operation import ADMIN, Operation, Rule
from zaqar.controllers import health

OPERATIONS = (
    Operation(
        name='health',
        http='GET /v2/health',
        rule=Rule('health:get', ADMIN, 'Show how the stores are.'),
        call=health.report,
        summary='Try every store and tell how it is.',
        failure='Health status could not be read',
        answers={200: schemas.ANY_OBJECT},
        needs=frozenset(('admin_mode',)),
        rel='rel/health',
    ),
)
