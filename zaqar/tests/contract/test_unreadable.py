# SPDX-License-Identifier: Apache-2.0
"""Messages that one process cannot decrypt, and those behind them."""

from __future__ import annotations

import pytest
from msgspec import structs

from zaqar.controllers import claims_skipping_undecryptable_messages
from zaqar.controllers.api_limits_and_defaults import Limits
from zaqar.controllers.caller_and_services import Context
from zaqar.controllers.message_encryption import Cipher
from zaqar.errors import KeyMissing
from zaqar.tests.contract.caller import Caller
from zaqar.tests.contract.probe import Hand, bodies


@pytest.fixture
def pair(ctx: Context) -> tuple[Caller, Caller]:
    """An encrypted queue at two processes with a key each."""
    here, there = (
        Caller(
            structs.replace(
                ctx,
                cipher=Cipher({name: f'the key number {name}'}),
                limits=Limits(can_encrypt=True),
            ),
            'jobs',
        )
        for name in ('1', '2')
    )
    here.create(_enable_encrypt_messages=True)
    return here, there


def test_a_claim_takes_what_is_behind_them(
    pair: tuple[Caller, Caller], hand: Hand
) -> None:
    here, there = pair
    here.post(1, 2, 3, ttl=3600)
    there.post('x', ttl=3600)
    claim = there.claim(limit=3, ttl=3600)
    assert claim is not None
    assert bodies(claim.messages) == ['x']
    assert here.claim() is None
    hand.move(claims_skipping_undecryptable_messages.HOLD)
    assert bodies(here.hand_out()) == [1, 2, 3]


def test_a_pop_takes_what_is_behind_them(
    pair: tuple[Caller, Caller], hand: Hand
) -> None:
    here, there = pair
    here.post(1, 2, 3)
    there.post('x')
    assert bodies(there.pop(3)) == ['x']
    hand.move(claims_skipping_undecryptable_messages.HOLD)
    assert bodies(here.pop()) == [1, 2, 3]


def test_where_there_is_nothing_else_they_are_free_at_once(
    pair: tuple[Caller, Caller],
) -> None:
    here, there = pair
    here.post(1, 2, 3)
    with pytest.raises(KeyMissing):
        there.claim(limit=2)
    with pytest.raises(KeyMissing):
        there.pop(2)
    with pytest.raises(KeyMissing):
        there.everything()
    assert bodies(here.hand_out()) == [1, 2, 3]
