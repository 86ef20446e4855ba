# SPDX-License-Identifier: Apache-2.0
"""Reserved keys of the metadata of queues: checks and defaults."""

from collections.abc import Callable, Mapping
from typing import Any

from zaqar.controllers import (
    allowed_dead_letter_sources,
    retry_policy_validation,
    sqs_fifo_metadata,
)
from zaqar.controllers.api_limits_and_defaults import MIN_TTL, Limits
from zaqar.controllers.json_integer_check import is_int
from zaqar.controllers.name_validation import is_name
from zaqar.microversion_constants import V2_1, Version
from zaqar.objects import Kind, Scope

_OF_TOPICS = (
    '_max_messages_post_size',
    '_default_message_ttl',
    '_default_message_delay',
)

_OF_QUEUES = (
    *_OF_TOPICS,
    '_dead_letter_queue',
    '_dead_letter_queue_messages_ttl',
    '_max_claim_count',
    '_enable_encrypt_messages',
)

#: Free keys below 2.1.
CLAIM_TTL, WAIT = '_default_claim_ttl', '_default_wait'
DEDUP_WINDOW = '_dedup_window'

#: Seconds for which duplicates are recognized: by default, and at most.
DEFAULT_DEDUP_WINDOW = 300
MAX_DEDUP_WINDOW = 604_800

#: Takes a value, the scope of the queue and the limits; returns the fault, or
#: None. ``null`` means "not set" and is not checked.
Check = Callable[[Any, Scope, Limits], str | None]


def reserved(kind: Kind, version: Version) -> tuple[str, ...]:
    """Return the keys that a version shows with a default.

    PATCH may replace or remove them although they are not stored.
    """
    if kind is Kind.TOPIC:
        return _OF_TOPICS
    if version < V2_1:
        return _OF_QUEUES
    return (*_OF_QUEUES, CLAIM_TTL, WAIT, DEDUP_WINDOW)


def shown(
    metadata: Mapping[str, Any], kind: Kind, limits: Limits, version: Version
) -> dict[str, Any]:
    """Return metadata completed with defaults, as clients see it.

    A reserved key whose value is falsy is shown with its default, but for a
    delay and the ttl of claims: the 0 of a queue counts against the
    operator's default.
    """
    defaults: dict[str, Any] = {
        '_max_messages_post_size': limits.max_messages_post_size,
        '_default_message_ttl': limits.default_message_ttl,
        '_default_message_delay': default_delay(metadata, limits),
        '_dead_letter_queue': None,
        '_dead_letter_queue_messages_ttl': None,
        '_max_claim_count': None,
        '_enable_encrypt_messages': False,
    }
    if version >= V2_1:
        ttl = limits.default_claim_ttl
        defaults[CLAIM_TTL] = _own_number(metadata, CLAIM_TTL, ttl)
        defaults[WAIT] = 0
        defaults[DEDUP_WINDOW] = dedup_window(metadata)
    document = {**metadata}
    for key in reserved(kind, version):
        if key not in metadata or not metadata[key]:
            document[key] = defaults[key]
    return document


def unset(
    metadata: Mapping[str, Any], kind: Kind, limits: Limits, version: Version
) -> set[str]:
    """Return the reserved keys that clients see as null."""
    seen = shown(metadata, kind, limits, version)
    return {key for key in reserved(kind, version) if seen[key] is None}


def default_claim_ttl(
    metadata: Mapping[str, Any], limits: Limits
) -> int | None:
    """Return the ttl of claims without one, None if the queue sets none.

    What was stored below 2.1 was not checked. No claim lives for 0 seconds.
    """
    own = _own_number(metadata, CLAIM_TTL, -1)
    return max(own, 1) if 0 <= own <= limits.max_claim_ttl else None


def default_wait(metadata: Mapping[str, Any], limits: Limits) -> int:
    """Return how many seconds claims wait that do not say it."""
    return min(max(_own_number(metadata, WAIT, 0), 0), limits.max_wait)


def dedup_window(metadata: Mapping[str, Any]) -> int:
    """Return for how many seconds duplicates are recognized.

    What was stored below 2.1 was not checked.
    """
    own = _own_number(metadata, DEDUP_WINDOW, DEFAULT_DEDUP_WINDOW)
    return min(max(own, 0), MAX_DEDUP_WINDOW)


def _own_number(metadata: Mapping[str, Any], key: str, default: int) -> int:
    value: Any = metadata.get(key)
    return int(value) if is_int(value) else default


