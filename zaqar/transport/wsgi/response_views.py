# SPDX-License-Identifier: Apache-2.0
"""HTTP responses of all operations, from the results of controllers."""

import functools
from collections.abc import Callable, Mapping, Set
from typing import Any
from urllib.parse import quote

from zaqar.api import home_document, microversion_negotiation, operation_table
from zaqar.controllers import idempotency_key
from zaqar.controllers.result_types import (
    AttemptPage,
    Claimed,
    Counted,
    Detailed,
    DetailedPage,
    DryRun,
    MessagePage,
    OneMessage,
    Popped,
    Posted,
    QueuePage,
    StartedRedrive,
    Subscribed,
    SubscriptionPage,
)
from zaqar.microversion_constants import Version
from zaqar.objects import Kind, Message, MessageSpan, Scope
from zaqar.transport import resource_representations, response_view_coverage
from zaqar.transport.wsgi.page_links import link, next_page
from zaqar.transport.wsgi.responses import Response, encode, json_response

#: Takes a result, the queue or topic of the path (None without one) and the
#: request's path.
View = Callable[[Any, Any, str], Response]

#: Characters of a ``Location``, at most. Proxies hold all headers of an answer
#: in a page of memory, and some clients read no line beyond 64 KiB.
MAX_LOCATION = 2048

_COLLECTION = {Kind.QUEUE: '/v2/queues', Kind.TOPIC: '/v2/topics'}


def base(scope: Scope) -> str:
    """Return the path of a queue or topic."""
    return f'{_COLLECTION[scope.kind]}/{scope.name}'


def message(
    item: Message, now: int, folder: str, version: Version
) -> dict[str, Any]:
    """Return a message with its link, which is below ``folder``."""
    href = f'{folder}/{item.id}'
    if item.claim_id is not None:
        # Clients parse the id of the claim behind the last "=".
        href += f'?claim_id={item.claim_id}'
    content = resource_representations.content(item, now, version)
    return {'id': item.id, 'href': href, **content}


def _home(features: Set[str], scope: None, path: str) -> Response:
    return Response(
        200,
        _home_document(frozenset(features)),
        {'Cache-Control': 'max-age=86400'},
        'application/json-home',
    )


def _ping(alive: bool, scope: None, path: str) -> Response:
    return (
        Response(204) if alive else Response(503, headers={'Retry-After': '5'})
    )


def _queue_page(page: QueuePage, scope: None, path: str) -> Response:
    folder = _COLLECTION[page.kind]
    items = []
    for queue in page.queues:
        item: dict[str, Any] = {
            'name': queue.name,
            'href': f'{folder}/{queue.name}',
        }
        if queue.metadata is not None:
            item['metadata'] = queue.metadata
        items.append(item)
    resource_representations.with_statistics(items, page)
    links = []
    if page.marker is not None:
        links.append(next_page(folder, page.again, page.marker))
    key = folder.rpartition('/')[2]
    document: dict[str, Any] = {key: items, 'links': links}
    if page.count:
        document['count'] = page.count
    return json_response(document)


def _created(is_new: bool, scope: Scope, path: str) -> Response:
    body = b'' if is_new else None
    return Response(201 if is_new else 204, body, {'Location': base(scope)})


def _shown_by(represent: Callable[[Any], Mapping[str, Any]]) -> View:
    return lambda result, *_: json_response(represent(result))


def _metadata(fields: Mapping[str, Any], scope: Scope, path: str) -> Response:
    return json_response(fields)


def _nothing(result: None, scope: Scope, path: str) -> Response:
    return Response(204)


def _stats(
    counted: Counted, scope: Scope, path: str, version: Version
) -> Response:
    def shown(span: MessageSpan) -> dict[str, Any]:
        href = f'{base(scope)}/messages/{span.id}'
        return {
            'href': href,
            **resource_representations.moment(span, counted.now),
        }

    return json_response(
        resource_representations.statistics(counted, scope, version, shown)
    )


