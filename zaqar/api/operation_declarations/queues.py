# SPDX-License-Identifier: Apache-2.0
"""Operations on queues."""

from collections.abc import Iterator
from typing import Any

from zaqar.api import (
    body_decoding,
    body_size_errors,
    bounded_json,
    json_schema_parts,
    response_schemas,
)
from zaqar.api.operation import (
    EXISTING_PARAM,
    READ,
    Body,
    FurtherRules,
    Operation,
    Param,
    Rule,
)
from zaqar.api.operation_declarations import claims, messages, subscriptions
from zaqar.api.policy_base_rules import MEMBER, READER, STACK_USER, any_of
from zaqar.controllers import (
    queue_guarantees,
    queue_statistics,
    queues,
    signed_url_creation,
)
from zaqar.controllers.metadata_json_patch import operations
from zaqar.errors import InvalidBody
from zaqar.microversion_constants import V2_1
from zaqar.objects import Scope

PATCH_TYPE = 'application/openstack-messaging-v2.0-json-patch'

_METADATA = Body(
    decode=body_decoding.mapping,
    schema=json_schema_parts.METADATA,
    required=False,
    too_large=body_size_errors.queue_metadata_too_large,
    member='metadata',
)
_NO_PATCH = 'PATCH body could not be empty for update.'


def _decode_patch(raw: bytes) -> Any:
    if not raw:
        raise InvalidBody(_NO_PATCH)
    return bounded_json.decode_any(raw)


_PATCH = Body(
    decode=_decode_patch,
    schema=json_schema_parts.array(
        json_schema_parts.obj(
            {
                'op': {'enum': [*operations(V2_1)]},
                'path': {'type': 'string', 'pattern': '^/metadata/[^/]+$'},
                'value': {},
            },
            optional=['value'],
        )
    ),
    required=True,
    too_large=body_size_errors.patch_too_large,
    media_type=PATCH_TYPE,
    absent=_NO_PATCH,
    member='changes',
)
_PURGE = Body(
    decode=bounded_json.decode_any,
    schema=json_schema_parts.obj(
        {
            'resource_types': json_schema_parts.array(
                {'enum': list(queues.RESOURCE_TYPES)}
            )
        }
    ),
    required=False,
)

_SHARE = Body(
    decode=bounded_json.decode_any,
    schema=json_schema_parts.obj(
        {
            'paths': json_schema_parts.array(
                {'enum': list(signed_url_creation.PATHS)}
            ),
            'methods': json_schema_parts.array(json_schema_parts.TEXT),
            'expires': {'type': 'string', 'format': 'date-time'},
        },
        optional=['paths', 'methods', 'expires'],
    ),
    required=True,
)

#: Rules of what a pre-signed URL opens, by collection and method.
_OPENED: dict[tuple[str, str], set[Rule]] = {}
for _row in (
    *messages.OPERATIONS,
    *claims.OPERATIONS,
    *subscriptions.OPERATIONS,
):
    _place = (_row.target.split('/')[4], _row.method or READ)
    _OPENED.setdefault(_place, set()).add(_row.rule)


def _shared(document: Any, scope: Scope) -> Iterator[tuple[Rule, Scope]]:
    """Yield the rules of what a pre-signed URL would open."""
    paths, methods = signed_url_creation.covered(document)
    for (path, method), rules in _OPENED.items():
        if path in paths and method in methods:
            for rule in rules:
                yield rule, scope


_STATS = Rule('queues:stats', READER, 'Count the messages of a queue.')

