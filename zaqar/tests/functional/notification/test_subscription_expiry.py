# SPDX-License-Identifier: Apache-2.0
"""Subscriptions that have ended are removed, though nobody looks at them."""

from __future__ import annotations

import datetime
import pathlib
from collections.abc import Callable

import pytest

from zaqar.controllers import (
    subscription_expiry_index,
    subscription_records,
    subscriptions,
)
from zaqar.controllers.subscription_records import SUBSCRIBER, SUBSCRIPTION
from zaqar.models import Identity, Scope
from zaqar.notification import fanout
from zaqar.tests.functional.notification.conftest import MakeRig
from zaqar.tests.functional.notification.rig import Rig
from zaqar.tests.functional.notification.test_processes import place

SCOPE = Scope('p', 'q')
PARENT = subscription_records.parent_of(SCOPE)
HOUR = 3600


@pytest.fixture
def rig(make_rig: MakeRig) -> Rig:
    """A place that nobody delivers from."""
    return make_rig(running=False)


def kept(rig: Rig) -> list[int]:
    """Return how many records of each kind there are."""
    records = [
        rig.management.count(kind, PARENT)
        for kind in (SUBSCRIPTION, SUBSCRIBER, subscription_records.DELIVERIES)
    ]
    return [
        *records,
        rig.management.count(
            subscription_expiry_index.KIND, subscription_expiry_index.PARENT
        ),
    ]


def change(rig: Rig, one: str, ttl: int) -> None:
    """Give a subscription another life."""
    subscriptions.update(
        rig.ctx, scope=SCOPE, subscription_id=one, document={'ttl': ttl}
    )


class SlowTrusts:
    """A Keystone during whose answer other things happen."""

    def __init__(self) -> None:
        self.meanwhile: Callable[[], None] = lambda: None

    def create(
        self, identity: Identity, seconds: int
    ) -> tuple[str, datetime.datetime | None]:
        self.meanwhile()
        return 'trust', None

    def check(
        self, identity: Identity, trust_id: str
    ) -> datetime.datetime | None:
        return None

    def delete(self, trust_id: str) -> None:
        pass


def test_what_is_renewed_at_its_end_is_notified(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    trusts = SlowTrusts()
    rig = make_rig(running=False, trusts=trusts)
    one = rig.subscribe('trust+http://a.example/', ttl=HOUR)
    # Ended by the clock of the notifier only, which therefore removes nothing.
    server_now = rig.now() + (HOUR - 1) * 1000
    monkeypatch.setattr(rig.management.clock, 'server_now', lambda: server_now)

    def meanwhile() -> None:
        rig.ahead = HOUR + 10
        rig.post('for nobody')
        fanout.fan_out(rig.ctx, rig.store)
        assert not rig.waiting()

    trusts.meanwhile = meanwhile
    change(rig, one, 2 * HOUR)
    rig.post('for one')
    assert len(rig.waiting()) == 1


def test_only_a_longer_life_marks_the_queue(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = rig.subscribe('http://a.example/', ttl=HOUR)
    marked: list[Scope] = []
    monkeypatch.setattr(
        subscriptions, '_mark', lambda _, scope: marked.append(scope)
    )
    subscriptions.update(
        rig.ctx,
        scope=SCOPE,
        subscription_id=one,
        document={'subscriber': 'http://b.example/', 'options': {}},
    )
    change(rig, one, HOUR // 2)
    assert not marked
    change(rig, one, 2 * HOUR)
    assert marked == [SCOPE]


def test_what_has_ended_is_removed_and_what_lives_is_not(rig: Rig) -> None:
    rig.subscribe('http://a.example/', ttl=HOUR)
    longer = rig.subscribe('http://b.example/', ttl=HOUR)
    rig.subscribe('http://c.example/', ttl=2 * HOUR)
    change(rig, longer, 3 * HOUR)
    rig.ahead = HOUR - 10
    assert subscription_records.sweep(rig.ctx, 10) == 0
    rig.ahead = HOUR + 10
    assert subscription_records.sweep(rig.ctx, 10) == 1
    assert kept(rig) == [2, 2, 0, 2]
    rig.ahead = 2 * HOUR + 10
    assert subscription_records.sweep(rig.ctx, 10) == 1
    subscriptions.show(rig.ctx, scope=SCOPE, subscription_id=longer)
    rig.ahead = 4 * HOUR
    assert subscription_records.sweep(rig.ctx, 10) == 1
    assert kept(rig) == [0, 0, 0, 0]


def test_many_that_end_together_go_in_parts(rig: Rig) -> None:
    for number in range(5):
        rig.subscribe(f'http://a.example/{number}', ttl=HOUR)
    rig.ahead = HOUR + 10
    counts = [subscription_records.sweep(rig.ctx, 2) for _ in range(4)]
    assert counts == [2, 2, 1, 0]
    assert kept(rig) == [0, 0, 0, 0]


def test_a_note_that_was_left_over_ends_nothing(rig: Rig) -> None:
    one = rig.subscribe('http://a.example/', ttl=2 * HOUR)
    # As by a change of the life that died half way.
    subscription_expiry_index.add(
        rig.management, SCOPE, one, rig.now() + HOUR * 1000
    )
    rig.ahead = HOUR + 10
    assert subscription_records.sweep(rig.ctx, 10) == 1
    assert kept(rig) == [1, 1, 0, 1]


def test_whoever_ends_a_subscription_leaves_no_note(rig: Rig) -> None:
    one = rig.subscribe('http://a.example/')
    subscriptions.delete(rig.ctx, scope=SCOPE, subscription_id=one)
    assert kept(rig) == [0, 0, 0, 0]
    rig.subscribe('http://a.example/')
    subscription_records.clear(rig.ctx, SCOPE)
    assert kept(rig) == [0, 0, 0, 0]


def test_the_service_does_it_by_itself(
    rig: Rig, tmp_path: pathlib.Path
) -> None:
    rig.ahead = -2.0 * HOUR
    rig.subscribe('http://a.example/', ttl=HOUR)
    rig.subscribe('http://b.example/', ttl=3 * HOUR)
    server = place(tmp_path, '[gc]\ninterval = 1').start()
    rig.until(lambda: kept(rig) == [1, 1, 0, 1])
    assert server.stop() == 0
