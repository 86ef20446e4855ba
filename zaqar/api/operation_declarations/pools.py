# SPDX-License-Identifier: Apache-2.0
"""Operations on pools, for administrators."""

import functools

from zaqar.api import body_decoding, json_schema_parts, response_schemas
from zaqar.api.operation import ADMIN, Body, Operation, Param, Rule
from zaqar.api.optional_features import Feature
from zaqar.controllers import pools

NEEDS: frozenset[Feature] = frozenset(('admin_mode', 'pooling'))

#: Declares an operation that exists with pooling alone.
pooled = functools.partial(Operation, needs=NEEDS)

_OPTIONS: json_schema_parts.Schema = {'type': 'object'}
_FLAVOR: json_schema_parts.Schema = {'type': ['string', 'null']}
_WEIGHT: json_schema_parts.Schema = {
    'type': 'integer',
    'minimum': 0,
    'maximum': pools.MAX_WEIGHT,
}
_TEXT: json_schema_parts.Schema = {
    'type': 'string',
    'maxLength': pools.MAX_TEXT,
}

_SENT = {'uri': _TEXT, 'weight': _WEIGHT, 'flavor': _TEXT, 'options': _OPTIONS}

_POOL = json_schema_parts.obj(
    {
        'name': json_schema_parts.TEXT,
        'uri': json_schema_parts.TEXT,
        'weight': _WEIGHT,
        'flavor': _FLAVOR,
        'href': json_schema_parts.TEXT,
        'options': _OPTIONS,
    },
    optional=['options'],
)


def required_object(schema: json_schema_parts.Schema) -> Body:
    """Return the declaration of a JSON object that must be sent."""
    return Body(
        decode=body_decoding.mapping,
        schema=schema,
        required=True,
        absent='JSON could not be parsed.',
    )


_CREATE = required_object(
    json_schema_parts.obj(_SENT, optional=['flavor', 'options'])
)

_UPDATE = required_object(
    {'type': 'object', 'properties': _SENT, 'minProperties': 1}
)

OPERATIONS = (
    pooled(
        name='pool_list',
        http='GET /v2/pools',
        rule=Rule('pools:get_all', ADMIN, 'List the pools.'),
        handler=pools.list_,
        summary='List pools by name.',
        error_message='Pools could not be listed',
        responses={200: response_schemas.page('pools', _POOL)},
        query=(
            Param('detailed', 'bool', 'Add the options.', 'detailed'),
            Param('limit', 'int', 'Pools of the page.', 'pool_limit'),
            Param('marker', 'text', 'Names greater than this.', 'marker'),
        ),
        rel='rel/pools',
    ),
    pooled(
        name='pool_get',
        http='GET /v2/pools/{pool_name}',
        rule=Rule('pools:get', ADMIN, 'Show a pool.'),
        handler=pools.show,
        summary='Show a pool.',
        error_message='Pool could not be retrieved',
        responses={200: _POOL},
        query=(Param('detailed', 'bool', 'Add the options.'),),
        rel='rel/pool',
    ),
    pooled(
        name='pool_create',
        http='PUT /v2/pools/{pool_name}',
        rule=Rule('pools:create', ADMIN, 'Create or replace a pool.'),
        handler=pools.create,
        summary='Create a pool, or replace the one of that name.',
        error_message='Pool could not be created',
        responses={201: None},
        conflict='Another pool has this URI.',
        body=_CREATE,
        rel='rel/pool',
    ),
    pooled(
        name='pool_update',
        http='PATCH /v2/pools/{pool_name}',
        rule=Rule('pools:update', ADMIN, 'Change a pool.'),
        handler=pools.update,
        summary='Change some fields of a pool.',
        error_message='Pool could not be updated',
        responses={200: _POOL},
        conflict='Another pool has this URI.',
        body=_UPDATE,
        rel='rel/pool',
    ),
    pooled(
        name='pool_delete',
        http='DELETE /v2/pools/{pool_name}',
        rule=Rule('pools:delete', ADMIN, 'Delete a pool.'),
        handler=pools.delete,
        summary='Delete a pool that neither a flavor nor a queue needs.',
        error_message='Pool could not be deleted',
        rel='rel/pool',
    ),
)