OPERATIONS = (
    Operation(
        name='queue_list',
        http='GET /v2/queues',
        rule=Rule('queues:get_all', READER, 'List the queues of a project.'),
        handler=queues.list_,
        summary='List queues by name.',
        error_message='Queues could not be listed',
        responses={200: response_schemas.QUEUE_PAGE},
        query=(
            Param('marker', 'text', 'Names greater than this.', 'marker'),
            Param('limit', 'int', 'Queues of the page.', 'queue_limit'),
            Param('detailed', 'bool', 'Add the metadata.', 'detailed'),
            Param('name', 'text', 'Only names that contain this.'),
            Param('with_count', 'bool', 'Add the number of all queues.'),
            Param(
                'prefix',
                'text',
                'Only names that begin with this.',
                since=V2_1,
            ),
            Param(
                'dead_letter_queue',
                'text',
                'Only queues that have this one for dead letters.',
                since=V2_1,
            ),
            Param(
                'with_stats',
                'bool',
                'Add the statistics of each queue, in short.',
                since=V2_1,
            ),
        ),
        rules={'with_stats': _STATS},
        rel='rel/queues',
        keep_unknown=True,
    ),
    Operation(
        name='queue_create',
        http='PUT /v2/queues/{queue_name}',
        rule=Rule(
            'queues:create', any_of(MEMBER, STACK_USER), 'Create a queue.'
        ),
        handler=queues.create,
        summary='Create a queue; an existing one stays as it is.',
        error_message='Queue could not be created',
        responses={201: None, 204: None},
        body=_METADATA,
        query=(
            Param(
                'adopt',
                'bool',
                'Give the metadata to an existing queue that has none, too.',
                since=V2_1,
            ),
        ),
        rel='rel/queue',
    ),
    Operation(
        name='queue_get',
        http='GET /v2/queues/{queue_name}',
        rule=Rule('queues:get', READER, 'Show the metadata of a queue.'),
        handler=queues.show,
        summary='Show the metadata of a queue, whether it exists or not.',
        error_message='Queue metadata could not be retrieved',
        responses={200: json_schema_parts.METADATA},
        query=(EXISTING_PARAM,),
        rel='rel/queue',
    ),
    Operation(
        name='queue_update',
        http='PATCH /v2/queues/{queue_name}',
        rule=Rule('queues:update', MEMBER, 'Change the metadata of a queue.'),
        handler=queues.update,
        summary='Change the metadata of a queue by a JSON patch.',
        error_message='Queue could not be updated',
        responses={200: json_schema_parts.METADATA},
        conflict=(
            'A key that is not set is replaced or removed, or the flavor of '
            'a queue with messages is changed.'
        ),
        body=_PATCH,
        rel='rel/queue',
    ),
    Operation(
        name='queue_delete',
        http='DELETE /v2/queues/{queue_name}',
        rule=Rule(
            # Heat removes the queues of signals as the user of their stack.
            'queues:delete',
            any_of(MEMBER, STACK_USER),
            'Delete a queue.',
        ),
        handler=queues.delete,
        summary='Delete a queue with its messages and claims.',
        error_message='Queue could not be deleted',
        rel='rel/queue',
    ),
    Operation(
        name='queue_get_stats',
        http='GET /v2/queues/{queue_name}/stats',
        rule=_STATS,
        handler=queue_statistics.show,
        summary='Count the messages of a queue.',
        error_message='Queue stats could not be read',
        responses={200: response_schemas.STATS},
        rel='rel/queue_stats',
    ),
    Operation(
        name='queue_get_guarantees',
        http='GET /v2/queues/{queue_name}/guarantees',
        rule=Rule(
            'queues:guarantees', READER, 'Show what a queue guarantees.'
        ),
        handler=queue_guarantees.show,
        summary='Show what a queue guarantees, by the settings of its server.',
        error_message='Queue guarantees could not be read',
        responses={200: response_schemas.GUARANTEES},
        since=V2_1,
    ),
    Operation(
        name='queue_purge',
        http='POST /v2/queues/{queue_name}/purge',
        rule=Rule('queues:purge', MEMBER, 'Remove what a queue holds.'),
        handler=queues.purge,
        summary='Remove all messages of a queue and keep the queue.',
        error_message='Queue could not be purged',
        body=_PURGE,
        query=(EXISTING_PARAM,),
        rel='rel/queue_purge',
    ),
    Operation(
        name='queue_share',
        http='POST /v2/queues/{queue_name}/share',
        rule=Rule(
            'queues:share',
            any_of(READER, STACK_USER),
            'Make a pre-signed URL, to what one may do oneself.',
        ),
        further=FurtherRules(_shared, delegates=True),
        handler=signed_url_creation.share,
        summary='Make a pre-signed URL to parts of a queue.',
        error_message='The URL could not be made',
        responses={200: response_schemas.GRANT},
        body=_SHARE,
        rel='rel/queue_share',
    ),
)
