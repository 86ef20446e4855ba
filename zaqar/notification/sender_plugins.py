# SPDX-License-Identifier: Apache-2.0
"""Loading of the installed senders, by scheme."""

import importlib.metadata
import logging
from collections.abc import Callable, Mapping

from zaqar.errors import ConfigurationError
from zaqar.notification.sender_interface import Sender
from zaqar.notification.settings import NotificationSettings

LOG = logging.getLogger(__name__)

ENTRY_POINTS = 'zaqar.notification'


def senders(settings: NotificationSettings) -> Mapping[str, Sender]:
    """Return the sender of each scheme; some schemes share one."""
    created: dict[str, Sender] = {}
    by_scheme: dict[str, Sender] = {}
    points = importlib.metadata.entry_points(group=ENTRY_POINTS)
    for point in sorted(points, key=lambda point: point.name):
        if point.value not in created:
            sender = _create(point, settings)
            if sender is None:
                continue
            created[point.value] = sender
        by_scheme[point.name.lower()] = created[point.value]
    return by_scheme


def _create(
    point: importlib.metadata.EntryPoint, settings: NotificationSettings
) -> Sender | None:
    try:
        create: Callable[[NotificationSettings], Sender] = point.load()
    except (ImportError, AttributeError) as error:
        LOG.warning('No sender for %s can be loaded: %s', point.name, error)
        return None
    try:
        return create(settings)
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(
            f'the sender for {point.name} cannot be used: {error}'
        ) from error
