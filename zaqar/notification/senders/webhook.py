# SPDX-License-Identifier: Apache-2.0
"""``http`` and ``https``: a POST per message.

:source: reference/delivery, "Options of a subscription", "Webhook requests"
"""

from __future__ import annotations

import base64
import datetime
import email.utils
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from zaqar import version
from zaqar.controllers import subscribers, webhook_secrets
from zaqar.notification.addresses import AddressRefused, Guard
from zaqar.notification.sender import Delivery, Outcome, Verdict
from zaqar.notification.senders import signing
from zaqar.notification.senders.calls import Answer, Caller, CallFailed
from zaqar.notification.service_catalog import ServiceCatalog
from zaqar.notification.settings import Settings

#: Where the message goes in a template, quotes and all.
MARKER = b'"$zaqar_message$"'

#: Answers that say "not now"; all of 500 and above do, too.
_LATER = frozenset((408, 425, 429))

_GONE = 410


#: What receivers know the service by.
USER_AGENT = f'zaqar/{version.version_string()}'


class TooLarge(Exception):
    """A template and its message together would be too large."""


class WebhookSender:
    """Sends what it is given to URLs.

    :param max_rendered_size: bytes of a request made from a template
    """

    schemes: tuple[str, ...] = ('http', 'https')

    def __init__(
        self,
        caller: Caller,
        signing_secret: str | None,
        max_rendered_size: int = Settings.max_rendered_size,
    ) -> None:
        self._caller = caller
        self._secret = signing_secret
        self._max_rendered_size = max_rendered_size

    def send(self, delivery: Delivery, *, now: int) -> Outcome:
        """Make one attempt."""
        try:
            body = content(delivery, self._max_rendered_size)
        except TooLarge as error:
            return Outcome(Verdict.REFUSED, str(error))
        headers = self._headers(delivery, body, now)
        return attempt(self._caller, delivery, headers, body)

    def close(self) -> None:
        """Give back connections."""
        self._caller.close()

    def _headers(
        self, delivery: Delivery, body: bytes, now: int
    ) -> dict[str, str]:
        found = own_headers(delivery)
        secret = delivery.options.get(webhook_secrets.OPTION) or self._secret
        found |= marks(delivery, body, now, secret)
        return found


def create(settings: Settings) -> WebhookSender:
    """Return the sender that the entry points name."""
    guard = Guard(settings.allowed_networks, settings.allowed_ports)
    conf = settings.conf
    cloud = None if conf is None else ServiceCatalog(conf)
    caller = Caller(
        guard,
        connect=settings.connect_timeout,
        total=settings.request_timeout,
        per_host=settings.max_in_flight_per_host,
        is_exempt=lambda host, port: (
            cloud is not None and cloud.is_exempt(host, port)
        ),
    )
    return WebhookSender(
        caller, settings.signing_secret, settings.max_rendered_size
    )


def attempt(
    caller: Caller,
    delivery: Delivery,
    headers: Mapping[str, str],
    body: bytes,
    url: str | None = None,
) -> Outcome:
    """Send a request and judge the answer."""
    place, login = _login(url or delivery.subscriber)
    if login is not None and not _has(headers, 'authorization'):
        headers = {**headers, 'Authorization': login}
    try:
        answer = caller.post(place, headers, body)
    except CallFailed as error:
        return Outcome(Verdict.RETRY, str(error), detail=error.detail)
    except AddressRefused as error:
        return Outcome(Verdict.REFUSED, str(error))
    return judged(answer, delivery)


def content(delivery: Delivery, max_rendered_size: int) -> bytes:
    """Return the body of a request: the message, or the user's template.

    :raises TooLarge: the template would make more of it; nothing is made
    """
    template = delivery.options.get('post_data')
    if delivery.confirmation or not isinstance(template, str) or not template:
        return delivery.body
    text = template.encode()
    growth = len(delivery.body) - len(MARKER)
    size = len(text) + text.count(MARKER) * growth
    if size > max_rendered_size:
        raise TooLarge(
            f'post_data with the message has {size} bytes, more than '
            f'{max_rendered_size}'
        )
    return text.replace(MARKER, delivery.body)


def own_headers(delivery: Delivery) -> dict[str, str]:
    """Return the content type, then what the user wants."""
    found = {
        'Content-Type': 'application/json',
        'Accept': '*/*',
        'User-Agent': USER_AGENT,
    }
    wanted = delivery.options.get('post_headers')
    if isinstance(wanted, dict) and not delivery.confirmation:
        for name, value in wanted.items():
            if subscribers.header_fault(name, value) is None:
                _replace(found, name, value)
    return found


def marks(
    delivery: Delivery, body: bytes, now: int, secret: Any
) -> dict[str, str]:
    """Return what receivers can tell repetitions and forgeries by."""
    seconds = now // 1000
    found = {
        'Webhook-Id': delivery.id,
        'Webhook-Timestamp': str(seconds),
        'X-Zaqar-Attempt': str(delivery.attempt),
    }
    if secret and isinstance(secret, str):
        found['Webhook-Signature'] = signing.signature(
            secret, delivery.id, seconds, body
        )
    return found


def judged(answer: Answer, delivery: Delivery) -> Outcome:
    """Return what an answer means."""
    status = answer.status
    reason = f'answered {status}'
    if 200 <= status < 300:
        return Outcome(
            Verdict.DELIVERED, confirmed=_says_yes(answer, delivery)
        )
    if status == _GONE:
        return Outcome(Verdict.GONE, reason)
    if status < 400 or status >= 500 or status in _LATER:
        return Outcome(Verdict.RETRY, reason, _retry_after(answer))
    return Outcome(Verdict.REFUSED, reason)


def _says_yes(answer: Answer, delivery: Delivery) -> bool:
    """Tell whether a receiver has confirmed in its very answer.

    Only with TLS, by which it is known to be who was asked.
    """
    if not delivery.confirmation or answer.status != 200:
        return False
    if not delivery.subscriber.lower().startswith(('https:', 'trust+https:')):
        return False
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.get('confirmed') is True


def _retry_after(answer: Answer) -> int | None:
    text = answer.headers.get('Retry-After', '').strip()
    if text.isdecimal() and len(text) < 10:
        return int(text)
    try:
        moment = email.utils.parsedate_to_datetime(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=datetime.UTC)
        wait = moment - datetime.datetime.now(datetime.UTC)
    except (ValueError, TypeError, OverflowError, LookupError):
        # What the parser raises for odd zones differs between releases.
        return None
    return max(0, int(wait.total_seconds()))


def _login(url: str) -> tuple[str, str | None]:
    """Return a URL without user and password, and a header with them."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition('@')
    if not at:
        return url, None
    name, _, password = user.partition(':')
    text = f'{unquote(name)}:{unquote(password)}'
    login = base64.b64encode(text.encode()).decode()
    return parts._replace(netloc=host).geturl(), f'Basic {login}'


def _has(headers: Mapping[str, str], name: str) -> bool:
    return any(known.lower() == name for known in headers)


def _replace(headers: dict[str, str], name: str, value: str) -> None:
    """Set a header, whatever its case."""
    for known in [key for key in headers if key.lower() == name.lower()]:
        del headers[known]
    headers[name] = value
