# SPDX-License-Identifier: Apache-2.0
"""JSON Schemas of responses, for the OpenAPI document."""

from collections.abc import Mapping
from typing import get_args

from zaqar.api.json_schema_parts import (
    ATTRIBUTES,
    COUNT,
    METADATA,
    MOMENT,
    TEXT,
    VISIBLE_TEXT,
    Schema,
    array,
    obj,
    since,
)
from zaqar.controllers.configured_quotas import RESOURCES, UNLIMITED
from zaqar.controllers.delivery_attempt_history import OUTCOMES
from zaqar.controllers.message_explanations import State
from zaqar.controllers.redrive_records import Status
from zaqar.microversion_constants import V2_1
from zaqar.storage.store_guarantees import LAST_SECOND, Order

LINKS: Schema = {
    'type': 'array',
    'items': obj({'rel': {'const': 'next'}, 'href': TEXT}),
    'maxItems': 1,
}


def page(noun: str, item: Schema) -> Schema:
    return obj({noun: array(item), 'links': LINKS})


_MESSAGE = {
    'id': TEXT,
    'href': TEXT,
    'ttl': COUNT,
    'age': COUNT,
    'body': {},
    'checksum': {'type': 'string', 'pattern': '^MD5:[0-9a-f]{32}$'},
    'created_at': since(V2_1, MOMENT),
    'claim_count': since(V2_1, COUNT),
    'visible_at': since(V2_1, MOMENT),
    'group': since(V2_1, VISIBLE_TEXT),
    'attributes': since(V2_1, ATTRIBUTES),
    'dedup_id': since(V2_1, VISIBLE_TEXT),
    'dead_letter': since(
        V2_1,
        obj(
            {'queue': TEXT, 'reason': TEXT, 'claim_count': COUNT, 'at': MOMENT}
        ),
    ),
}

MESSAGE = obj(_MESSAGE, optional=['checksum'])
MESSAGES = obj({'messages': array(MESSAGE)})
MESSAGE_PAGE = obj(
    {'messages': array(MESSAGE), 'links': LINKS}, optional=['links']
)
POPPED = obj(
    {
        'messages': array(
            obj(
                {
                    **{k: v for k, v in _MESSAGE.items() if k != 'href'},
                    'claim_id': {'type': ['string', 'null']},
                    'claim_count': COUNT,
                },
                optional=['checksum'],
            )
        )
    }
)
STREAM = obj({'stream_id': TEXT, 'marker': TEXT})
POSTED = obj({'resources': array(TEXT)})
CLAIM = obj(
    {'href': TEXT, 'ttl': COUNT, 'age': COUNT, 'messages': array(MESSAGE)}
)
SETTLED = obj(
    {
        'results': array(
            obj(
                {
                    'id': TEXT,
                    'status': {
                        'enum': [
                            *('deleted', 'released', 'extended'),
                            *('rejected', 'not_held'),
                        ]
                    },
                }
            )
        )
    }
)
_NAMED = array(
    obj(
        {'name': TEXT, 'href': TEXT, 'metadata': METADATA},
        optional=['metadata'],
    )
)

TOPIC_PAGE = obj({'topics': _NAMED, 'links': LINKS})

_END = obj({'href': TEXT, 'age': COUNT, 'created': TEXT})


def _counts(newer: Mapping[str, Schema], *optional: str) -> Schema:
    counts = {'claimed': COUNT, 'free': COUNT, 'total': COUNT}
    ends = {'oldest': _END, 'newest': _END}
    return obj({**counts, **ends, **newer}, optional=[*optional, *ends])


_RATE: Schema = {'type': ['number', 'null'], 'minimum': 0}
_ADDED = {
    'delayed': since(V2_1, COUNT),
    'held_by_groups': since(V2_1, COUNT),
}
STATS = obj(
    {
        'messages': _counts(_ADDED),
        'oldest_free_age': since(
            V2_1, {'type': ['integer', 'null'], 'minimum': 0}
        ),
        'rates': since(V2_1, obj({'posted': _RATE, 'deleted': _RATE})),
    }
)
_IN_SHORT: Schema = obj(
    {
        'messages': obj(
            {'claimed': COUNT, 'free': COUNT, 'total': COUNT, 'delayed': COUNT}
        ),
        'oldest_free_age': {'type': ['integer', 'null'], 'minimum': 0},
        'rates': obj({'posted': _RATE, 'deleted': _RATE}),
    }
)
QUEUE_PAGE = obj(
    {
        'queues': array(
            obj(
                {
                    'name': TEXT,
                    'href': TEXT,
                    'metadata': METADATA,
                    'stats': since(
                        V2_1, {'anyOf': [_IN_SHORT, {'type': 'null'}]}
                    ),
                },
                optional=['metadata', 'stats'],
            )
        ),
        'links': LINKS,
        'count': COUNT,
    },
    optional=['count'],
)
TOPIC_STATS = obj({'messages': _counts({}, 'claimed', 'free')})

