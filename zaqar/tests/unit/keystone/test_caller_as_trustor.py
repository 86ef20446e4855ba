# SPDX-License-Identifier: Apache-2.0
"""What is read of tokens and trusts as Keystone shows them."""

from __future__ import annotations

from typing import Any

import pytest
from keystoneauth1 import exceptions

from zaqar.errors import InvalidRequest
from zaqar.identity import Identity
from zaqar.keystone import caller_as_trustor, trusts

TRUST = {
    'trustee_user_id': 'service',
    'trustor_user_id': 'ann',
    'project_id': 'p',
    'roles': [{'id': 'one'}],
}


def _identity(**said: Any) -> Identity:
    token = {
        'user': {'id': 'ann'},
        'project': {'id': 'p'},
        'roles': [{'id': 'one'}, {'id': 'two'}],
        'methods': ['password', 'token'],
        **said,
    }
    return Identity('p', 'c', token='text', validated=token)


@pytest.mark.parametrize(
    ('changes', 'admits'),
    [
        ({}, True),
        ({'roles': []}, True),
        ({'roles': [{'id': 'one'}, {'id': 'two'}]}, True),
        ({'roles': [{'id': 'one'}, {'id': 'three'}]}, False),
        ({'trustee_user_id': 'another'}, False),
        ({'trustor_user_id': 'bob'}, False),
        ({'project_id': 'another'}, False),
        ({'project_id': None}, False),
    ],
)
def test_a_trust_is_the_callers_in_each_respect(
    changes: dict[str, Any], admits: bool
) -> None:
    caller = caller_as_trustor.trustor(_identity())
    trust = {**TRUST, **changes}
    assert caller_as_trustor.admits(trust, caller, 'service') is admits


@pytest.mark.parametrize(
    ('said', 'is_delegated'),
    [
        ({}, False),
        ({'methods': ['mapped']}, False),
        ({'methods': []}, True),
        ({'methods': ['application_credential']}, True),
        ({'methods': ['oauth1']}, True),
        ({'methods': ['token', 'ec2credential']}, True),
        ({'application_credential': {'id': 'x', 'restricted': False}}, True),
        ({'OS-OAUTH1': {'consumer_id': 'x'}}, True),
        ({'OS-TRUST:trust': {'id': 'x'}}, True),
    ],
)
def test_a_delegated_token_is_known_by_what_keystone_says(
    said: dict[str, Any], is_delegated: bool
) -> None:
    assert (
        caller_as_trustor.trustor(_identity(**said)).is_delegated
        is is_delegated
    )


def test_without_a_project_and_a_token_nobody_can_make_a_trust() -> None:
    for identity in (
        Identity('p', 'c'),
        Identity('p', 'c', token='text'),
        Identity('p', 'c', token='text', validated={'user': {'id': 'ann'}}),
    ):
        with pytest.raises(InvalidRequest, match='token'):
            caller_as_trustor.trustor(identity)


@pytest.mark.parametrize(
    ('error', 'is_final'),
    [
        (exceptions.BadRequest, True),
        (exceptions.Unauthorized, True),
        (exceptions.Forbidden, True),
        (exceptions.NotFound, True),
        (exceptions.Conflict, False),
        (exceptions.RequestTimeout, False),
        (exceptions.InternalServerError, False),
        (exceptions.ServiceUnavailable, False),
        (exceptions.ConnectFailure, False),
    ],
)
def test_what_keystone_would_refuse_again_is_final(
    error: Any, is_final: bool
) -> None:
    assert trusts.is_final(error()) is is_final


def test_a_reason_names_no_trust() -> None:
    trust_id = 'ab' * 16
    error = exceptions.Forbidden(f'Not {trust_id}. (HTTP 403) (Request-ID: r)')
    assert str(trusts.refusal(error)).endswith(': Not ....')
