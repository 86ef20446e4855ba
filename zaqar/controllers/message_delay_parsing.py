# SPDX-License-Identifier: Apache-2.0
"""Delays of messages, as posts give them: in seconds, or until a moment."""

from typing import Any

import msgspec

from zaqar.controllers.api_limits_and_defaults import Limits
from zaqar.controllers.json_integer_check import is_int
from zaqar.controllers.time_parsing import parse_rfc3339
from zaqar.errors import InvalidBody, InvalidRequest
from zaqar.store_clock import Clock

#: A member of a message that is still encoded.
Member = msgspec.Raw | msgspec.UnsetType


def delay(
    after: Member,
    at: Member,
    default: int,
    ttl: int,
    limits: Limits,
    clock: Clock,
) -> int:
    """Return the delay of a message from 2.1 on, in seconds.

    :param after: its ``delay``
    :param at: its ``deliver_at``; less than a second may be added
    :param default: that of its queue
    :raises InvalidRequest: both are given, one is out of bounds, or the
        message would expire before
    """
    if isinstance(after, msgspec.Raw) and isinstance(at, msgspec.Raw):
        raise InvalidRequest(
            'A message may have "delay" or "deliver_at", not both.'
        )
    result = default
    if isinstance(after, msgspec.Raw):
        result = seconds(after, limits.max_message_schedule)
    elif isinstance(at, msgspec.Raw):
        text: Any = msgspec.json.decode(at)
        milliseconds = parse_rfc3339(text, 'deliver_at') - clock.now()
        result = max(-(-milliseconds // 1000), 0)
        _check(result, limits.max_message_schedule)
    if 0 < result >= ttl:
        raise InvalidRequest(
            f'The delay of a message, {result} seconds, must be less than its '
            f'TTL, {ttl} seconds.'
        )
    return result


def seconds(raw: msgspec.Raw, most: int) -> int:
    """Return a delay in seconds.

    :raises InvalidRequest: it is no integer, or out of bounds
    """
    value = msgspec.json.decode(raw)
    if not is_int(value):
        raise InvalidBody('The value of the "delay" field must be a int.')
    _check(value, most)
    return int(value)


def _check(value: int, most: int) -> None:
    if not 0 <= value <= most:
        raise InvalidRequest(
            f'The Delay TTL for a message may not exceed {most} seconds,and '
            'must be at least 0 seconds long.'
        )
