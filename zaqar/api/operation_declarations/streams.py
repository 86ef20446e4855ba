# SPDX-License-Identifier: Apache-2.0
"""Streams, which only WebSockets and event streams have."""

from zaqar.api import response_schemas
from zaqar.api.operation import Operation, Param, Rule
from zaqar.api.policy_base_rules import OBSERVER
from zaqar.controllers import streams
from zaqar.microversion_constants import V2_1

#: A stream is a listing that goes on.
GET_ALL_RULE = Rule('messages:get_all', OBSERVER, 'List messages of a queue.')

STREAM = Operation(
    name='message_stream',
    http=None,
    rule=GET_ALL_RULE,
    handler=streams.start,
    summary='Follow a queue: get its messages, and those to come.',
    error_message='Messages could not be listed',
    responses={200: response_schemas.STREAM},
    query=(
        Param('marker', 'text', 'Messages after this place, "now": new ones.'),
        Param('echo', 'bool', "Show the caller's own too."),
    ),
    since=V2_1,
    # Browsers can send no headers with requests for streams.
    query_headers={
        'url_signature': 'URL-Signature',
        'url_expires': 'URL-Expires',
        'url_methods': 'URL-Methods',
        'url_paths': 'URL-Paths',
        'project_id': 'X-Project-ID',
    },
)

STREAM_END = Operation(
    name='message_stream_end',
    http=None,
    rule=GET_ALL_RULE,
    handler=streams.end,
    summary='End a stream of the connection.',
    error_message='Stream could not be ended',
    since=V2_1,
    member='stream_id',
)

OPERATIONS = (STREAM, STREAM_END)
