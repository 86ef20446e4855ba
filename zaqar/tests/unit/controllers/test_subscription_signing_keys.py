# SPDX-License-Identifier: Apache-2.0
"""Keys of subscriptions, in options that others have changed."""

from typing import Any

import pytest

from zaqar.controllers import subscription_signing_keys as keys


@pytest.mark.parametrize('beside', ['x', None, {'until': 'x'}, {}])
def test_options_of_an_earlier_release_spoil_nothing(beside: Any) -> None:
    # A process of one takes the option for a free one, and forgets the other.
    options = {keys.BESIDE: beside}
    assert keys.made(options, 0) is None
    assert [*keys.valid(options, 0)] == []
    both = {**options, keys.OPTION: 'whsec_YWJj'}
    assert keys.made(both, 0) == keys.Key('whsec_YWJj')
    assert [*keys.valid(both, 0)] == ['whsec_YWJj']
