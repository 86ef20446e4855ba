# SPDX-License-Identifier: Apache-2.0
"""``trust+http`` and ``trust+https``: a webhook with a token.

The token is that of the owner of the subscription, hence it is sent only to
services of the cloud: those of the service catalogue, at their very ports, and
hosts of ``trust_targets``.

:source: reference/delivery, "Trusts"
"""

from __future__ import annotations

import asyncio
import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from zaqar import config_loading
from zaqar.controllers import trust_interface
from zaqar.daemon_threads import DaemonThreads
from zaqar.keystone.service_hosts_for_webhooks_and_trust_tokens import HostPort
from zaqar.notification.sender_interface import Delivery, Outcome, Verdict
from zaqar.notification.senders import webhook
from zaqar.notification.settings import NotificationSettings
from zaqar.webhook_client.http_client import WebhookClient
from zaqar.webhook_client.receiver_address_guard import Guard, port_of

if TYPE_CHECKING:
    from zaqar.keystone.trusts import KeystoneTrusts, Token

_PREFIX = 'trust+'

#: Threads that wait for Keystone.
THREADS = 8


class TrustSender:
    """Sends messages with tokens to services of the cloud."""

    schemes: tuple[str, ...] = ('trust+http', 'trust+https')

    def __init__(
        self, settings: NotificationSettings, keystone: KeystoneTrusts | None
    ) -> None:
        self._settings = settings
        self._keystone = keystone
        self._threads = DaemonThreads(THREADS, 'keystone')
        self._exempt: frozenset[HostPort] = frozenset()
        client = WebhookClient(
            # Services of a cloud may listen at any port.
            Guard(settings.allowed_networks),
            connect=settings.connect_timeout,
            total=settings.request_timeout,
            is_exempt=self._is_exempt,
        )
        self._webhooks = webhook.WebhookSender(
            client, settings.signing_secret, settings.max_rendered_size
        )

    async def send(self, delivery: Delivery, *, now: int) -> Outcome:
        """Make one attempt, a second one with another token after a 401."""
        trust_id = trust_interface.used(delivery.options)
        if self._keystone is None or not trust_id:
            return Outcome(Verdict.REFUSED, 'there is no trust')
        outcome = await self._with_token(delivery, now, trust_id)
        if outcome.status == 401:
            self._keystone.drop(trust_id)
            outcome = await self._with_token(delivery, now, trust_id)
        return outcome

    def close(self) -> None:
        self._webhooks.close()
        self._threads.shutdown()

    async def _with_token(
        self, delivery: Delivery, now: int, trust_id: str
    ) -> Outcome:
        from keystoneauth1 import exceptions

        assert self._keystone is not None
        try:
            # Its library blocks.
            token = await asyncio.get_running_loop().run_in_executor(
                self._threads, self._keystone.token, trust_id
            )
        except (exceptions.NotFound, exceptions.Forbidden):
            return Outcome(Verdict.REFUSED, 'the trust has ended')
        except exceptions.Unauthorized:
            # Keystone says so of a deleted trust, and of a wrong password of
            # the service, which an operator can correct.
            return Outcome(Verdict.RETRY, 'Keystone gives no token')
        except exceptions.ClientException:
            return Outcome(Verdict.RETRY, 'Keystone does not answer')
        self._exempt = self._exempt | token.exempt
        url, headers = delivery.subscriber[len(_PREFIX) :], {}
        # The token is only for its catalogue, and for messages: nothing shows
        # yet that the receiver of a request for confirmation wants it.
        if not delivery.confirmation:
            fault = self._fault(url, token)
            if fault is not None:
                return Outcome(Verdict.REFUSED, fault)
            headers = {'X-Auth-Token': token.text}
        return await self._webhooks.attempt(delivery, now, url, headers)

    def _is_exempt(self, host: str, port: int) -> bool:
        host = host.lower()
        is_target = host in self._settings.trust_targets
        return is_target or (host, port) in self._exempt

    def _fault(self, url: str, token: Token) -> str | None:
        """Return why a token must not be sent there, None if it may."""
        parts = urlsplit(url)
        host = (parts.hostname or '').lower()
        place = host, port_of(parts)
        is_target = host in self._settings.trust_targets
        if not is_target and place not in token.places:
            return 'tokens go to services of the cloud only'
        is_safe = parts.scheme == 'https' or _is_loopback(host)
        if is_safe or self._settings.trust_allow_http:
            return None
        return 'tokens need https'


def create(settings: NotificationSettings) -> TrustSender:
    conf = settings.conf
    if conf is None or not config_loading.may_have(conf, 'trustee'):
        return TrustSender(settings, None)
    from zaqar.keystone.trusts import KeystoneTrusts

    return TrustSender(settings, KeystoneTrusts.from_conf(conf))


def _is_loopback(host: str) -> bool:
    if host == 'localhost':
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
