# SPDX-License-Identifier: Apache-2.0
"""The senders that are installed, by scheme."""

from __future__ import annotations

import importlib.metadata
import logging
from collections.abc import Callable, Mapping

from zaqar.errors import ConfigurationError
from zaqar.notification.sender import Sender
from zaqar.notification.settings import Settings

LOG = logging.getLogger(__name__)

ENTRY_POINTS = 'zaqar.notification'


def senders(settings: Settings) -> Mapping[str, Sender]:
    """Return what sends to each scheme; one object for those it shares.

    :raises ConfigurationError: a setting of one is not as it should be
    """
    made: dict[str, Sender] = {}
    found: dict[str, Sender] = {}
    points = importlib.metadata.entry_points(group=ENTRY_POINTS)
    for point in sorted(points, key=lambda one: one.name):
        if point.value not in made:
            sender = _made(point, settings)
            if sender is None:
                continue
            made[point.value] = sender
        found[point.name.lower()] = made[point.value]
    return found


def _made(
    point: importlib.metadata.EntryPoint, settings: Settings
) -> Sender | None:
    try:
        create: Callable[[Settings], Sender] = point.load()
    except (ImportError, AttributeError) as error:
        LOG.warning('There is no sender for %s: %s', point.name, error)
        return None
    try:
        return create(settings)
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(
            f'the sender for {point.name} cannot be used: {error}'
        ) from error
