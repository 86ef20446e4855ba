# SPDX-License-Identifier: Apache-2.0
"""Operations on subscriptions."""

from zaqar.api import bounded_json, json_schema_parts, response_schemas
from zaqar.api.operation import Body, Operation, Param, Rule
from zaqar.api.policy_base_rules import (
    CONSUMER,
    MEMBER,
    PRE_SIGNED,
    READER,
    any_of,
)
from zaqar.controllers import (
    subscription_deliveries,
    subscription_signing_keys,
    subscriptions,
)
from zaqar.microversion_constants import V2_1

_ITEM = '/v2/queues/{queue_name}/subscriptions/{subscription_id}'
_ALL = '/v2/queues/{queue_name}/subscriptions'

_OBSERVER = any_of(READER, PRE_SIGNED)
_OWNER = any_of(MEMBER, PRE_SIGNED)

_FIELDS: dict[str, json_schema_parts.Schema] = {
    'subscriber': {'type': 'string', 'format': 'uri'},
    'ttl': {'type': ['integer', 'null'], 'minimum': 60},
    'options': {'type': ['object', 'null']},
}


def _body(schema: json_schema_parts.Schema, required: bool = False) -> Body:
    return Body(
        decode=bounded_json.decode_any, schema=schema, required=required
    )


OPERATIONS = (
    Operation(
        name='subscription_list',
        http=f'GET {_ALL}',
        rule=Rule(
            'subscription:get_all', _OBSERVER, 'List subscriptions of a queue.'
        ),
        handler=subscriptions.list_,
        summary='List subscriptions in the order of their creation.',
        error_message='Subscriptions could not be listed',
        responses={200: response_schemas.SUBSCRIPTION_PAGE},
        query=(
            Param('marker', 'text', 'Those created after this.', 'marker'),
            Param(
                'limit',
                'int',
                'Subscriptions of the page.',
                'subscription_limit',
            ),
        ),
        rel='rel/subscriptions_get',
    ),
    Operation(
        name='subscription_create',
        http=f'POST {_ALL}',
        rule=Rule('subscription:create', CONSUMER, 'Subscribe to a queue.'),
        handler=subscriptions.create,
        summary='Subscribe to a queue; makes the queue if it is missing.',
        error_message='Subscription could not be created',
        responses={201: response_schemas.SUBSCRIBED},
        conflict='The subscriber has confirmed already.',
        body=_body(
            json_schema_parts.obj(_FIELDS, optional=['ttl', 'options'])
        ),
        rel='rel/subscriptions_post',
    ),
    Operation(
        name='subscription_get',
        http=f'GET {_ITEM}',
        rule=Rule('subscription:get', _OBSERVER, 'Show a subscription.'),
        handler=subscriptions.show,
        summary='Show a subscription.',
        error_message='Subscription could not be retrieved',
        responses={200: response_schemas.SUBSCRIPTION},
        rel='rel/subscription',
    ),
    Operation(
        name='subscription_deliveries',
        http=f'GET {_ITEM}/deliveries',
        rule=Rule(
            'subscription:get_deliveries',
            _OBSERVER,
            'Show the delivery statistics of a subscription.',
        ),
        handler=subscription_deliveries.show,
        summary='Show the delivery statistics of a subscription.',
        error_message='Deliveries could not be retrieved',
        responses={200: response_schemas.DELIVERIES},
    ),
    Operation(
        name='subscription_attempts',
        http=f'GET {_ITEM}/attempts',
        rule=Rule(
            'subscription:get_attempts',
            _OBSERVER,
            'List attempts to deliver messages to a subscriber.',
        ),
        handler=subscription_deliveries.attempts,
        summary='List failed attempts to deliver messages, and the last '
        'success, the newest first.',
        error_message='Attempts could not be listed',
        responses={200: response_schemas.ATTEMPT_PAGE},
        query=(
            Param('state', 'text', 'Those with this outcome only.'),
            Param('marker', 'text', 'Those before this.'),
            Param('limit', 'int', 'Attempts of the page.'),
        ),
        since=V2_1,
    ),
    Operation(
        name='subscription_resend',
        http=f'POST {_ITEM}/attempts/{{attempt_id}}/resend',
        rule=Rule(
            'subscription:resend',
            _OWNER,
            'Send a message again that was given up.',
        ),
        handler=subscription_deliveries.resend,
        summary='Send a message again that was given up.',
        error_message='Delivery could not be resent',
        conflict='It was not given up, or is not kept any more.',
        responses={202: None},
        since=V2_1,
    ),
    Operation(
        name='subscription_replay',
        http=f'POST {_ITEM}/replay',
        rule=Rule(
            'subscription:replay',
            _OWNER,
            'Send what a queue still holds to a subscriber again.',
        ),
        handler=subscription_deliveries.replay,
        summary='Send what the queue still holds to the subscriber again.',
        error_message='Messages could not be replayed',
        conflict='The subscriber has not confirmed, or the last replay was '
        'requested less than a minute ago.',
        responses={202: None},
        body=_body(
            json_schema_parts.obj(
                {
                    'marker': json_schema_parts.TEXT,
                    'since': json_schema_parts.MOMENT,
                },
                optional=['marker', 'since'],
            )
        ),
        since=V2_1,
    ),
    Operation(
        name='subscription_secret',
        http=f'GET {_ITEM}/secret',
        rule=Rule(
            # Secrets are not for holders of pre-signed URLs.
            'subscription:get_secret',
            MEMBER,
            'Show the secret by which receivers verify messages.',
        ),
        handler=subscription_signing_keys.show,
        summary='Show the secret of a subscription.',
        error_message='Secret could not be retrieved',
        responses={200: response_schemas.KEY},
        since=V2_1,
    ),
    Operation(
        name='subscription_rotate_secret',
        http=f'POST {_ITEM}/secret',
        rule=Rule(
            'subscription:rotate_secret',
            MEMBER,
            'Replace the secret by which receivers verify messages.',
        ),
        handler=subscription_signing_keys.rotate,
        summary='Replace the secret of a subscription; both sign for a day.',
        error_message='Secret could not be replaced',
        responses={200: response_schemas.KEY},
        since=V2_1,
    ),
    Operation(
        name='subscription_update',
        http=f'PATCH {_ITEM}',
        rule=Rule('subscription:update', _OWNER, 'Change a subscription.'),
        handler=subscriptions.update,
        summary='Change a subscription; what is null stays as it is.',
        error_message='Subscription could not be updated',
        conflict='The new subscriber has a subscription already.',
        body=_body(
            json_schema_parts.obj(
                _FIELDS, optional=['subscriber', 'ttl', 'options']
            )
        ),
        rel='rel/subscription_patch',
    ),
    Operation(
        name='subscription_delete',
        http=f'DELETE {_ITEM}',
        rule=Rule('subscription:delete', _OWNER, 'End a subscription.'),
        handler=subscriptions.delete,
        summary='End a subscription.',
        error_message='Subscription could not be deleted',
        rel='rel/subscription',
    ),
    Operation(
        name='subscription_confirm',
        http=f'PUT {_ITEM}/confirm',
        rule=Rule('subscription:confirm', _OWNER, 'Confirm a subscription.'),
        handler=subscriptions.confirm,
        summary='Confirm a subscription, or refuse it.',
        error_message='Subscription could not be confirmed',
        body=_body(json_schema_parts.obj({'confirmed': {'type': 'boolean'}})),
        rel='rel/subscription_confirm',
    ),
)
