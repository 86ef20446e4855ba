# SPDX-License-Identifier: Apache-2.0
"""Notices that ask subscribers, and the links that answer.

:source: reference/delivery, "Confirmation"
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from zaqar.controllers.notices import Asked
from zaqar.controllers.signatures import Grant, Signer

SUBSCRIBE = 'SubscriptionConfirmation'
UNSUBSCRIBE = 'UnsubscribeConfirmation'

#: Path of the built-in page.
PAGE = '/confirm'

#: What the service is called in a catalogue, by type and by name.
TYPES = ('messaging',)
NAMES = ('zaqar',)
SOCKET_TYPES = ('messaging-websocket',)
SOCKET_NAMES = ('zaqar-websocket',)


def path(asked: Asked) -> str:
    """Return where the answer goes."""
    return (
        f'/v2/{asked.kind}s/{asked.queue}/subscriptions/'
        f'{asked.subscription}/confirm'
    )


def notice(
    signer: Signer, asked: Asked, endpoint: str | None, socket: str | None
) -> dict[str, Any]:
    """Return the notice for a subscriber.

    :param endpoint: public URL of the service, None if it is not known
    :param socket: that of the WebSocket server
    """
    grant = Grant([path(asked)], ['PUT'], asked.project, asked.expires)
    text = (
        f'You have chosen to subscribe to the queue: {asked.queue}. '
        'This queue belongs to project: '
        f'{asked.project}. To confirm the subscription, visit or request the '
        'SubscribeURL contained in this message.'
        if asked.wanted
        else f'You have unsubscribed from the queue: {asked.queue}. This '
        f'queue belongs to project: {asked.project}. To subscribe again, '
        'visit or request the SubscribeURL contained in this message.'
    )
    found: dict[str, Any] = {
        'Message_Type': SUBSCRIBE if asked.wanted else UNSUBSCRIBE,
        'Message': text,
        'URL-Methods': 'PUT',
        'URL-Paths': path(asked),
        'X-Project-ID': asked.project,
        'URL-Expires': asked.expires,
        'URL-Signature': signer.sign(grant),
        'SubscribeBody': {'confirmed': True},
        'UnsubscribeBody': {'confirmed': False},
        'queue_name': asked.queue,
    }
    if endpoint:
        found['WSGISubscribeURL'] = joined(endpoint, path(asked))
    if socket:
        found['WebSocketSubscribeURL'] = joined(socket, path(asked))
    return found


def encoded(found: Mapping[str, Any]) -> bytes:
    """Return a notice as it is sent."""
    return json.dumps(found, ensure_ascii=False).encode()


def joined(endpoint: str, rest: str) -> str:
    """Return a URL below an endpoint, whose own path stays."""
    return endpoint.rstrip('/') + rest


def link(page: str | None, found: Mapping[str, Any]) -> str | None:
    """Return the link of a mail, None without a page to link to.

    :param page: the operator's; None for the built-in one
    """
    url = found.get('WSGISubscribeURL') or ''
    if page is None:
        if not url:
            return None
        page = url[: -len(found['URL-Paths'])] + PAGE
    values = (
        ('Signature', found['URL-Signature']),
        ('Methods', found['URL-Methods']),
        ('Paths', found['URL-Paths']),
        ('Project', found['X-Project-ID']),
        ('Expires', found['URL-Expires']),
        ('Url', url),
        ('Queue', found['queue_name']),
    )
    query = '&'.join(
        f'{name}={quote(value, safe="/:")}' for name, value in values
    )
    return f'{page}{"&" if "?" in page else "?"}{query}'
