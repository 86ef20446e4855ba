# SPDX-License-Identifier: Apache-2.0
"""Operations on topics: those of queues, under other paths.

A topic is a queue without claims; only the kind of the scope differs.
"""

import dataclasses
import functools
import re
from collections.abc import Mapping
from typing import Any

from zaqar.api import response_schemas
from zaqar.api.operation import Operation, Rule
from zaqar.api.operation_declarations import (
    messages,
    queues,
    subscriptions,
)
from zaqar.api.policy_base_rules import MEMBER, READER
from zaqar.controllers import queues as behaviour
from zaqar.objects import Kind

_PREFIX = 'topic_'

_WORD = re.compile(r'\b([Qq])ueue(s?)\b')

#: Differences from queues, by the name of the queue's operation.
_QUEUES: Mapping[str, Mapping[str, Any]] = {
    'queue_list': {
        'rule': Rule('topics:get_all', READER, 'List topics.'),
        'handler': functools.partial(behaviour.list_, kind=Kind.TOPIC),
        'responses': {200: response_schemas.TOPIC_PAGE},
    },
    'queue_create': {'rule': Rule('topics:create', MEMBER, 'Create a topic.')},
    'queue_get': {
        'rule': Rule('topics:get', READER, 'Show the metadata of a topic.'),
    },
    'queue_update': {
        'rule': Rule('topics:update', MEMBER, 'Change metadata of a topic.'),
    },
    'queue_delete': {'rule': Rule('topics:delete', MEMBER, 'Delete a topic.')},
    'queue_get_stats': {
        'rule': Rule('topics:stats', READER, 'Count messages of a topic.'),
        'responses': {200: response_schemas.TOPIC_STATS},
    },
    'queue_purge': {
        'rule': Rule('topics:purge', MEMBER, 'Remove what a topic holds.'),
    },
}


def model(operation: Operation) -> str:
    """Return the name of the equivalent operation on queues."""
    name = operation.name.removeprefix(_PREFIX)
    return name if name in _SHARED_NAMES else f'queue_{name}'


def _of_topic(row: Operation, **changes: Any) -> Operation:
    return dataclasses.replace(
        row,
        name=_PREFIX + row.name.removeprefix('queue_'),
        http=_topics(str(row.http)),
        summary=_WORD.sub(_translated, row.summary),
        error_message=_WORD.sub(_translated, row.error_message),
        rel=row.rel and _relation(row.rel),
        **changes,
    )


def _topics(text: str) -> str:
    return text.replace('queue', 'topic')


def _translated(match: re.Match[str]) -> str:
    return ('T' if match[1] == 'Q' else 't') + 'opic' + match[2]


def _relation(rel: str) -> str:
    if 'queue' in rel:
        return _topics(rel)
    return rel.replace('rel/', f'rel/{_PREFIX}')


def _without_counts(row: Operation) -> dict[str, Any]:
    counts = ('with_count', 'with_stats')
    params = tuple(p for p in row.query if p.name not in counts)
    if len(params) == len(row.query):
        return {}
    return {'query': params, 'rules': {}}


_FROM_QUEUES = tuple(
    _of_topic(row, **_without_counts(row), **_QUEUES[row.name])
    for row in queues.OPERATIONS
    if row.name in _QUEUES
)

#: What only makes sense with claims.
_OF_QUEUES_ALONE = frozenset(('message_explain',))

#: Messages and subscriptions of topics, under the rules of queues.
_SHARED = tuple(
    _of_topic(row)
    for row in (*messages.OPERATIONS, *subscriptions.OPERATIONS)
    if row.http and row.name not in _OF_QUEUES_ALONE
)

_SHARED_NAMES = frozenset(row.name.removeprefix(_PREFIX) for row in _SHARED)

OPERATIONS = (*_FROM_QUEUES, *_SHARED)