def default_delay(metadata: Mapping[str, Any], limits: Limits) -> int:
    """Return the delay of messages that come without one, in seconds."""
    own = metadata.get('_default_message_delay')
    if own is None:
        return limits.default_message_delay
    if is_int(own):
        return int(own or 0)
    # The reference service has also stored texts.
    return int(own or limits.default_message_delay)


def fault(
    metadata: Mapping[str, Any], scope: Scope, limits: Limits, version: Version
) -> str | None:
    """Return the first fault of reserved keys, in the order of checks."""
    checks = _CHECKS if version < V2_1 else _CHECKS_2_1
    for key, check in checks.items():
        value = metadata.get(key)
        text = None if value is None else check(value, scope, limits)
        if text is not None:
            return text
    return None


def _integer(
    key: str, least: int, most: Callable[[Limits], int], fault: str
) -> Check:
    """Return the check of an integer.

    :param fault: of one out of range; ``%d`` stands for the maximum
    """

    def check(value: Any, scope: Scope, limits: Limits) -> str | None:
        if not is_int(value):
            return f'{key} must be integer.'
        is_fit = least <= value <= most(limits)
        return None if is_fit else fault % most(limits)

    return check


def _max_claim_count(value: Any, scope: Scope, limits: Limits) -> str | None:
    if not is_int(value):
        return '_max_claim_count must be integer.'
    return None if value >= 0 else '_max_claim_count can not be negative.'


def _dead_letter_queue(value: Any, scope: Scope, limits: Limits) -> str | None:
    if not isinstance(value, str) or not is_name(value):
        return '_dead_letter_queue must be the name of a queue.'
    if value == scope.name:
        return '_dead_letter_queue must be another queue.'
    return None


def _encryption(value: Any, scope: Scope, limits: Limits) -> str | None:
    if not isinstance(value, bool):
        return '_enable_encrypt_messages must be boolean.'
    if value and not limits.can_encrypt:
        return (
            '_enable_encrypt_messages is refused: this service has no '
            'encryption key.'
        )
    return None


def _max_messages(value: Any, scope: Scope, limits: Limits) -> str | None:
    if is_int(value) and value >= 0:
        return None
    return '_max_messages must be an integer of at least 0.'


_TTL = f'seconds, and must be at least {MIN_TTL} seconds long.'

_CHECKS: Mapping[str, Check] = {
    '_default_message_ttl': _integer(
        '_default_message_ttl',
        MIN_TTL,
        lambda limits: limits.max_message_ttl,
        f'_default_message_ttl can not exceed %d {_TTL}',
    ),
    '_max_messages_post_size': _integer(
        '_max_messages_post_size',
        1,
        lambda limits: limits.max_messages_post_size,
        '_max_messages_post_size can not exceed %d,  and must be at least '
        'greater than 0.',
    ),
    '_max_claim_count': _max_claim_count,
    '_dead_letter_queue_messages_ttl': _integer(
        '_dead_letter_queue_messages_ttl',
        MIN_TTL,
        lambda limits: limits.max_message_ttl,
        f'The TTL for a message may not exceed %d {_TTL}',
    ),
    '_dead_letter_queue': _dead_letter_queue,
    '_default_message_delay': _integer(
        '_default_message_delay',
        0,
        lambda limits: limits.max_message_delay,
        'The TTL can not exceed %d seconds, and must be at least 0 seconds '
        'long.',
    ),
    '_enable_encrypt_messages': _encryption,
    '_retry_policy': lambda value, scope, limits: (
        retry_policy_validation.fault(value)
    ),
    '_max_messages': _max_messages,
}

_CHECKS_2_1: Mapping[str, Check] = {
    **_CHECKS,
    CLAIM_TTL: _integer(
        CLAIM_TTL,
        0,
        lambda limits: limits.max_claim_ttl,
        f'{CLAIM_TTL} can not exceed %d seconds, and must be at least 0.',
    ),
    WAIT: _integer(
        WAIT,
        0,
        lambda limits: limits.max_wait,
        f'{WAIT} can not exceed %d seconds, and must be at least 0.',
    ),
    DEDUP_WINDOW: _integer(
        DEDUP_WINDOW,
        0,
        lambda _: MAX_DEDUP_WINDOW,
        f'{DEDUP_WINDOW} can not exceed %d seconds, and must be at least 0.',
    ),
    allowed_dead_letter_sources.ALLOW: lambda value, scope, limits: (
        allowed_dead_letter_sources.fault(value)
    ),
    sqs_fifo_metadata.METADATA: lambda value, scope, limits: (
        sqs_fifo_metadata.fault(value)
    ),
}
