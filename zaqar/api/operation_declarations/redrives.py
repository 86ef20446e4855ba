# SPDX-License-Identifier: Apache-2.0
"""Operations on redrives."""

from zaqar.api import bounded_json, json_schema_parts, response_schemas
from zaqar.api.json_schema_parts import COUNT, TEXT, array, obj
from zaqar.api.operation import Body, FurtherRules, Operation, Rule
from zaqar.api.operation_declarations import messages
from zaqar.api.policy_base_rules import MEMBER, READER
from zaqar.controllers import redrives
from zaqar.controllers.redrive_request import MAX_RATE
from zaqar.microversion_constants import V2_1

_TEXTS = {'anyOf': [TEXT, array({})]}

_FILTER = obj(
    {
        'source': _TEXTS,
        'reason': _TEXTS,
        'older_than': COUNT,
        'newer_than': COUNT,
        'body': json_schema_parts.ANY_OBJECT,
    },
    optional=['source', 'reason', 'older_than', 'newer_than', 'body'],
)

_REDRIVE = Body(
    decode=bounded_json.decode_any,
    schema=obj(
        {
            'to': TEXT,
            'filter': _FILTER,
            'limit': {'type': 'integer', 'minimum': 1},
            'rate': {'type': 'integer', 'minimum': 1, 'maximum': MAX_RATE},
            'dry_run': {'type': 'boolean'},
        },
        optional=['to', 'filter', 'limit', 'rate', 'dry_run'],
    ),
    required=False,
)

OPERATIONS = (
    Operation(
        name='redrive_create',
        http='POST /v2/queues/{queue_name}/redrive',
        rule=Rule(
            'redrives:create', MEMBER, 'Move messages of a queue elsewhere.'
        ),
        further=FurtherRules(
            lambda document, scope: (
                (messages.POST_RULE, redrives.targets(document, scope)),
            )
        ),
        handler=redrives.create,
        summary='Move dead letters back where they came from, or elsewhere.',
        error_message='Redrive could not be created',
        responses={
            200: response_schemas.DRY_RUN,
            202: response_schemas.STARTED_REDRIVE,
        },
        conflict='A redrive of the queue is running.',
        body=_REDRIVE,
        since=V2_1,
    ),
    Operation(
        name='redrive_list',
        http='GET /v2/queues/{queue_name}/redrives',
        rule=Rule('redrives:get_all', READER, 'List redrives of a queue.'),
        handler=redrives.list_,
        summary='List the redrives of a queue, the newest first.',
        error_message='Redrives could not be listed',
        responses={200: response_schemas.REDRIVES},
        since=V2_1,
    ),
    Operation(
        name='redrive_get',
        http='GET /v2/queues/{queue_name}/redrives/{redrive_id}',
        rule=Rule('redrives:get', READER, 'Show a redrive.'),
        handler=redrives.get,
        summary='Show how far a redrive has got.',
        error_message='Redrive could not be retrieved',
        responses={200: response_schemas.REDRIVE},
        since=V2_1,
    ),
    Operation(
        name='redrive_delete',
        http='DELETE /v2/queues/{queue_name}/redrives/{redrive_id}',
        rule=Rule('redrives:delete', MEMBER, 'Cancel a redrive.'),
        handler=redrives.cancel,
        summary='Cancel a redrive; what it has moved stays moved.',
        error_message='Redrive could not be cancelled',
        since=V2_1,
    ),
)
