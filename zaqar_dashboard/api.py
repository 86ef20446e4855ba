# SPDX-License-Identifier: Apache-2.0
"""Requests to the messaging service, as the user of Horizon.

Each function sends one request with the user's token to the endpoint of the
catalogue, in the region that the user has chosen. It uses keystoneauth itself:
python-zaqarclient sends no version, without which there are no statistics of a
whole page, and the resources of openstacksdk know no changes of metadata, no
pre-signed URLs, pools and flavors, need further requests for discovery, and
raise errors that Horizon takes for a lack of rights
(findings/horizon-openstacksdk-errors.sh).
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import requests
from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest
from django.utils.translation import gettext as _
from horizon.utils import functions
from keystoneauth1 import adapter, session, token_endpoint
from keystoneauth1 import exceptions as auth_exceptions
from openstack_auth import utils
from openstack_dashboard.api import base

from zaqar_dashboard.errors import NotFound, ServiceError, Unauthorized

#: The version of the API that the panels need.
VERSION = 'messaging 2.1'

#: Items of a page, at most: what the service gives by default.
MAX_PAGE = 20

#: Seconds for which Horizon waits for an answer.
TIMEOUT = 60

#: Seconds for which it is remembered whether there is a console.
CONSOLE_AGE = 300

_PATCH = 'application/openstack-messaging-v2.0-json-patch'

Document = Mapping[str, Any]


@dataclass(frozen=True)
class Page:
    """Items as the service shows them.

    :ivar marker: of the next page; None for the last one
    """

    items: Sequence[Document] = ()
    marker: str | None = None


def queues(
    request: HttpRequest, marker: str | None = None, contains: str = ''
) -> Page:
    """Return queues by name, with their statistics.

    :param contains: only those whose names contain this
    """
    query = {'with_stats': 'true', 'name': contains or None}
    # The service reads a bounded number of names, so that a page of those
    # that match may have fewer, even none, before the last one.
    has_gaps = bool(contains)
    return _page(request, 'queues', 'queues', marker, query, has_gaps)


def create_queue(request: HttpRequest, name: str, metadata: Document) -> bool:
    """Create a queue; return whether it did not exist before.

    An existing one is not changed.
    """
    answer = _call(request, 'PUT', _queue(name), json=metadata)
    return answer.status_code == 201


def metadata(request: HttpRequest, name: str) -> dict[str, Any]:
    """Return the metadata of a queue, defaults and null included."""
    return _read(request, _queue(name), existing='true')


def change_metadata(
    request: HttpRequest, name: str, changes: Mapping[str, Any]
) -> None:
    """Set keys of the metadata, or remove those with None."""
    patch: list[dict[str, Any]] = []
    for key, value in changes.items():
        escaped = key.replace('~', '~0').replace('/', '~1')
        change = {'path': f'/metadata/{escaped}'}
        if value is None:
            patch.append({'op': 'remove', **change})
        else:
            patch.append({'op': 'add', **change, 'value': value})
    headers = {'Content-Type': _PATCH}
    _call(request, 'PATCH', _queue(name), json=patch, headers=headers)


def stats(request: HttpRequest, name: str) -> dict[str, Any]:
    """Return the statistics of a queue."""
    return _read(request, f'{_queue(name)}/stats')


def purge_queue(request: HttpRequest, name: str) -> None:
    """Delete all messages of a queue; its subscriptions stay."""
    document = {'resource_types': ['messages']}
    _call(request, 'POST', f'{_queue(name)}/purge', json=document)


def delete_queue(request: HttpRequest, name: str) -> None:
    """Delete a queue with its messages."""
    _call(request, 'DELETE', _queue(name))


def share_queue(
    request: HttpRequest,
    name: str,
    *,
    paths: Sequence[str],
    methods: Sequence[str],
    expires: str,
) -> dict[str, Any]:
    """Make a pre-signed URL.

    :param paths: of ``messages``, ``claims`` and ``subscriptions``
    :param expires: a date and time in UTC, in ISO 8601
    :returns: what its users have to send: ``paths``, ``methods``,
        ``project``, ``expires`` and ``signature``
    """
    document = {'paths': paths, 'methods': methods, 'expires': expires}
    answer = _call(request, 'POST', f'{_queue(name)}/share', json=document)
    return dict(answer.json())


def messages(
    request: HttpRequest, name: str, marker: str | None = None
) -> Page:
    """Return messages in the order of their posts, all that there are."""
    query = dict.fromkeys(
        ('echo', 'include_claimed', 'include_delayed'), 'true'
    )
    path = f'{_queue(name)}/messages'
    return _page(request, path, 'messages', marker, query)


def subscriptions(
    request: HttpRequest, name: str, marker: str | None = None
) -> Page:
    """Return the subscriptions of a queue, the oldest first."""
    path = f'{_queue(name)}/subscriptions'
    return _page(request, path, 'subscriptions', marker, {})


def subscribe(request: HttpRequest, name: str, document: Document) -> None:
    """Subscribe to a queue.

    :param document: ``subscriber`` and perhaps ``ttl`` and ``options``
    """
    _call(request, 'POST', f'{_queue(name)}/subscriptions', json=document)


def unsubscribe(request: HttpRequest, name: str, subscription: str) -> None:
    """Delete a subscription."""
    path = f'{_queue(name)}/subscriptions/{quote(subscription, "")}'
    _call(request, 'DELETE', path)


def pools(request: HttpRequest, marker: str | None = None) -> Page:
    """Return the pools by name."""
    return _page(request, 'pools', 'pools', marker, {})


def flavors(request: HttpRequest, marker: str | None = None) -> Page:
    """Return the flavors of the project by name."""
    return _page(request, 'flavors', 'flavors', marker, {})


def show(request: HttpRequest, kind: str, name: str) -> dict[str, Any]:
    """Return one of ``pools`` or ``flavors``."""
    return _read(request, f'{kind}/{quote(name, "")}')


def exists(request: HttpRequest, kind: str, name: str) -> bool:
    """Tell whether there is such a one."""
    try:
        show(request, kind, name)
    except NotFound:
        return False
    return True


def put(
    request: HttpRequest, kind: str, name: str, document: Document
) -> None:
    """Create one of them, or replace the one of that name."""
    _call(request, 'PUT', f'{kind}/{quote(name, "")}', json=document)


def change(
    request: HttpRequest, kind: str, name: str, document: Document
) -> None:
    """Change some fields of one of them."""
    _call(request, 'PATCH', f'{kind}/{quote(name, "")}', json=document)


def delete(request: HttpRequest, kind: str, name: str) -> None:
    """Delete one of them."""
    _call(request, 'DELETE', f'{kind}/{quote(name, "")}')


def endpoint(request: HttpRequest, interface: str | None = None) -> str:
    """Return where the service is, without a version and a slash at the end.

    :param interface: another one than Horizon uses itself, ``publicURL`` say
    """
    url = str(base.url_for(request, 'messaging', endpoint_type=interface))
    url = url.rstrip('/')
    return url.removesuffix('/v2').rstrip('/')


def console(request: HttpRequest) -> str | None:
    """Return the address of the service's console, None if it has none.

    The browser reaches the public endpoint; whether there is a console is
    seen at the one that Horizon uses.
    """
    place = endpoint(request)
    key = f'zaqar-console-{uuid.uuid5(uuid.NAMESPACE_URL, place)}'
    there = cache.get(key)
    if there is None:
        try:
            answer = requests.get(
                f'{place}/console/settings.json',
                timeout=5,
                verify=_verify(),
                allow_redirects=False,
            )
            there = answer.status_code == 200
        except requests.RequestException:
            there = False
        cache.set(key, there, CONSOLE_AGE)
    return f'{endpoint(request, "publicURL")}/console' if there else None


def _queue(name: str) -> str:
    return f'queues/{quote(name, "")}'


def _page(
    request: HttpRequest,
    path: str,
    member: str,
    marker: str | None,
    query: Mapping[str, str | None],
    has_gaps: bool = False,
) -> Page:
    limit = min(functions.get_page_size(request), MAX_PAGE)
    document = _read(request, path, **query, marker=marker, limit=limit)
    items = document.get(member, [])
    links = document.get('links', [])
    hrefs = [link['href'] for link in links if link['rel'] == 'next']
    if not hrefs or (len(items) < limit and not has_gaps):
        return Page(items)
    following = parse_qs(urlsplit(hrefs[0]).query).get('marker', [None])
    return Page(items, following[0])


def _read(request: HttpRequest, path: str, **query: Any) -> dict[str, Any]:
    sent = {name: value for name, value in query.items() if value is not None}
    answer = _call(request, 'GET', path, params=sent)
    return dict(answer.json()) if answer.content else {}


def _call(
    request: HttpRequest, method: str, path: str, **more: Any
) -> requests.Response:
    """Send a request.

    :raises ServiceError: it was refused, or there was no answer
    """
    headers = {
        'Client-ID': str(uuid.uuid4()),
        'OpenStack-API-Version': VERSION,
        **more.pop('headers', {}),
    }
    place = endpoint(request)
    auth = token_endpoint.Token(place, request.user.token.id)
    client = adapter.Adapter(
        session.Session(
            auth,
            original_ip=utils.get_client_ip(request),
            verify=_verify(),
            timeout=TIMEOUT,
        ),
        user_agent='zaqar-dashboard',
    )
    try:
        answer = client.request(
            f'{place}/v2/{path}',
            method,
            headers=headers,
            raise_exc=False,
            **more,
        )
    except auth_exceptions.ClientException as error:
        raise ServiceError(_('The service cannot be reached.')) from error
    if answer.status_code < 400:
        return answer
    kinds = {401: Unauthorized, 404: NotFound}
    raise kinds.get(answer.status_code, ServiceError)(_reason(answer))


def _reason(answer: requests.Response) -> str:
    """Return what the service says about a refusal."""
    try:
        document = answer.json()
        return str(document.get('description') or document['title'])
    except (AttributeError, KeyError, ValueError):
        return f'{answer.status_code} {answer.reason}'


def _verify() -> bool | str:
    """Return how to verify certificates, by Horizon's settings."""
    if settings.OPENSTACK_SSL_NO_VERIFY:
        return False
    return settings.OPENSTACK_SSL_CACERT or True
