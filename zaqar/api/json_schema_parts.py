# SPDX-License-Identifier: Apache-2.0
"""Parts of JSON Schemas that bodies of requests and of responses share."""

from collections.abc import Mapping, Sequence
from typing import Any

from zaqar.controllers import message_group_and_attribute_checks
from zaqar.microversion_constants import V2_1, Version

Schema = Mapping[str, Any]

#: The mark of what a version adds.
SINCE = 'x-openstack-since'

TEXT: Schema = {'type': 'string'}
COUNT: Schema = {'type': 'integer', 'minimum': 0}


def obj(members: Mapping[str, Schema], optional: Sequence[str] = ()) -> Schema:
    """Return the schema of an object with these members and no others.

    Those that a later version adds are optional.
    """
    required = [
        key
        for key, schema in members.items()
        if key not in optional and SINCE not in schema
    ]
    return {
        'type': 'object',
        'properties': members,
        'required': required,
        'additionalProperties': False,
    }


def since(version: Version, schema: Schema) -> Schema:
    """Return the schema of a member that a version adds."""
    return {**schema, SINCE: str(version)}


def array(items: Schema) -> Schema:
    return {'type': 'array', 'items': items}


METADATA: Schema = {
    'type': 'object',
    'description': 'Free keys, and the reserved ones listed.',
    'properties': {
        '_max_messages_post_size': {'type': ['integer', 'null']},
        '_default_message_ttl': {'type': ['integer', 'null']},
        '_default_message_delay': {'type': ['integer', 'null']},
        '_dead_letter_queue': {'type': ['string', 'null']},
        '_dead_letter_queue_messages_ttl': {'type': ['integer', 'null']},
        '_max_claim_count': {'type': ['integer', 'null']},
        '_enable_encrypt_messages': {'type': ['boolean', 'null']},
        '_max_messages': {'type': ['integer', 'null']},
        '_retry_policy': {'type': ['object', 'null']},
        '_flavor': {},
        '_default_claim_ttl': since(V2_1, {'type': ['integer', 'null']}),
        '_default_wait': since(V2_1, {'type': ['integer', 'null']}),
        '_dedup_window': since(V2_1, {'type': ['integer', 'null']}),
        'sqs_fifo': since(V2_1, {'type': ['object', 'null']}),
        'sqs_redrive_allow': since(V2_1, {'type': ['object', 'null']}),
    },
    'additionalProperties': True,
}

MOMENT: Schema = {'type': 'string', 'format': 'date-time'}

VISIBLE_TEXT: Schema = {
    'type': 'string',
    'pattern': f'^{message_group_and_attribute_checks.TEXT.pattern}$',
    'description': '1 to 128 printable ASCII characters without blanks.',
}
ATTRIBUTES: Schema = {
    'type': 'object',
    'maxProperties': message_group_and_attribute_checks.MAX_ATTRIBUTES
    + len(message_group_and_attribute_checks.NOT_COUNTED),
    'additionalProperties': obj(
        {
            'type': {
                'type': 'string',
                'pattern': (
                    f'^{message_group_and_attribute_checks.TYPE.pattern}$'
                ),
            },
            'value': {'type': 'string', 'minLength': 1},
        }
    ),
}

ANY_OBJECT: Schema = {'type': 'object'}
