# SPDX-License-Identifier: Apache-2.0
"""How often counts are written."""

from __future__ import annotations

import pytest

from zaqar.notification import notifier_service


@pytest.mark.parametrize(
    ('spent', 'rest'),
    [(0.0, 1.0), (0.1, 1.0), (0.5, 5.0), (1.0, 10.0), (30.0, 10.0)],
)
def test_writing_counts_takes_a_tenth_of_the_time_and_does_not_end(
    spent: float, rest: float
) -> None:
    assert notifier_service.flush_pause(spent) == rest
