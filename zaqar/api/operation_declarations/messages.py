# SPDX-License-Identifier: Apache-2.0
"""Operations on messages."""

import msgspec

from zaqar.api import (
    body_decoding,
    body_size_errors,
    json_schema_parts,
    response_schemas,
)
from zaqar.api.operation import (
    EXISTING_PARAM,
    WAIT_PARAM,
    Body,
    Operation,
    Param,
    Rule,
)
from zaqar.api.operation_declarations.streams import GET_ALL_RULE, STREAM
from zaqar.api.policy_base_rules import CONSUMER, OBSERVER
from zaqar.api.requests_with_wait import Waiting
from zaqar.controllers import (
    message_explanations,
    message_reading_and_deletion,
    posting,
    surrogate_tolerant_json,
)
from zaqar.controllers.result_types import Popped
from zaqar.microversion_constants import V2_1

_DECODER = msgspec.json.Decoder(posting.Post)


def _decode(raw: bytes) -> posting.Post:
    if b'\\ud' in raw or b'\\uD' in raw:
        return surrogate_tolerant_json.decode(raw, _decode_text)
    return _decode_text(raw)


def _decode_text(raw: bytes) -> posting.Post:
    try:
        return body_decoding.struct(raw, _DECODER)
    except body_decoding.NotAnObject:
        # A bare array of messages is a document without "messages".
        return posting.Post()


POST = Body(
    decode=_decode,
    schema=json_schema_parts.obj(
        {
            'messages': {
                **json_schema_parts.array(
                    json_schema_parts.obj(
                        {
                            'body': {},
                            'ttl': {
                                'type': 'integer',
                                'minimum': 1,
                                'description': 'In 2.0 at least 60.',
                            },
                            'delay': {'type': 'integer', 'minimum': 0},
                            'deliver_at': json_schema_parts.since(
                                V2_1, json_schema_parts.MOMENT
                            ),
                            'group': json_schema_parts.since(
                                V2_1, json_schema_parts.VISIBLE_TEXT
                            ),
                            'dedup_id': json_schema_parts.since(
                                V2_1, json_schema_parts.VISIBLE_TEXT
                            ),
                            'attributes': json_schema_parts.since(
                                V2_1, json_schema_parts.ATTRIBUTES
                            ),
                        },
                        optional=['ttl', 'delay'],
                    )
                ),
                'minItems': 1,
            }
        }
    ),
    required=True,
    max_size=lambda limits: limits.max_messages_post_size,
    too_large=body_size_errors.post_too_large,
)

POST_RULE = Rule('messages:create', CONSUMER, 'Post messages to a queue.')

OPERATIONS = (
    Operation(
        name='message_post',
        http='POST /v2/queues/{queue_name}/messages',
        rule=POST_RULE,
        handler=posting.post,
        summary='Post messages, all or none; makes the queue if missing.',
        error_message='Messages could not be enqueued',
        responses={201: response_schemas.POSTED},
        query=(EXISTING_PARAM,),
        body=POST,
        rel='rel/post_messages',
        is_idempotent=True,
    ),
    Operation(
        name='message_list',
        http='GET /v2/queues/{queue_name}/messages',
        rule=GET_ALL_RULE,
        handler=message_reading_and_deletion.list_,
        summary='List messages, oldest first, or get several by id.',
        error_message='Messages could not be listed',
        responses={200: response_schemas.MESSAGE_PAGE},
        query=(
            Param(
                'ids',
                'ids',
                'Return these messages instead of a page.',
                alone=True,
                member='message_ids',
            ),
            Param('marker', 'text', 'Messages after this place.', 'marker'),
            Param('limit', 'int', 'Messages of the page.', 'messages_limit'),
            Param('echo', 'bool', "Show the caller's own too.", 'echo'),
            Param(
                'include_claimed',
                'bool',
                'Show claimed ones too.',
                'include_claimed',
            ),
            Param('include_delayed', 'bool', 'Show delayed ones too.'),
            WAIT_PARAM,
        ),
        waiting=Waiting(takes=False, count=lambda page: len(page.messages)),
        stream=STREAM,
        rel='rel/messages',
    ),
    Operation(
        name='message_get_many',
        http=None,
        rule=GET_ALL_RULE,
        handler=message_reading_and_deletion.get_many,
        summary='Get several messages by id.',
        error_message='Messages could not be listed',
        responses={200: response_schemas.MESSAGES},
        query=(Param('ids', 'ids', 'Which messages.', member='message_ids'),),
    ),
    Operation(
        name='message_delete_many',
        http='DELETE /v2/queues/{queue_name}/messages',
        rule=Rule(
            'messages:delete_all', CONSUMER, 'Delete or pop several messages.'
        ),
        handler=message_reading_and_deletion.delete_many,
        summary='Delete messages by id, or pop the oldest free ones.',
        error_message='Messages could not be deleted',
        responses={200: response_schemas.POPPED, 204: None},
        query=(
            Param(
                'ids',
                'ids',
                'Messages to delete.',
                'ids',
                member='message_ids',
            ),
            Param('claim_ids', 'ids', 'Claims that hold them.'),
            Param('pop', 'int', 'Free messages to take and delete.', 'pop'),
            WAIT_PARAM,
        ),
        waiting=Waiting(
            takes=True,
            count=lambda popped: len(popped.messages),
            nothing=Popped((), 0),
            check=lambda context, arguments: (
                message_reading_and_deletion.check_deletion(
                    context.limits,
                    arguments['ids'],
                    arguments['claim_ids'],
                    arguments['pop'],
                )
            ),
            needs='pop',
        ),
        rel='rel/messages_delete',
    ),
    Operation(
        name='message_get',
        http='GET /v2/queues/{queue_name}/messages/{message_id}',
        rule=Rule('messages:get', OBSERVER, 'Show a message.'),
        handler=message_reading_and_deletion.get,
        summary='Get one message.',
        error_message='Message could not be retrieved',
        responses={200: response_schemas.MESSAGE},
        conflict='Its stored body cannot be decrypted.',
        rel='rel/message_get',
    ),
    Operation(
        name='message_explain',
        http='GET /v2/queues/{queue_name}/messages/{message_id}/explain',
        rule=Rule(
            'messages:explain',
            OBSERVER,
            'Show why a message is not handed out.',
        ),
        handler=message_explanations.explain,
        summary='Show why a message is handed out and listed, or is not.',
        error_message='Message could not be explained',
        responses={200: response_schemas.EXPLANATION},
        since=V2_1,
    ),
    Operation(
        name='message_delete',
        http='DELETE /v2/queues/{queue_name}/messages/{message_id}',
        rule=Rule('messages:delete', CONSUMER, 'Delete a message.'),
        handler=message_reading_and_deletion.delete,
        summary='Delete one message, with its claim if it is claimed.',
        error_message='Message could not be deleted',
        query=(
            Param('claim_id', 'text', 'Its claim.', 'claim_id'),
            Param(
                'claim_count',
                'int',
                'As the claim returned it: delete it after the claim, too, '
                'unless it was claimed again.',
                since=V2_1,
            ),
            EXISTING_PARAM,
        ),
        rel='rel/message_delete',
    ),
)
