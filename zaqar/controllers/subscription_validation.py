# SPDX-License-Identifier: Apache-2.0
"""Validation of subscriptions.

:source: reference/http, "Subscriptions"
:source: reference/delivery, "Schemes", "Options of a subscription"
"""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from zaqar.controllers import (
    mail_building,
    mail_recipient_and_content,
    retry_policy_validation,
    subscription_filters,
    subscription_signing_keys,
    trust_interface,
    webhook_secret_format,
)
from zaqar.controllers.api_limits_and_defaults import MIN_TTL, Limits
from zaqar.controllers.name_validation import is_name
from zaqar.errors import InvalidRequest

#: The first second of the year 10000, which Python cannot represent.
END_OF_CALENDAR = 253_402_300_800

#: Headers that users cannot set: those of the service, and those that concern
#: the connection.
_RESERVED_HEADERS = frozenset(
    (
        'connection',
        'content-length',
        'expect',
        'host',
        'keep-alive',
        'proxy-authenticate',
        'proxy-authorization',
        'proxy-connection',
        'te',
        'trailer',
        'transfer-encoding',
        'upgrade',
        'webhook-id',
        'webhook-signature',
        'webhook-timestamp',
        'x-auth-token',
    )
)

#: Valid names and values of headers (RFC 9110).
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_HEADER_VALUE = re.compile(r'[\t\x20-\x7e\xa0-\xff]*')

#: Prefix of further headers of the service.
_RESERVED_PREFIX = 'x-zaqar-'

#: Options that only the service sets.
_OWN = (
    trust_interface.BROUGHT,
    subscription_filters.IN_FORCE,
    subscription_signing_keys.BESIDE,
)

#: Blanks, control characters and what cannot be encoded as UTF-8.
_UNFIT = re.compile(r'[\x00-\x20\x7f\ud800-\udfff]')

#: Scheme of WebSocket connections, whose URIs only the service creates.
SOCKET = 'websocket'


def subscriber(value: Any, limits: Limits) -> str:
    """Return the URI of a subscriber.

    :raises InvalidRequest: it is none, or its scheme is not supported
    """
    if not isinstance(value, str) or not value:
        raise InvalidRequest('The subscriber must be a URI.')
    scheme, _, rest = value.partition(':')
    is_socket = scheme.lower() == SOCKET
    if is_socket or scheme.lower() not in limits.subscriber_types:
        raise InvalidRequest(
            'The subscriber type of subscription must be supported in the '
            f'list {list(limits.subscriber_types)}.'
        )
    is_mail = scheme.lower() == 'mailto'
    if _UNFIT.search(value) or not (is_mail or _is_web(rest)):
        wanted = 'an address' if is_mail else 'a host'
        raise InvalidRequest(f'The subscriber must be a URI with {wanted}.')
    return value


def check_mail(uri: str, options: Mapping[str, Any]) -> None:
    """Check that mails can be sent to a subscriber.

    :param uri: URI of any scheme
    :raises InvalidRequest: it is for mails, and not exactly one address, or
        the options make invalid headers
    """
    if not uri.lower().startswith('mailto:'):
        return
    try:
        mail_building.build(
            *mail_recipient_and_content.content(uri, options, '')
        )
    except ValueError as error:
        raise InvalidRequest(
            f'The subscriber cannot be sent mails: {error}.'
        ) from None


def ttl(value: Any, now: int) -> int:
    """Return a lifetime in seconds.

    :param now: in milliseconds
    :raises InvalidRequest: it is invalid
    """
    if type(value) is not int:
        raise InvalidRequest('TTL must be an integer.')
    if value < MIN_TTL:
        raise InvalidRequest(
            'The TTL for a subscription must be at least '
            f'{MIN_TTL} seconds long.'
        )
    if now // 1000 + value >= END_OF_CALENDAR:
        raise InvalidRequest(
            'The TTL seconds for a subscription plus current time must be '
            f'less than {END_OF_CALENDAR}.'
        )
    return value


def options(value: Any) -> Mapping[str, Any]:
    """Return options, empty ones for null, "" and [].

    :raises InvalidRequest: they are invalid
    """
    if value in (None, '', []):
        return {}
    if not isinstance(value, dict):
        raise InvalidRequest('Options must be a dict.')
    fault = _options_fault(value)
    if fault is not None:
        raise InvalidRequest(fault)
    return value


def _options_fault(options: Mapping[str, Any]) -> str | None:
    if not isinstance(options.get(trust_interface.OPTION), str | None):
        return f'The option {trust_interface.OPTION} must be a string.'
    for name in _OWN:
        if name in options:
            return f'The option {name} cannot be set.'
    if not isinstance(options.get('post_data', ''), str):
        return 'The option post_data must be a string.'
    if options.get('_retry_policy') is not None:
        fault = retry_policy_validation.fault(options['_retry_policy'])
        if fault is not None:
            return fault
    queue = options.get('_dead_letter_queue', 'none')
    if not isinstance(queue, str) or not is_name(queue):
        return 'The option _dead_letter_queue must be the name of a queue.'
    return _secret_fault(
        options.get(webhook_secret_format.OPTION)
    ) or _headers_fault(options.get('post_headers', {}))


def _headers_fault(headers: Any) -> str | None:
    if not isinstance(headers, dict):
        return 'The option post_headers must be a dict.'
    for name, value in headers.items():
        fault = header_fault(name, value)
        if fault is not None:
            return f'The header {name!a} of post_headers {fault}.'
    return None


def header_fault(name: str, value: Any) -> str | None:
    """Return why a user cannot set a header, None if it is valid."""
    plain = name.strip().lower()
    if plain in _RESERVED_HEADERS or plain.startswith(_RESERVED_PREFIX):
        return 'cannot be set'
    if not _HEADER_NAME.fullmatch(name):
        return 'has a name that cannot be sent'
    if not isinstance(value, str) or not _HEADER_VALUE.fullmatch(value):
        return 'must have a value of Latin-1 text without control characters'
    return None


def _secret_fault(secret: Any) -> str | None:
    if secret is None:
        return None
    try:
        webhook_secret_format.key(secret if isinstance(secret, str) else '')
    except ValueError:
        return (
            f'The option {webhook_secret_format.OPTION} must be base64, with '
            'or without whsec_ before it.'
        )
    return None


def _is_web(rest: str) -> bool:
    try:
        parts = urlsplit(f'http:{rest}')
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False
