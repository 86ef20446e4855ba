# SPDX-License-Identifier: Apache-2.0
"""Answers of all operations, from the results of controllers.

:source: reference/websocket, "Actions"
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zaqar.api import home_document, operation_table
from zaqar.api.operation import Operation
from zaqar.api.websocket_frame_arguments import BAD_REQUEST
from zaqar.controllers.result_types import (
    AttemptPage,
    Claimed,
    Counted,
    Detailed,
    DetailedPage,
    MessagePage,
    OneMessage,
    Popped,
    QueuePage,
    Subscribed,
    SubscriptionPage,
)
from zaqar.errors import Conflict, Forbidden, InvalidRequest, ZaqarError
from zaqar.microversion_constants import Version
from zaqar.objects import Kind, Message, MessageSpan
from zaqar.transport import resource_representations, response_view_coverage

Embed = resource_representations.Embed

#: Nouns of resources that are named by their queue if they have no id.
_OF_A_QUEUE = ('Queue', 'Topic', 'Subscription')


@dataclass(slots=True)
class RequestInfo:
    """The part of a request that views need.

    :ivar scope: the queue or topic, None without one
    :ivar path: the further values of the path, by name
    :ivar embed: embeds the body of a message into a document
    """

    scope: Any
    path: Mapping[str, str]
    embed: Embed
    version: Version

    def name(self, noun: str) -> str:
        """Return the name of the resource of a noun, '' without one."""
        name = self.path.get(f'{noun.lower()}_id')
        name = name or self.path.get(f'{noun.lower()}_name')
        if name is None and self.scope is not None and noun in _OF_A_QUEUE:
            name = self.scope.name
        return name or ''


#: Status and body.
Reply = tuple[int, Any]

View = Callable[[Any, RequestInfo], Reply]


def message(
    item: Message, now: int, version: Version, embed: Embed
) -> dict[str, Any]:
    """Return a message as answers show it."""
    shown = resource_representations.content(item, now, version, embed)
    shown['id'] = item.id
    shown['claim_id'] = item.claim_id
    return shown


def _messages(
    items: Sequence[Message], now: int, request: RequestInfo
) -> list[dict[str, Any]]:
    return [
        message(item, now, request.version, request.embed) for item in items
    ]


def _sentence(status: int, noun: str, done: str) -> View:
    """Return the view of an operation that answers with a sentence."""
    return lambda result, request: (
        status,
        f'{noun} {request.name(noun)} {done}.',
    )


def _empty(result: None, request: RequestInfo) -> Reply:
    return 204, {}


def _ping(alive: bool, request: RequestInfo) -> Reply:
    if alive:
        return 204, {}
    return 503, {'error': 'A storage backend is not responding.'}


def _shown_by(represent: Callable[[Any], Mapping[str, Any]]) -> View:
    return lambda result, _: (200, represent(result))


def _plain(document: Mapping[str, Any], request: RequestInfo) -> Reply:
    return 200, document


def _page(
    noun: str, items: Sequence[Mapping[str, Any]], marker: str | None
) -> Reply:
    document: dict[str, Any] = {noun: items}
    if marker is not None:
        document['marker'] = marker
    return 200, document


def _queue_page(page: QueuePage, request: RequestInfo) -> Reply:
    items = []
    for queue in page.queues:
        item: dict[str, Any] = {'name': queue.name}
        if queue.metadata is not None:
            item['metadata'] = queue.metadata
        items.append(item)
    resource_representations.with_statistics(items, page)
    noun = 'queues' if page.kind is Kind.QUEUE else 'topics'
    status, document = _page(noun, items, page.marker)
    if page.count:
        document['count'] = page.count
    return status, document


def _of_scope(request: RequestInfo, done: str) -> str:
    return f'{request.scope.kind.capitalize()} {request.scope.name} {done}.'


def _stats(counted: Counted, request: RequestInfo) -> Reply:
    def shown(span: MessageSpan) -> dict[str, Any]:
        return {
            'id': span.id,
            **resource_representations.moment(span, counted.now),
        }

    statistics = resource_representations.statistics(
        counted, request.scope, request.version, shown
    )
    return (200 if counted.exists else 404), statistics


def _message_page(page: MessagePage, request: RequestInfo) -> Reply:
    items = _messages(page.messages, page.now, request)
    document: dict[str, Any] = {'messages': items}
    if page.marker:
        document['marker'] = page.marker
    return 200, document


def _one_message(result: OneMessage, request: RequestInfo) -> Reply:
    shown = message(result.message, result.now, request.version, request.embed)
    return 200, {'messages': shown}


def _deleted(popped: Popped | None, request: RequestInfo) -> Reply:
    if popped is None:
        return 204, {}
    items = [
        resource_representations.popped(
            item, popped.now, request.version, request.embed
        )
        for item in popped.messages
    ]
    return 200, {'messages': items}


def _claimed(claimed: Claimed | None, request: RequestInfo) -> Reply:
    if claimed is None:
        return 204, {'claim_id': None}
    claim = claimed.claim
    messages = _messages(claim.messages, claimed.now, request)
    return 201, {'claim_id': claim.id, 'messages': messages}


def _claim(claimed: Claimed, request: RequestInfo) -> Reply:
    claim = claimed.claim
    ttl, age = resource_representations.lifetime(claim, claimed.now)
    return 200, {
        'age': age,
        'ttl': ttl,
        'messages': _messages(claim.messages, claimed.now, request),
    }


def _subscription_page(page: SubscriptionPage, request: RequestInfo) -> Reply:
    items = [
        resource_representations.subscription(one, page.now)
        for one in page.subscriptions
    ]
    return _page('subscriptions', items, page.marker)


def _attempt_page(page: AttemptPage, request: RequestInfo) -> Reply:
    items = [*map(resource_representations.attempt, page.attempts)]
    return _page('attempts', items, page.marker)


def _accepted(result: None, request: RequestInfo) -> Reply:
    return 202, {}


def _subscribed(subscribed: Subscribed, request: RequestInfo) -> Reply:
    document = resource_representations.subscribed(subscribed, request.version)
    text = f'Subscription {request.scope.name} created.'
    return 201, {**document, 'message': text}


def _admin_views(
    noun: str, represent: Callable[[Any, bool], dict[str, Any]]
) -> Mapping[str, View]:
    def page(result: DetailedPage[Any], request: RequestInfo) -> Reply:
        items = [represent(item, result.detailed) for item in result.items]
        return _page(f'{noun}s', items, items[-1]['name'] if items else None)

    def one(result: Detailed[Any], request: RequestInfo) -> Reply:
        return 200, represent(result.item, result.detailed)

    return {
        f'{noun}_list': page,
        f'{noun}_create': _sentence(201, noun.capitalize(), 'created'),
        f'{noun}_get': one,
        f'{noun}_update': one,
        f'{noun}_delete': _sentence(204, noun.capitalize(), 'removed'),
    }


_VIEWS: Mapping[str, View] = {
    'get_home_doc': lambda features, _: (
        200,
        home_document.document(frozenset(features)),
    ),
    'ping_node': _ping,
    'ping_node_head': _ping,
    'health': lambda report, _: (
        resource_representations.health_status(report),
        report,
    ),
    'queue_list': _queue_page,
    'queue_create': lambda is_new, request: (
        201 if is_new else 204,
        _of_scope(request, 'created'),
    ),
    'queue_get': _plain,
    'queue_update': _plain,
    'queue_delete': lambda _, request: (204, _of_scope(request, 'removed')),
    'queue_get_stats': _stats,
    'queue_get_guarantees': _shown_by(resource_representations.guarantees),
    'queue_purge': _empty,
    'queue_share': _plain,
    'message_post': lambda posted, _: (201, {'message_ids': posted.ids}),
    'message_list': _message_page,
    'message_get_many': _message_page,
    'message_stream': lambda stream, _: (
        200,
        {'stream_id': stream.id, 'marker': stream.start.marker},
    ),
    'message_stream_end': _empty,
    'message_delete_many': _deleted,
    'message_get': _one_message,
    'message_explain': _shown_by(resource_representations.explanation),
    'message_delete': _empty,
    'claim_create': _claimed,
    'claim_get': _claim,
    'claim_update': _sentence(204, 'Claim', 'updated'),
    'claim_settle': _plain,
    'claim_delete': _sentence(204, 'Claim', 'deleted'),
    **dict.fromkeys(
        ('quota_get', 'quota_get_project', 'quota_update'),
        _shown_by(resource_representations.quotas),
    ),
    'redrive_create': lambda result, _: resource_representations.new_redrive(
        result
    ),
    'redrive_list': _shown_by(resource_representations.redrives),
    'redrive_get': _shown_by(resource_representations.redrive),
    'redrive_delete': _sentence(204, 'Redrive', 'cancelled'),
    'subscription_list': _subscription_page,
    'subscription_create': _subscribed,
    'subscription_get': lambda result, _: (
        200,
        resource_representations.subscription(*result),
    ),
    'subscription_deliveries': _plain,
    'subscription_attempts': _attempt_page,
    'subscription_resend': _accepted,
    'subscription_replay': _accepted,
    'subscription_secret': _shown_by(resource_representations.key),
    'subscription_rotate_secret': _shown_by(resource_representations.key),
    'subscription_update': _sentence(204, 'Subscription', 'updated'),
    'subscription_delete': _sentence(204, 'Subscription', 'removed'),
    'subscription_confirm': _sentence(204, 'Subscription', 'confirmed'),
    **_admin_views('pool', resource_representations.pool),
    **_admin_views('flavor', resource_representations.flavor),
}

VIEWS = response_view_coverage.complete(_VIEWS, operation_table.OPERATIONS)


def refusal(row: Operation, error: ZaqarError, request: RequestInfo) -> Reply:
    """Return status and body of an error."""
    text = str(error)
    if isinstance(error, Forbidden):
        return error.status, {'error': text}
    if isinstance(error, Conflict) and 'subscription_create' in row.name:
        return error.status, f'Subscription {request.scope.name} not created.'
    if isinstance(error, InvalidRequest):
        text = BAD_REQUEST + text
    elif text.startswith(row.error_message):
        # A store has failed, without a text of its own.
        noun, _, rest = row.error_message.partition(' ')
        text = ' '.join(filter(None, (noun, request.name(noun), rest))) + '.'
    return error.status, {'error': text, 'exception': text}
