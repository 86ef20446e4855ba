# SPDX-License-Identifier: Apache-2.0
"""Operations on flavors."""

from zaqar.api import json_schema_parts, response_schemas
from zaqar.api.operation import ADMIN, Param, Rule
from zaqar.api.operation_declarations.pools import pooled, required_object
from zaqar.api.policy_base_rules import READER
from zaqar.controllers import flavors

_NAMES = json_schema_parts.array(json_schema_parts.TEXT)

_FLAVOR = json_schema_parts.obj(
    {
        'name': json_schema_parts.TEXT,
        'capabilities': _NAMES,
        'pool_list': _NAMES,
        'href': json_schema_parts.TEXT,
    },
    optional=['capabilities'],
)

_POOLS = {'pool_list': {**_NAMES, 'minItems': 1}}

_CREATE = required_object(
    json_schema_parts.obj(
        {**_POOLS, 'capabilities': json_schema_parts.ANY_OBJECT},
        optional=['capabilities'],
    )
)

_UPDATE = required_object(
    {'type': 'object', 'properties': _POOLS, 'required': ['pool_list']}
)

OPERATIONS = (
    pooled(
        name='flavor_list',
        http='GET /v2/flavors',
        rule=Rule('flavors:get_all', READER, 'List the flavors.'),
        handler=flavors.list_,
        summary='List the flavors of the project by name.',
        error_message='Flavors could not be listed',
        responses={200: response_schemas.page('flavors', _FLAVOR)},
        query=(
            Param('detailed', 'bool', 'Add the capabilities.', 'detailed'),
            Param('limit', 'int', 'Flavors of the page.', 'flavor_limit'),
            Param('marker', 'text', 'Names greater than this.', 'marker'),
        ),
        rel='rel/flavors',
    ),
    pooled(
        name='flavor_get',
        http='GET /v2/flavors/{flavor_name}',
        rule=Rule('flavors:get', READER, 'Show a flavor.'),
        handler=flavors.show,
        summary='Show a flavor.',
        error_message='Flavor could not be retrieved',
        responses={200: _FLAVOR},
        rel='rel/flavor',
    ),
    pooled(
        name='flavor_create',
        http='PUT /v2/flavors/{flavor_name}',
        rule=Rule('flavors:create', ADMIN, 'Create or replace a flavor.'),
        handler=flavors.create,
        summary='Create a flavor of pools, or replace the one of that name.',
        error_message='Flavor could not be created',
        responses={201: None},
        body=_CREATE,
        rel='rel/flavor',
    ),
    pooled(
        name='flavor_update',
        http='PATCH /v2/flavors/{flavor_name}',
        rule=Rule('flavors:update', ADMIN, 'Change the pools of a flavor.'),
        handler=flavors.update,
        summary='Change which pools a flavor has.',
        error_message='Flavor could not be updated',
        responses={200: _FLAVOR},
        body=_UPDATE,
        rel='rel/flavor',
    ),
    pooled(
        name='flavor_delete',
        http='DELETE /v2/flavors/{flavor_name}',
        rule=Rule('flavors:delete', ADMIN, 'Delete a flavor.'),
        handler=flavors.delete,
        summary='Delete a flavor; its pools stay.',
        error_message='Flavor could not be deleted',
        rel='rel/flavor',
    ),
)
