# SPDX-License-Identifier: Apache-2.0
"""Delays of messages from 2.1 on."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from zaqar.controllers import message_delay_parsing
from zaqar.controllers.api_limits_and_defaults import Limits
from zaqar.errors import InvalidRequest
from zaqar.store_clock import Clock

#: 2027-01-15T08:00:00Z, and a ttl that ends an hour later.
NOW = 1_800_000_000_000
TTL = 3600


class Stopped(Clock):
    """A clock that stands still."""

    def __init__(self) -> None:
        super().__init__(None)

    def now(self) -> int:
        return NOW


def raw(value: Any) -> message_delay_parsing.Member:
    return msgspec.Raw(msgspec.json.encode(value))


def delay(
    after: Any = msgspec.UNSET,
    at: Any = msgspec.UNSET,
    default: int = 0,
    **limits: int,
) -> int:
    return message_delay_parsing.delay(
        after if after is msgspec.UNSET else raw(after),
        at if at is msgspec.UNSET else raw(at),
        default,
        TTL,
        Limits(**limits),  # type: ignore[arg-type]
        Stopped(),
    )


def test_the_default_is_that_of_the_queue() -> None:
    assert (delay(), delay(default=7)) == (0, 7)
    assert delay(0, default=7) == 0


@pytest.mark.parametrize('seconds', [0, 1, 901, TTL - 1])
def test_a_delay_is_less_than_the_ttl(seconds: int) -> None:
    assert delay(seconds) == seconds


@pytest.mark.parametrize(
    ('text', 'seconds'),
    [
        ('2027-01-15T08:00:00Z', 0),
        ('2027-01-15T08:00:00.001Z', 1),
        ('2027-01-15T08:00:01Z', 1),
        ('2027-01-15T08:00:01.000000001Z', 1),
        ('2027-01-15T08:00:01.0001Z', 2),
        ('2027-01-15t10:00:01+02:00', 1),
        ('2027-01-15T00:00:01.5-08:00', 2),
        ('2027-01-15T08:59:59z', TTL - 1),
        ('2027-01-15T07:59:59.999Z', 0),
        ('1970-01-01T00:00:00Z', 0),
        ('0001-01-01T00:00:00-00:00', 0),
    ],
)
def test_a_moment_is_never_too_early(text: str, seconds: int) -> None:
    assert delay(at=text) == seconds


@pytest.mark.parametrize(
    'text',
    [
        *('', '2027-01-15', '2027-01-15T09:00:00', '2027-W03-5T09:00:00Z'),
        *('2027-01-15 09:00:00Z', '20270115T090000Z', '2027-02-30T09:00:00Z'),
        *('2027-01-15T09:00:60Z', '2027-01-15T24:00:00Z', '9999-12-31'),
        *('2027-01-15T09:00:00+0100', '2027-01-15T09:00:00,5Z'),
        *('0001-01-01T00:00:00+01:00', '9999-12-31T23:59:59-01:00'),
        *('\uff12027-01-15T09:00:00Z', '2027-01-15T09:00:00Z '),
        *(None, 7, True, ['2027-01-15T09:00:00Z']),
    ],
)
def test_other_texts_are_no_moments(text: Any) -> None:
    with pytest.raises(InvalidRequest, match='"deliver_at" field must be'):
        delay(at=text)


@pytest.mark.parametrize('value', [None, '7', 1.5, True, [], {}])
def test_only_integers_are_delays(value: Any) -> None:
    with pytest.raises(InvalidRequest, match='"delay" field must be a int'):
        delay(value)


@pytest.mark.parametrize(
    ('members', 'text'),
    [
        ({'after': -1}, 'at least 0 seconds'),
        ({'after': 101, 'max_message_schedule': 100}, 'may not exceed 100'),
        (
            {'at': '2027-01-15T08:01:41Z', 'max_message_schedule': 100},
            'may not exceed 100',
        ),
        ({'after': TTL}, 'must be less than its TTL, 3600 seconds'),
        ({'at': '2027-01-15T09:00:00Z'}, 'must be less than its TTL'),
        ({'at': '2027-01-15T08:59:59.5Z'}, 'must be less than its TTL'),
        ({'default': TTL}, 'must be less than its TTL'),
        ({'after': 0, 'at': '2027-01-15T09:00:00Z'}, 'not both'),
    ],
)
def test_what_does_not_fit_is_refused(
    members: dict[str, Any], text: str
) -> None:
    with pytest.raises(InvalidRequest, match=text):
        delay(**members)