_SURVIVAL: Schema = {
    'anyOf': [{'type': ['boolean', 'null']}, {'enum': [LAST_SECOND]}]
}
GUARANTEES = obj(
    {
        'order': {'enum': [*Order, None]},
        'delivery': {'const': 'at-least-once'},
        'claims': {'const': 'exclusive'},
        'dedup_window': COUNT,
        'acknowledged_survives': obj(
            {
                'process_kill': {'type': 'boolean'},
                'store_kill': _SURVIVAL,
                'failover': _SURVIVAL,
            }
        ),
        'because': array(TEXT),
        'store': {'type': ['string', 'null']},
        'checked_at': MOMENT,
    }
)
EXPLANATION = obj(
    {
        'state': {'enum': [*State]},
        'listed': {'type': 'boolean'},
        'claimable': {'type': 'boolean'},
        'because': array(TEXT),
        'claim': {
            **obj({'id': TEXT, 'ends_at': MOMENT}),
            'type': ['object', 'null'],
        },
        'claim_count': COUNT,
        'group': {'type': ['string', 'null']},
    }
)

ERROR = obj({'title': TEXT, 'description': TEXT}, optional=['description'])

REDRIVE = obj(
    {
        'redrive_id': TEXT,
        'status': {'enum': [*get_args(Status)]},
        'to': {'type': ['string', 'null']},
        'moved': COUNT,
        'matched': COUNT,
        'limit': {'type': ['integer', 'null']},
        'rate': {'type': ['integer', 'null']},
        'started_at': MOMENT,
        'ended_at': {'anyOf': [MOMENT, {'type': 'null'}]},
        'error': {'type': ['string', 'null']},
    }
)
REDRIVES = obj({'redrives': array(REDRIVE)})
STARTED_REDRIVE = obj({'redrive_id': TEXT})
DRY_RUN = obj(
    {'matched': COUNT, 'scanned': COUNT, 'complete': {'type': 'boolean'}}
)

_SECRET: Schema = {'type': 'string', 'pattern': '^whsec_[A-Za-z0-9+/]{43}=$'}

SUBSCRIBED = obj({'subscription_id': TEXT, 'secret': since(V2_1, _SECRET)})

SUBSCRIPTION = obj(
    {
        'id': TEXT,
        'source': TEXT,
        'subscriber': TEXT,
        'ttl': COUNT,
        'age': COUNT,
        'options': {'type': 'object'},
        'confirmed': {'type': 'boolean'},
    }
)

_NULL: Schema = {'type': 'null'}

KEY = obj({'secret': _SECRET, 'former_until': {'anyOf': [MOMENT, _NULL]}})

DELIVERIES = obj(
    {
        'delivered': COUNT,
        'retried': COUNT,
        'given_up': COUNT,
        'last_delivery_at': {'anyOf': [MOMENT, _NULL]},
        'last_failure': {
            'anyOf': [
                obj(
                    {
                        'at': MOMENT,
                        'reason': TEXT,
                        'given_up': {'type': 'boolean'},
                    }
                ),
                _NULL,
            ]
        },
        'filtered': since(V2_1, COUNT),
        'pending': since(V2_1, {'anyOf': [COUNT, _NULL]}),
        'oldest_pending_at': since(V2_1, {'anyOf': [MOMENT, _NULL]}),
    }
)

ATTEMPT_PAGE = page(
    'attempts',
    obj(
        {
            'id': TEXT,
            'at': MOMENT,
            'attempt': COUNT,
            'outcome': {'enum': [*OUTCOMES]},
            'http_status': {'type': ['integer', 'null']},
            'duration_ms': COUNT,
            'error': {'type': ['string', 'null']},
            'next_attempt_at': {'anyOf': [MOMENT, _NULL]},
        }
    ),
)

SUBSCRIPTION_PAGE = page('subscriptions', SUBSCRIPTION)

GRANT = obj(
    {
        'paths': array(TEXT),
        'methods': array(TEXT),
        'project': TEXT,
        'expires': TEXT,
        'signature': {
            'type': 'string',
            'pattern': r'^[0-9a-f]{64}(\.[0-9a-f]{16})?$',
        },
    }
)

_QUOTA = obj(
    {
        'limit': {'type': 'integer', 'minimum': UNLIMITED},
        'usage': {'anyOf': [COUNT, _NULL]},
    }
)

QUOTAS = obj(
    {'project_id': TEXT, 'quotas': obj(dict.fromkeys(RESOURCES, _QUOTA))}
)