def _posted(posted: Posted, scope: Scope, path: str) -> Response:
    folder = f'{base(scope)}/messages'
    location = f'{folder}?ids={",".join(posted.ids)}'
    if len(location) > MAX_LOCATION:
        location = folder
    document = {'resources': [f'{folder}/{item}' for item in posted.ids]}
    headers = {'Location': location}
    if posted.is_replayed:
        headers[idempotency_key.REPLAYED] = 'true'
    return Response(201, encode(document), headers)


def _message_page(
    page: MessagePage, scope: Scope, path: str, version: Version
) -> Response:
    folder = f'{base(scope)}/messages'
    document: dict[str, Any] = {
        'messages': [
            message(m, page.now, folder, version) for m in page.messages
        ]
    }
    if page.again is not None:
        document['links'] = (
            [next_page(folder, page.again, page.marker)] if page.marker else []
        )
    return json_response(document)


def _one_message(
    result: OneMessage, scope: Scope, path: str, version: Version
) -> Response:
    folder = f'{base(scope)}/messages'
    return json_response(message(result.message, result.now, folder, version))


def _deleted(
    popped: Popped | None, scope: Scope, path: str, version: Version
) -> Response:
    if popped is None:
        return Response(204)
    messages = [
        resource_representations.popped(m, popped.now, version)
        for m in popped.messages
    ]
    return json_response({'messages': messages})


def _claimed(
    claimed: Claimed | None, scope: Scope, path: str, version: Version
) -> Response:
    if claimed is None:
        return Response(204)
    folder = base(scope)
    location = f'{folder}/claims/{claimed.claim.id}'
    messages = _claim_messages(claimed, folder, version)
    return json_response({'messages': messages}, 201, {'Location': location})


def _claim(
    claimed: Claimed, scope: Scope, path: str, version: Version
) -> Response:
    claim, folder = claimed.claim, base(scope)
    ttl, age = resource_representations.lifetime(claim, claimed.now)
    return json_response(
        {
            'href': f'{folder}/claims/{claim.id}',
            'ttl': ttl,
            'age': age,
            'messages': _claim_messages(claimed, folder, version),
        }
    )


def _claim_messages(
    claimed: Claimed, queue: str, version: Version
) -> list[dict[str, Any]]:
    """Return the messages of a claim.

    :param queue: the path of their queue
    """
    folder = f'{queue}/messages'
    return [
        message(m, claimed.now, folder, version)
        for m in claimed.claim.messages
    ]


def _new_redrive(
    result: StartedRedrive | DryRun, scope: Scope, path: str
) -> Response:
    status, document = resource_representations.new_redrive(result)
    headers = {}
    if isinstance(result, StartedRedrive):
        headers['Location'] = f'{base(scope)}/redrives/{result.id}'
    return json_response(document, status, headers)


def _subscription_page(
    page: SubscriptionPage, scope: Scope, path: str
) -> Response:
    items = [
        resource_representations.subscription(item, page.now)
        for item in page.subscriptions
    ]
    links = []
    if page.marker is not None:
        folder = f'{base(scope)}/subscriptions'
        links.append(next_page(folder, page.again, page.marker))
    return json_response({'subscriptions': items, 'links': links})


def _subscribed(
    subscribed: Subscribed, scope: Scope, path: str, version: Version
) -> Response:
    document = resource_representations.subscribed(subscribed, version)
    location = f'{base(scope)}/subscriptions'
    return json_response(document, 201, {'Location': location})


def _attempt_page(page: AttemptPage, scope: Scope, path: str) -> Response:
    links = []
    if page.marker is not None:
        links.append(next_page(path, page.again, page.marker))
    items = [*map(resource_representations.attempt, page.attempts)]
    return json_response({'attempts': items, 'links': links})


def _accepted(result: None, scope: Scope, path: str) -> Response:
    return Response(202)


