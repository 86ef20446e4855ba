# SPDX-License-Identifier: Apache-2.0
"""Deliveries that a project makes too many of per second wait."""

from __future__ import annotations

from zaqar.controllers.rate_limits import RateSettings, Throttle
from zaqar.storage.abstract_stores import PENDING
from zaqar.tests.functional.notification.conftest import MakeRig
from zaqar.tests.servers.receivers import Receiver


def test_what_exceeds_a_rate_comes_later(
    make_rig: MakeRig, receiver: Receiver
) -> None:
    now = 0.0
    settings = RateSettings(deliveries=0.05, burst=60.0)
    throttle = Throttle(settings, timer=lambda: now)
    rig = make_rig(throttle=throttle)
    rig.subscribe(receiver.url)
    for number in range(5):
        rig.post(number)
    receiver.wait(3)

    def is_deferred() -> bool:
        stats = rig.store.stats(PENDING, now=rig.now())
        is_all = len(rig.waiting()) == stats.total
        return is_all and (stats.total, stats.delayed) == (2, 2)

    rig.until(is_deferred)
    assert len(receiver.got) == 3
    now += 3600
    rig.ahead += 3600
    receiver.wait(5)
    rig.rests()
