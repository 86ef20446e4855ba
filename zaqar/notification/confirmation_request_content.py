# SPDX-License-Identifier: Apache-2.0
"""Content of requests for confirmation: documents, links that answer.

:source: reference/delivery, "Confirmation"
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from zaqar.controllers.outbox_notices import ConfirmationRequest
from zaqar.controllers.url_signatures import Grant, Signer

SUBSCRIBE = 'SubscriptionConfirmation'
UNSUBSCRIBE = 'UnsubscribeConfirmation'

#: Path of the built-in page.
PAGE = '/confirm'


def path(request: ConfirmationRequest) -> str:
    """Return the path that the answer is sent to."""
    return (
        f'/v2/{request.kind}s/{request.queue}/subscriptions/'
        f'{request.subscription}/confirm'
    )


def document(
    signer: Signer,
    request: ConfirmationRequest,
    endpoint: str | None,
    socket: str | None,
) -> dict[str, Any]:
    """Return what a subscriber is sent.

    :param endpoint: public URL of the service, None if unknown
    :param socket: public URL of the WebSocket server
    """
    grant = Grant([path(request)], ['PUT'], request.project, request.expires)
    text = (
        f'You have chosen to subscribe to the queue: {request.queue}. '
        f'This queue belongs to project: {request.project}. To confirm the '
        'subscription, visit or request the SubscribeURL contained in this '
        'message.'
        if request.wanted
        else f'You have unsubscribed from the queue: {request.queue}. This '
        f'queue belongs to project: {request.project}. To subscribe again, '
        'visit or request the SubscribeURL contained in this message.'
    )
    fields: dict[str, Any] = {
        'Message_Type': SUBSCRIBE if request.wanted else UNSUBSCRIBE,
        'Message': text,
        'URL-Methods': 'PUT',
        'URL-Paths': path(request),
        'X-Project-ID': request.project,
        'URL-Expires': request.expires,
        'URL-Signature': signer.sign(grant),
        'SubscribeBody': {'confirmed': True},
        'UnsubscribeBody': {'confirmed': False},
        'queue_name': request.queue,
    }
    if endpoint:
        fields['WSGISubscribeURL'] = join_url(endpoint, path(request))
    if socket:
        fields['WebSocketSubscribeURL'] = join_url(socket, path(request))
    return fields


def join_url(endpoint: str, rest: str) -> str:
    return endpoint.rstrip('/') + rest


def link(page: str | None, document: Mapping[str, Any]) -> str | None:
    """Return the link for a mail, None without a page to link to."""
    url = document.get('WSGISubscribeURL') or ''
    if page is None:
        if not url:
            return None
        page = url[: -len(document['URL-Paths'])] + PAGE
    values = (
        ('Signature', document['URL-Signature']),
        ('Methods', document['URL-Methods']),
        ('Paths', document['URL-Paths']),
        ('Project', document['X-Project-ID']),
        ('Expires', document['URL-Expires']),
        ('Url', url),
        ('Queue', document['queue_name']),
    )
    query = '&'.join(
        f'{name}={quote(value, safe="/:")}' for name, value in values
    )
    return f'{page}{"&" if "?" in page else "?"}{query}'
