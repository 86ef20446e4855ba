# SPDX-License-Identifier: Apache-2.0
"""Filters of subscriptions: which messages their subscribers get.

A filter is the option ``_filter``, set by a request of version 2.1 or later.
In 2.0 an option of that name is one of many that are stored and shown, and has
no effect. Another option, which no response shows and no client sets, marks
those that are in force.

:source: reference/delivery, "Filters"
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from zaqar.bounded_cache import BoundedCache
from zaqar.controllers import body_filter
from zaqar.controllers.body_filter import Filter
from zaqar.controllers.filter_operators import InvalidFilter
from zaqar.errors import InvalidRequest
from zaqar.microversion_constants import V2_1, Version
from zaqar.objects import Subscription

LOG = logging.getLogger(__name__)

OPTION = '_filter'

#: The mark of an :data:`OPTION` that is in force.
IN_FORCE = '_filter_in_force'

#: Filters that a process has parsed, at most.
CACHED = 2000

Options = Mapping[str, Any]


def requested(options: Options, version: Version) -> Options:
    """Return options that a client has set, with their filter in force.

    :raises InvalidRequest: the filter is malformed
    """
    document = options.get(OPTION)
    if version < V2_1 or document is None:
        return options
    try:
        body_filter.parse(document, OPTION)
    except InvalidFilter as error:
        raise InvalidRequest(str(error)) from None
    return {**options, IN_FORCE: True}


def updated(old: Options, new: Options) -> Options:
    """Return options in place of old ones, with a filter that stayed.

    A client of 2.0 that returns what it is shown must not disable it.
    """
    if old.get(IN_FORCE) and new.get(OPTION) == old[OPTION]:
        return {**new, IN_FORCE: True}
    return new


class Filters:
    """The filters of subscriptions, each parsed once."""

    def __init__(self) -> None:
        self._parsed: BoundedCache[tuple[str, int], Filter | None] = (
            BoundedCache(CACHED)
        )

    def of(self, subscription: Subscription) -> Filter | None:
        """Return the filter that is in force, None without one."""
        if not subscription.options.get(IN_FORCE):
            return None
        key = subscription.id, subscription.version
        if key not in self._parsed:
            self._parsed[key] = _parsed(subscription)
        return self._parsed.get(key)


class Bodies:
    """Bodies of messages, each decoded once, and only if a filter needs it.

    :param spend: takes what an evaluation has cost: the bytes of the bodies
        times the operators of the filter, since each of them may test every
        value
    """

    def __init__(
        self,
        texts: Sequence[msgspec.Raw],
        spend: Callable[[int], None] = lambda cost: None,
    ) -> None:
        self._texts = texts
        self._spend = spend
        self._documents: Sequence[Any] | None = None
        self._size = sum(len(memoryview(one)) for one in texts)

    def matching(self, condition: Filter) -> Sequence[int]:
        """Return the places of those that match."""
        if self._documents is None:
            self._documents = [
                body_filter.decoded(bytes(one)) for one in self._texts
            ]
        places = [
            place
            for place, document in enumerate(self._documents)
            if condition.matches(document)
        ]
        self._spend(self._size * condition.tests)
        return places


def _parsed(subscription: Subscription) -> Filter | None:
    try:
        return body_filter.parse(subscription.options[OPTION], OPTION)
    except (InvalidFilter, KeyError) as error:
        # Of a newer release. Rather a message too much than one too few.
        LOG.error(
            'The filter of subscription %s has no effect: %s',
            subscription.id,
            error,
        )
        return None
