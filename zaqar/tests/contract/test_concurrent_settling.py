# SPDX-License-Identifier: Apache-2.0
"""Many who settle messages at once."""

from __future__ import annotations

from collections.abc import Callable

from zaqar.tests.contract.probe import Hand, Probe
from zaqar.tests.contract.settlers import settle_all


def test_eight_who_settle_and_forget_never_hold_the_same(
    eight: list[Probe], queue: Probe, hand: Hand, few: Callable[[int], int]
) -> None:
    settle_all(eight, queue.post(*range(few(200)), ttl=1_000_000), hand)
