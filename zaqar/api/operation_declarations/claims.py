# SPDX-License-Identifier: Apache-2.0
"""Operations on claims."""

from collections.abc import Mapping

import msgspec

from zaqar.api import body_decoding, json_schema_parts, response_schemas
from zaqar.api.operation import (
    EXISTING_PARAM,
    WAIT_PARAM,
    Body,
    Operation,
    Param,
    Rule,
)
from zaqar.api.policy_base_rules import CONSUMER, OBSERVER
from zaqar.api.requests_with_wait import Waiting
from zaqar.controllers import claimed_message_settlement, claims
from zaqar.microversion_constants import V2_1

#: What the schema, which is that of the newest version, does not say.
_LEAST = 'In 2.0 at least 60.'

_ID = json_schema_parts.since(
    V2_1,
    {
        'type': 'string',
        'pattern': '^[A-Za-z0-9_-]{1,64}$',
        'description': 'The id that the claim is to have.',
    },
)

_DECODER = msgspec.json.Decoder(claims.ClaimOptions)


def _options(
    required: bool, newer: Mapping[str, json_schema_parts.Schema]
) -> Body:
    ttl = {'type': 'integer', 'minimum': 1, 'description': _LEAST}
    grace = {'type': 'integer', 'minimum': 0, 'description': _LEAST}
    return Body(
        decode=lambda raw: body_decoding.struct(raw, _DECODER),
        schema=json_schema_parts.obj(
            {'ttl': ttl, 'grace': grace, **newer}, optional=['ttl', 'grace']
        ),
        required=required,
    )


#: Bytes of a request to settle messages: so many of the longest reasons, all
#: of their characters as pairs of escapes, and something for the rest.
_MAX_SETTLEMENTS = claimed_message_settlement.MOST_ENTRIES * (
    12 * claimed_message_settlement.MOST_REASON + 512
)


def _entries(**members: json_schema_parts.Schema) -> json_schema_parts.Schema:
    entry = json_schema_parts.obj(
        {'id': json_schema_parts.TEXT, **members},
        optional=[name for name in members if name != 'ttl'],
    )
    return json_schema_parts.array(entry)


_REASON = {
    'type': 'string',
    'maxLength': claimed_message_settlement.MOST_REASON,
}
_SETTLEMENTS = json_schema_parts.obj(
    {
        'delete': json_schema_parts.array(json_schema_parts.TEXT),
        'release': _entries(
            delay=json_schema_parts.COUNT,
            failed={'type': 'boolean', 'default': True},
            reason=_REASON,
        ),
        'extend': _entries(ttl=json_schema_parts.COUNT),
        'reject': _entries(reason=_REASON),
        'claim_counts': {
            'type': 'object',
            'maxProperties': claimed_message_settlement.MOST_ENTRIES,
            'additionalProperties': json_schema_parts.COUNT,
        },
    },
    optional=['delete', 'release', 'extend', 'reject', 'claim_counts'],
)

OPERATIONS = (
    Operation(
        name='claim_create',
        http='POST /v2/queues/{queue_name}/claims',
        rule=Rule('claims:create', CONSUMER, 'Claim messages of a queue.'),
        handler=claims.create,
        summary='Claim the oldest free messages of a queue.',
        error_message='Claim could not be created',
        responses={201: response_schemas.MESSAGES, 204: None},
        query=(
            Param('limit', 'int', 'Messages to claim.', 'claim_limit'),
            WAIT_PARAM,
            EXISTING_PARAM,
        ),
        waiting=Waiting(
            takes=True,
            count=lambda claimed: (
                len(claimed.claim.messages) if claimed else 0
            ),
            check=lambda context, arguments: claims.terms(
                context, arguments['document'], arguments['limit']
            ),
            default=claims.default_wait,
        ),
        body=_options(required=False, newer={'id': _ID}),
        rel='rel/post_claim',
    ),
    Operation(
        name='claim_get',
        http='GET /v2/queues/{queue_name}/claims/{claim_id}',
        rule=Rule('claims:get', OBSERVER, 'Show a claim.'),
        handler=claims.get,
        summary='Show a live claim with its messages.',
        error_message='Claim could not be queried',
        responses={200: response_schemas.CLAIM},
        rel='rel/claim',
    ),
    Operation(
        name='claim_update',
        http='PATCH /v2/queues/{queue_name}/claims/{claim_id}',
        rule=Rule('claims:update', CONSUMER, 'Renew a claim.'),
        handler=claims.renew,
        summary='Renew a claim, whose ttl starts anew.',
        error_message='Claim could not be updated',
        body=_options(required=True, newer={}),
        rel='rel/patch_claim',
    ),
    Operation(
        name='claim_settle',
        http='POST /v2/queues/{queue_name}/claims/{claim_id}/settle',
        rule=Rule('claims:settle', CONSUMER, 'Settle messages of a claim.'),
        handler=claimed_message_settlement.settle,
        summary='Delete, release, extend and reject messages of a claim.',
        error_message='Messages could not be settled',
        responses={200: response_schemas.SETTLED},
        body=Body(
            decode=body_decoding.mapping,
            schema=_SETTLEMENTS,
            required=True,
            max_size=lambda limits: _MAX_SETTLEMENTS,
        ),
        since=V2_1,
    ),
    Operation(
        name='claim_delete',
        http='DELETE /v2/queues/{queue_name}/claims/{claim_id}',
        rule=Rule('claims:delete', CONSUMER, 'Release a claim.'),
        handler=claims.release,
        summary='Release a claim; its messages are free at once.',
        error_message='Claim could not be deleted',
        rel='rel/delete_claim',
    ),
)
