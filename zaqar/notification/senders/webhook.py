# SPDX-License-Identifier: Apache-2.0
"""``http`` and ``https``: a POST per message.

:source: reference/delivery, "Options of a subscription", "Webhook requests"
"""

import base64
import datetime
import email.utils
import functools
import json
from collections.abc import Mapping, Sequence
from urllib.parse import unquote, urlsplit

from zaqar import version
from zaqar.controllers import (
    subscription_signing_keys,
    subscription_validation,
)
from zaqar.keystone.service_catalog import ServiceCatalog
from zaqar.notification.sender_interface import Delivery, Outcome, Verdict
from zaqar.notification.senders import webhook_signature
from zaqar.notification.settings import NotificationSettings
from zaqar.webhook_client.http_client import NoResponse, WebhookClient
from zaqar.webhook_client.http_connection import HttpResponse
from zaqar.webhook_client.receiver_address_guard import AddressRefused, Guard

#: Placeholder of the message in a template, with its quotes.
MARKER = b'"$zaqar_message$"'

#: Statuses after which to retry, beside 500 and above.
_LATER = frozenset((408, 425, 429))

#: The User-Agent of requests.
USER_AGENT = f'zaqar/{version.version_string()}'


class TooLarge(Exception):
    """A template with the message in it would be too large."""


class WebhookSender:
    """Sends messages to URLs."""

    schemes: tuple[str, ...] = ('http', 'https')

    def __init__(
        self,
        client: WebhookClient,
        signing_secret: str | None,
        max_rendered_size: int = NotificationSettings.max_rendered_size,
    ) -> None:
        self._client = client
        self._secret = signing_secret
        self._max_rendered_size = max_rendered_size

    async def send(self, delivery: Delivery, *, now: int) -> Outcome:
        return await self.attempt(delivery, now, delivery.subscriber, {})

    async def attempt(
        self, delivery: Delivery, now: int, url: str, extra: Mapping[str, str]
    ) -> Outcome:
        """Send a request; return what its response means.

        :param extra: headers to add, unless the subscription has them
        """
        try:
            headers, body = request(
                delivery, now, self._secret, self._max_rendered_size
            )
        except TooLarge as error:
            return Outcome(Verdict.REFUSED, str(error))
        target, login = _login(url)
        if extra:
            headers = {**extra, **headers}
        if login is not None and 'authorization' not in map(
            str.lower, headers
        ):
            headers['Authorization'] = login
        try:
            response = await self._client.post(
                target, headers, body, delivery.project
            )
        except NoResponse as error:
            return Outcome(Verdict.RETRY, str(error), detail=error.detail)
        except AddressRefused as error:
            return Outcome(Verdict.REFUSED, str(error))
        return outcome_of(response, delivery)

    def close(self) -> None:
        self._client.close()


def create(settings: NotificationSettings) -> WebhookSender:
    guard = Guard(settings.allowed_networks, settings.allowed_ports)
    conf = settings.conf
    catalog = None if conf is None else ServiceCatalog(conf)
    client = WebhookClient(
        guard,
        connect=settings.connect_timeout,
        total=settings.request_timeout,
        is_exempt=lambda host, port: (
            catalog is not None and catalog.is_exempt(host, port)
        ),
    )
    return WebhookSender(
        client, settings.signing_secret, settings.max_rendered_size
    )


def request(
    delivery: Delivery, now: int, secret: str | None, max_rendered_size: int
) -> tuple[dict[str, str], bytes]:
    """Return headers and body of a request.

    :param secret: signs, too, for receivers that all have the same
    :raises TooLarge: the body would be too large
    """
    body = content(delivery, max_rendered_size)
    secrets = [*subscription_signing_keys.valid(delivery.options, now)]
    if secret:
        secrets.append(secret)
    headers = user_headers(delivery)
    return headers | service_headers(delivery, body, now, secrets), body


def content(delivery: Delivery, max_rendered_size: int) -> bytes:
    """Return the body of a request: the message, or the filled-in template.

    :raises TooLarge: the result would be too large
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


def user_headers(delivery: Delivery) -> dict[str, str]:
    """Return default headers, with those of the subscription."""
    headers = {
        'Content-Type': 'application/json',
        'Accept': '*/*',
        'Accept-Encoding': 'identity',
        'User-Agent': USER_AGENT,
    }
    wanted = delivery.options.get('post_headers')
    if isinstance(wanted, dict) and not delivery.confirmation:
        for name, value in wanted.items():
            if subscription_validation.header_fault(name, value) is None:
                _replace(headers, name, value)
    return headers


def service_headers(
    delivery: Delivery, body: bytes, now: int, secrets: Sequence[str]
) -> dict[str, str]:
    """Return headers by which receivers detect duplicates and forgeries."""
    seconds = now // 1000
    headers = {
        'Webhook-Id': delivery.id,
        'Webhook-Timestamp': str(seconds),
        'X-Zaqar-Attempt': str(delivery.attempt),
    }
    if secrets:
        headers['Webhook-Signature'] = ' '.join(
            webhook_signature.signature(secret, delivery.id, seconds, body)
            for secret in secrets
        )
    return headers


def outcome_of(response: HttpResponse, delivery: Delivery) -> Outcome:
    status = response.status
    if 200 <= status < 300:
        confirmed = _confirms(response, delivery)
        return Outcome(Verdict.DELIVERED, confirmed=confirmed, status=status)
    verdict, retry_after = Verdict.REFUSED, None
    if status == 410:
        verdict = Verdict.GONE
    elif status < 400 or status >= 500 or status in _LATER:
        verdict, retry_after = Verdict.RETRY, _retry_after(response)
    reason = f'answered {status}'
    return Outcome(verdict, reason, retry_after, status=status)


def _confirms(response: HttpResponse, delivery: Delivery) -> bool:
    """Return whether a response confirms the subscription.

    Only with TLS, which proves who has sent it.
    """
    if not delivery.confirmation or response.status != 200:
        return False
    if not delivery.subscriber.lower().startswith(('https:', 'trust+https:')):
        return False
    try:
        document = json.loads(response.body)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and document.get('confirmed') is True


def _retry_after(response: HttpResponse) -> int | None:
    text = response.headers.get('retry-after', '').strip()
    if text.isdecimal() and len(text) < 10:
        return int(text)
    try:
        moment = email.utils.parsedate_to_datetime(text)
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=datetime.UTC)
        wait = moment - datetime.datetime.now(datetime.UTC)
    except (ValueError, TypeError, OverflowError, LookupError):
        # What the parser raises differs between releases of Python.
        return None
    return max(0, int(wait.total_seconds()))


@functools.lru_cache(1000)
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


def _replace(headers: dict[str, str], name: str, value: str) -> None:
    """Set a header, whatever its case."""
    for header in [key for key in headers if key.lower() == name.lower()]:
        del headers[header]
    headers[name] = value
