# SPDX-License-Identifier: Apache-2.0
"""From what a controller returns to what a frame says.

:source: reference/websocket, "Actions"
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

from zaqar.api import home_document, operation_table
from zaqar.api.operation import Operation
from zaqar.api.websocket_frames import BAD_REQUEST
from zaqar.controllers.flavors import Flavor, FlavorPage
from zaqar.controllers.pools import PoolPage, ShownPool
from zaqar.controllers.results import (
    Claimed,
    Counted,
    MessagePage,
    OneMessage,
    Popped,
    Posted,
    QueuePage,
    SubscriptionPage,
)
from zaqar.errors import Conflict, Forbidden, InvalidRequest, ZaqarError
from zaqar.models import Kind, Message, MessageSpan
from zaqar.transport import representations, view_table

Embed = representations.Embed

#: Nouns of things that are called as their queue, unless they have an id.
_OF_A_QUEUE = ('Queue', 'Topic', 'Subscription')


@dataclass(slots=True)
class Asked:
    """What a view may want to know of the request.

    :ivar scope: the queue or topic, None without one
    :ivar path: the further values of the path, by name
    :ivar embed: puts a message's body into the answer
    """

    scope: Any
    path: Mapping[str, str]
    embed: Embed

    def name(self, noun: str) -> str:
        """Return what the thing is called that a noun stands for, or ''."""
        name = self.path.get(f'{noun.lower()}_id')
        name = name or self.path.get(f'{noun.lower()}_name')
        if name is None and self.scope is not None and noun in _OF_A_QUEUE:
            name = self.scope.name
        return name or ''


#: Status and body.
Said = tuple[int, Any]

View = Callable[[Any, Asked], Said]


def _message(item: Message, now: int, embed: Embed) -> dict[str, Any]:
    shown = representations.content(item, now, embed)
    shown['id'] = item.id
    shown['claim_id'] = item.claim_id
    return shown


def _messages(
    items: Sequence[Message], now: int, asked: Asked
) -> list[dict[str, Any]]:
    return [_message(item, now, asked.embed) for item in items]


def _said(status: int, noun: str, done: str) -> View:
    """Return the view of an operation that says no more than a sentence."""
    return lambda result, asked: (status, f'{noun} {asked.name(noun)} {done}.')


def _empty(result: None, asked: Asked) -> Said:
    return 204, {}


def _health(report: Mapping[str, Any], asked: Asked) -> Said:
    return representations.health_status(report), report


def _home(features: Set[str], asked: Asked) -> Said:
    return 200, _home_document(frozenset(features))


@functools.cache
def _home_document(features: frozenset[str]) -> Any:
    return home_document.document(features)


def _ping(alive: bool, asked: Asked) -> Said:
    return (204, {}) if alive else (503, {'error': 'A store is silent.'})


def _plain(found: Mapping[str, Any], asked: Asked) -> Said:
    return 200, found


def _page(
    noun: str, items: Sequence[Mapping[str, Any]], marker: str | None
) -> Said:
    document: dict[str, Any] = {noun: items}
    if marker is not None:
        document['marker'] = marker
    return 200, document


def _last_name(items: Sequence[Mapping[str, Any]]) -> str | None:
    return items[-1]['name'] if items else None


def _queue_page(page: QueuePage, asked: Asked) -> Said:
    items = []
    for queue in page.queues:
        item: dict[str, Any] = {'name': queue.name}
        if queue.metadata is not None:
            item['metadata'] = queue.metadata
        items.append(item)
    noun = 'queues' if page.kind is Kind.QUEUE else 'topics'
    status, document = _page(noun, items, page.marker)
    if page.count:
        document['count'] = page.count
    return status, document


def _created(made: bool, asked: Asked) -> Said:
    return (201 if made else 204), _of_scope(asked, 'created')


def _removed(result: None, asked: Asked) -> Said:
    return 204, _of_scope(asked, 'removed')


def _of_scope(asked: Asked, done: str) -> str:
    return f'{asked.scope.kind.capitalize()} {asked.scope.name} {done}.'


def _stats(counted: Counted, asked: Asked) -> Said:
    def shown(span: MessageSpan) -> dict[str, Any]:
        return {'id': span.id, **representations.moment(span, counted.now)}

    found = representations.counts(counted, asked.scope, shown)
    return (200 if counted.exists else 404), {'messages': found}


def _posted(posted: Posted, asked: Asked) -> Said:
    return 201, {'message_ids': posted.ids}


def _message_page(page: MessagePage, asked: Asked) -> Said:
    items = _messages(page.messages, page.now, asked)
    document: dict[str, Any] = {'messages': items}
    if page.marker:
        document['marker'] = page.marker
    return 200, document


def _one_message(found: OneMessage, asked: Asked) -> Said:
    return 200, {'messages': _message(found.message, found.now, asked.embed)}


def _deleted(popped: Popped | None, asked: Asked) -> Said:
    if popped is None:
        return 204, {}
    return 200, {
        'messages': [
            representations.popped(item, popped.now, asked.embed)
            for item in popped.messages
        ]
    }


def _claimed(found: Claimed | None, asked: Asked) -> Said:
    if found is None:
        return 204, {'claim_id': None}
    claim = found.claim
    messages = _messages(claim.messages, found.now, asked)
    return 201, {'claim_id': claim.id, 'messages': messages}


def _claim(found: Claimed, asked: Asked) -> Said:
    claim = found.claim
    return 200, {
        'age': representations.age(
            claim.expires_at - claim.ttl * 1000, found.now
        ),
        'ttl': claim.ttl,
        'messages': _messages(claim.messages, found.now, asked),
    }


def _subscription_page(page: SubscriptionPage, asked: Asked) -> Said:
    items = [
        representations.subscription(one, page.now)
        for one in page.subscriptions
    ]
    return _page('subscriptions', items, page.marker)


def _subscribed(found: str, asked: Asked) -> Said:
    text = f'Subscription {asked.scope.name} created.'
    return 201, {'subscription_id': found, 'message': text}


def _one_subscription(found: Any, asked: Asked) -> Said:
    return 200, representations.subscription(*found)


def _pool_page(page: PoolPage, asked: Asked) -> Said:
    items = [representations.pool(pool, page.detailed) for pool in page.pools]
    return _page('pools', items, _last_name(items))


def _one_pool(shown: ShownPool, asked: Asked) -> Said:
    return 200, representations.pool(shown.pool, shown.detailed)


def _flavor_page(page: FlavorPage, asked: Asked) -> Said:
    items = [
        representations.flavor(flavor, page.detailed)
        for flavor in page.flavors
    ]
    return _page('flavors', items, _last_name(items))


def _one_flavor(flavor: Flavor, asked: Asked) -> Said:
    return 200, representations.flavor(flavor, detailed=True)


_VIEWS: Mapping[str, View] = {
    'get_home_doc': _home,
    'ping_node': _ping,
    'ping_node_head': _ping,
    'health': _health,
    'queue_list': _queue_page,
    'queue_create': _created,
    'queue_get': _plain,
    'queue_update': _plain,
    'queue_delete': _removed,
    'queue_get_stats': _stats,
    'queue_purge': _empty,
    'queue_share': _plain,
    'message_post': _posted,
    'message_list': _message_page,
    'message_get_many': _message_page,
    'message_delete_many': _deleted,
    'message_get': _one_message,
    'message_delete': _empty,
    'claim_create': _claimed,
    'claim_get': _claim,
    'claim_update': _said(204, 'Claim', 'updated'),
    'claim_delete': _said(204, 'Claim', 'deleted'),
    'subscription_list': _subscription_page,
    'subscription_create': _subscribed,
    'subscription_get': _one_subscription,
    'subscription_deliveries': _plain,
    'subscription_update': _said(204, 'Subscription', 'updated'),
    'subscription_delete': _said(204, 'Subscription', 'removed'),
    'subscription_confirm': _said(204, 'Subscription', 'confirmed'),
    'pool_list': _pool_page,
    'pool_create': _said(201, 'Pool', 'created'),
    'pool_get': _one_pool,
    'pool_update': _one_pool,
    'pool_delete': _said(204, 'Pool', 'removed'),
    'flavor_list': _flavor_page,
    'flavor_create': _said(201, 'Flavor', 'created'),
    'flavor_get': _one_flavor,
    'flavor_update': _one_flavor,
    'flavor_delete': _said(204, 'Flavor', 'removed'),
}

VIEWS = view_table.build(_VIEWS, operation_table.OPERATIONS)


def refusal(row: Operation, error: ZaqarError, asked: Asked) -> Said:
    """Return status and body of what an operation has raised."""
    text = str(error)
    if isinstance(error, Forbidden):
        return error.status, {'error': text}
    if isinstance(error, Conflict) and 'subscription_create' in row.name:
        return error.status, f'Subscription {asked.scope.name} not created.'
    if isinstance(error, InvalidRequest):
        text = BAD_REQUEST + text
    elif text.startswith(row.failure):
        # A store has failed, and said nothing of its own.
        noun, _, rest = row.failure.partition(' ')
        text = ' '.join(filter(None, (noun, asked.name(noun), rest))) + '.'
    return error.status, {'error': text, 'exception': text}


def view(row: Operation, result: Any, asked: Asked) -> Said:
    """Return status and body of what an operation has returned."""
    return VIEWS[row.name](result, asked)
