# SPDX-License-Identifier: Apache-2.0
"""Loading of the installed senders, by scheme."""

import importlib.metadata
from collections.abc import Callable, Mapping

from zaqar.errors import ConfigurationError
from zaqar.notification.sender_interface import Sender
from zaqar.notification.settings import NotificationSettings

ENTRY_POINTS = 'zaqar.notification'


def senders(settings: NotificationSettings) -> Mapping[str, Sender]:
    """Return the sender of each scheme; some schemes share one."""
    created: dict[str, Sender] = {}
    by_scheme: dict[str, Sender] = {}
    points = importlib.metadata.entry_points(group=ENTRY_POINTS)
    for point in sorted(points, key=lambda point: point.name):
        if point.value not in created:
            created[point.value] = _create(point, settings)
        by_scheme[point.name.lower()] = created[point.value]
    return by_scheme


def _create(
    point: importlib.metadata.EntryPoint, settings: NotificationSettings
) -> Sender:
    """Create a sender.

    :raises ConfigurationError: it cannot be used: without it all deliveries of
        its schemes would be given up
    """
    try:
        create: Callable[[NotificationSettings], Sender] = point.load()
        return create(settings)
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(
            f'the sender for {point.name} cannot be used: {error}'
        ) from error
