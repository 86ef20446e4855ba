# SPDX-License-Identifier: Apache-2.0
"""Reserved keys of metadata."""

from __future__ import annotations

from typing import Any

import pytest

from zaqar.controllers import reserved_metadata
from zaqar.controllers.api_limits_and_defaults import Limits
from zaqar.microversion_constants import V2_0, V2_1, Version
from zaqar.objects import Kind, Scope

LIMITS = Limits()
SCOPE = Scope('p', 'q')
DELAY = '_default_message_delay'

DEFAULTS = {
    '_max_messages_post_size': 262144,
    '_default_message_ttl': 3600,
    '_default_message_delay': 0,
    '_dead_letter_queue': None,
    '_dead_letter_queue_messages_ttl': None,
    '_max_claim_count': None,
    '_enable_encrypt_messages': False,
}


NEW_DEFAULTS = {
    '_default_claim_ttl': 300,
    '_default_wait': 0,
    '_dedup_window': 300,
}


def fault(version: Version = V2_0, **fields: Any) -> str | None:
    return reserved_metadata.fault(fields, SCOPE, LIMITS, version)


def shown(
    stored: dict[str, Any], version: Version = V2_0, limits: Limits = LIMITS
) -> dict[str, Any]:
    return reserved_metadata.shown(stored, Kind.QUEUE, limits, version)


def test_missing_keys_are_shown_with_defaults() -> None:
    assert shown({'a': 0}) == {'a': 0, **DEFAULTS}
    assert shown({}, V2_1) == {**DEFAULTS, **NEW_DEFAULTS}


@pytest.mark.parametrize('falsy', ['', None, False])
def test_falsy_reserved_values_are_shown_as_defaults(falsy: Any) -> None:
    stored = dict.fromkeys(DEFAULTS, falsy)
    assert shown(stored) == DEFAULTS
    stored = dict.fromkeys({**DEFAULTS, **NEW_DEFAULTS}, falsy)
    assert shown(stored, V2_1) == {**DEFAULTS, **NEW_DEFAULTS}


@pytest.mark.parametrize(
    ('stored', 'counts'), [({}, 30), ({DELAY: None}, 30), ({DELAY: 0}, 0)]
)
def test_a_delay_of_0_counts_against_the_operators_default(
    stored: dict[str, Any], counts: int
) -> None:
    limits = Limits(default_message_delay=30)
    assert reserved_metadata.default_delay(stored, limits) == counts
    assert shown(stored, limits=limits)[DELAY] == counts


@pytest.mark.parametrize(
    ('stored', 'ttl'),
    [
        *((None, None), (0, 1), (1, 1), (43200, 43200)),
        *((43201, None), (-1, None), ('9', None), (True, None)),
    ],
)
def test_the_ttl_of_claims_is_checked_where_it_is_used(
    stored: Any, ttl: int | None
) -> None:
    fields = {'_default_claim_ttl': stored}
    assert reserved_metadata.default_claim_ttl(fields, LIMITS) == ttl


@pytest.mark.parametrize(
    ('stored', 'seconds'),
    [(None, 0), (0, 0), (60, 60), (61, 60), (-1, 0), ('9', 0), (True, 0)],
)
def test_no_claim_waits_longer_than_it_may(stored: Any, seconds: int) -> None:
    fields = {'_default_wait': stored}
    assert reserved_metadata.default_wait(fields, LIMITS) == seconds


@pytest.mark.parametrize('key', NEW_DEFAULTS)
def test_what_2_1_reserves_is_free_in_2_0(key: str) -> None:
    for value in ('x', -1, 604_801, True):
        assert fault(**{key: value}) is None
        assert key in (fault(V2_1, **{key: value}) or '')
    for value in (0, 60, None):
        assert fault(V2_1, **{key: value}) is None


def test_null_is_not_set() -> None:
    keys = [*DEFAULTS, '_retry_policy', '_flavor', '_max_messages']
    assert fault(**dict.fromkeys(keys)) is None


