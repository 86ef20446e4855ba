# SPDX-License-Identifier: Apache-2.0
"""Subscribers that would not be notified any more after an upgrade."""

import collections
import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from oslo_config import cfg

from zaqar.cmd import store_upgrade_checks
from zaqar.controllers.subscription_records import SUBSCRIPTION
from zaqar.notification.settings import NotificationSettings
from zaqar.webhook_client.webhook_address_guard import (
    PORTS,
    AddressRefused,
    Guard,
    port_of,
)

#: Fault of mail addresses that were subscribed without a confirmation.
_UNCONFIRMED = (
    'by mail are not confirmed, so nothing is sent to them as long as '
    '[notification] confirm_mail is on'
)


def refused(conf: cfg.ConfigOpts) -> Sequence[str]:
    """Return the faults of addresses of subscribers, with their number.

    Names are not resolved: their addresses may change.

    :raises Unseen: subscriptions cannot be listed
    """
    settings = NotificationSettings.from_conf(conf)
    guard = Guard(settings.allowed_networks, settings.allowed_ports)
    faults: collections.Counter[str] = collections.Counter()
    for entry in store_upgrade_checks.entries(conf, SUBSCRIPTION):
        if settings.confirm_mail and _is_unconfirmed_mail(entry.data):
            faults[_UNCONFIRMED] += 1
        fault = _fault(guard, entry.data['subscriber'])
        if fault is not None:
            faults[fault] += 1
    return [
        f'{count} subscriptions {fault}' for fault, count in faults.items()
    ]


def _is_unconfirmed_mail(data: Mapping[str, Any]) -> bool:
    is_mail = data['subscriber'].lower().startswith('mailto:')
    return is_mail and not data['confirmed']


def _fault(guard: Guard, uri: str) -> str | None:
    parts = urlsplit(uri)
    # Hosts of ``trust+`` schemes are checked against the service catalogue.
    if parts.scheme not in PORTS or not parts.hostname:
        return None
    port = port_of(parts)
    place = f'lead to {parts.hostname} port {port}'
    try:
        guard.check_port(port)
    except AddressRefused:
        return f'{place}, which [notification] allowed_ports does not hold'
    address = _address(parts.hostname)
    if address is None or guard.admits(address):
        return None
    return (
        f'{place}, which is not public and not in [notification] '
        'allowed_networks'
    )


def _address(host: str) -> str | None:
    """Return a host as an IP address, None if it is a name."""
    if host.lower() == 'localhost':
        return '127.0.0.1'
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return None