def _changed(result: None, scope: Scope, path: str) -> Response:
    return Response(204, headers={'Location': path})


@functools.cache
def _home_document(features: frozenset[str]) -> bytes:
    return encode(home_document.document(features))


def _admin_views(
    noun: str, represent: Callable[[Any, bool], Any]
) -> Mapping[str, View]:
    folder = f'/v2/{noun}s'

    def document(item: Any, detailed: bool) -> dict[str, Any]:
        href = f'{folder}/{quote(item.name)}'
        return {'href': href, **represent(item, detailed)}

    def page(result: DetailedPage[Any], scope: None, path: str) -> Response:
        items = [document(item, result.detailed) for item in result.items]
        links = []
        if items:
            links.append(next_page(folder, result.again, items[-1]['name']))
        return json_response(
            {f'{noun}s': items, 'links': links},
            headers={'Content-Location': link(folder, result.again)},
        )

    def one(result: Detailed[Any], scope: None, path: str) -> Response:
        return json_response(document(result.item, result.detailed))

    return {
        f'{noun}_list': page,
        f'{noun}_create': lambda _, scope, path: Response(
            201, b'', {'Location': path}
        ),
        f'{noun}_get': one,
        f'{noun}_update': one,
        f'{noun}_delete': lambda *_: Response(204),
    }


_VIEWS: Mapping[str, View] = {
    'get_home_doc': _home,
    'ping_node': _ping,
    'ping_node_head': _ping,
    'queue_list': _queue_page,
    'queue_create': _created,
    'queue_get': _metadata,
    'queue_update': _metadata,
    'queue_delete': _nothing,
    'queue_get_guarantees': _shown_by(resource_representations.guarantees),
    'queue_purge': _nothing,
    'queue_share': _metadata,
    'message_post': _posted,
    'message_explain': _shown_by(resource_representations.explanation),
    'message_delete': _nothing,
    'claim_update': _nothing,
    'claim_settle': _metadata,
    'claim_delete': _nothing,
    **dict.fromkeys(
        ('quota_get', 'quota_get_project', 'quota_update'),
        _shown_by(resource_representations.quotas),
    ),
    'redrive_create': _new_redrive,
    'redrive_list': _shown_by(resource_representations.redrives),
    'redrive_get': _shown_by(resource_representations.redrive),
    'redrive_delete': _nothing,
    'health': lambda report, *_: json_response(
        report, resource_representations.health_status(report)
    ),
    'subscription_list': _subscription_page,
    'subscription_get': lambda result, *_: json_response(
        resource_representations.subscription(*result)
    ),
    'subscription_deliveries': _metadata,
    'subscription_attempts': _attempt_page,
    'subscription_resend': _accepted,
    'subscription_replay': _accepted,
    'subscription_secret': _shown_by(resource_representations.key),
    'subscription_rotate_secret': _shown_by(resource_representations.key),
    'subscription_update': _changed,
    'subscription_delete': _nothing,
    'subscription_confirm': _changed,
    **_admin_views('pool', resource_representations.pool),
    **_admin_views('flavor', resource_representations.flavor),
}

#: Views that also take the version of the request.
_VIEWS_BY_VERSION: Mapping[str, Callable[..., Response]] = {
    'queue_get_stats': _stats,
    'message_list': _message_page,
    'message_delete_many': _deleted,
    'message_get': _one_message,
    'claim_create': _claimed,
    'claim_get': _claim,
    'subscription_create': _subscribed,
}


def _views(version: Version) -> Mapping[str, View]:
    of_version = {
        name: functools.partial(view, version=version)
        for name, view in _VIEWS_BY_VERSION.items()
    }
    return response_view_coverage.complete(
        {**_VIEWS, **of_version},
        (row for row in operation_table.OPERATIONS if row.http),
    )


VIEWS = {version: _views(version) for version in microversion_negotiation.ALL}