@pytest.mark.parametrize(
    ('key', 'value'),
    [
        ('_default_message_ttl', 60),
        ('_default_message_ttl', 1209600),
        ('_max_messages_post_size', 1),
        ('_max_messages_post_size', 262144),
        ('_max_claim_count', 0),
        ('_max_claim_count', 10**6),
        ('_dead_letter_queue_messages_ttl', 60),
        ('_dead_letter_queue', 'a.b-c_D'),
        ('_default_message_delay', 0),
        ('_default_message_delay', 900),
        ('_enable_encrypt_messages', False),
        ('_retry_policy', {}),
        ('_max_messages', 0),
        ('_flavor', ['anything']),
        ('_other', 1.5),
    ],
)
def test_values_within_range_pass(key: str, value: Any) -> None:
    assert fault(**{key: value}) is None


TTL = 'can not exceed 1209600 seconds, and must be at least 60'
WRONG = [
    ('_default_message_ttl', 59, TTL),
    ('_default_message_ttl', 0, TTL),
    ('_default_message_ttl', 1209601, TTL),
    ('_max_messages_post_size', 0, 'can not exceed 262144,  and must be'),
    ('_max_messages_post_size', 262145, 'can not exceed 262144,  and must'),
    ('_max_claim_count', -1, 'negative'),
    ('_dead_letter_queue_messages_ttl', 59, 'TTL for a message may not'),
    ('_dead_letter_queue', 'q', 'another queue'),
    ('_dead_letter_queue', 'a b', 'name of a queue'),
    ('_dead_letter_queue', '', 'name of a queue'),
    ('_dead_letter_queue', 1, 'name of a queue'),
    ('_default_message_delay', -1, 'The TTL can not exceed 900 seconds'),
    ('_default_message_delay', 901, 'The TTL can not exceed 900 seconds'),
    ('_enable_encrypt_messages', 1, 'must be boolean.'),
    ('_enable_encrypt_messages', '', 'must be boolean.'),
    ('_enable_encrypt_messages', True, 'no encryption key'),
    ('_max_messages', -1, 'at least 0'),
    ('_max_messages', '5', 'integer'),
]


@pytest.mark.parametrize(('key', 'value', 'text'), WRONG)
def test_values_out_of_range_are_named(
    key: str, value: Any, text: str
) -> None:
    assert text in (fault(**{key: value}) or '')


@pytest.mark.parametrize(
    'key',
    [
        '_default_message_ttl',
        '_max_messages_post_size',
        '_max_claim_count',
        '_dead_letter_queue_messages_ttl',
        '_default_message_delay',
    ],
)
@pytest.mark.parametrize('value', ['', '60', 60.0, True, False, [], {}])
def test_only_integers_are_integers(key: str, value: Any) -> None:
    assert fault(**{key: value}) == f'{key} must be integer.'


def test_the_first_fault_in_order_is_named() -> None:
    first = fault(_default_message_delay='x', _default_message_ttl='x')
    assert first == '_default_message_ttl must be integer.'


@pytest.mark.parametrize(
    ('policy', 'text'),
    [
        ([], 'retry_policy must be a dict.'),
        ({'minimum_delay': '5'}, 'minimum_delay must be a integer.'),
        ({'retries_with_no_delay': True}, 'must be a integer.'),
        ({'maximum_delay_retries': ''}, 'must be a integer.'),
        ({'minimum_delay_retries': -1}, 'between 0 and 100'),
        ({'minimum_delay_retries': 101}, 'between 0 and 100'),
        ({'maximum_delay': 86401}, 'between 0 and 86400'),
        ({'retry_backoff_function': 1}, 'must be a string.'),
        ({'retry_backoff_function': 'x'}, 'invalid retry_backoff_function.'),
        ({'ignore_subscription_override': 0}, 'must be a boolean.'),
        ({'minimum_delay': 30}, 'minimum_delay must less than'),
        ({'minimum_delay': 21}, 'invalid minimum_delay and maximum_delay.'),
        (
            {'minimum_delay': 0, 'retry_backoff_function': 'geometric'},
            'at least 1',
        ),
    ],
)
def test_retry_policies_are_checked(policy: Any, text: str) -> None:
    assert text in (fault(_retry_policy=policy) or '')


def test_a_whole_retry_policy_passes() -> None:
    policy = {
        'retries_with_no_delay': 0,
        'minimum_delay_retries': 100,
        'minimum_delay': 20,
        'maximum_delay': 30,
        'maximum_delay_retries': 1,
        'retry_backoff_function': 'exponential',
        'ignore_subscription_override': True,
        'free': 'key',
    }
    assert fault(_retry_policy=policy) is None
