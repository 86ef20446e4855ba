# SPDX-License-Identifier: Apache-2.0
"""Operations on quotas of projects."""

from zaqar.api import body_decoding, response_schemas
from zaqar.api.json_schema_parts import obj
from zaqar.api.operation import ADMIN, Body, Operation, Rule
from zaqar.api.policy_base_rules import READER
from zaqar.controllers import project_quotas
from zaqar.controllers.configured_quotas import RESOURCES, UNLIMITED
from zaqar.microversion_constants import V2_1

_LIMITS = {
    name: {'type': ['integer', 'null'], 'minimum': UNLIMITED}
    for name in RESOURCES
}

OPERATIONS = (
    Operation(
        name='quota_get',
        http='GET /v2/quotas',
        rule=Rule('quotas:get', READER, 'Show the quotas of the project.'),
        handler=project_quotas.show,
        summary='Show what the project may have, and what it has.',
        error_message='Quotas could not be retrieved',
        responses={200: response_schemas.QUOTAS},
        since=V2_1,
    ),
    Operation(
        name='quota_get_project',
        http='GET /v2/quotas/{project_id}',
        rule=Rule('quotas:get_project', ADMIN, 'Show quotas of any project.'),
        handler=project_quotas.show,
        summary='Show what any project may have, and what it has.',
        error_message='Quotas could not be retrieved',
        responses={200: response_schemas.QUOTAS},
        since=V2_1,
    ),
    Operation(
        name='quota_update',
        http='PUT /v2/quotas/{project_id}',
        rule=Rule('quotas:update', ADMIN, 'Set quotas of any project.'),
        handler=project_quotas.update,
        summary='Set what a project may have.',
        error_message='Quotas could not be updated',
        responses={200: response_schemas.QUOTAS},
        body=Body(
            decode=body_decoding.mapping,
            schema=obj({'quotas': obj(_LIMITS, optional=RESOURCES)}),
            required=True,
        ),
        since=V2_1,
    ),
)
