# SPDX-License-Identifier: Apache-2.0
"""Subscriptions that have ended are removed, though nobody looks at them."""

from __future__ import annotations

import datetime
import itertools
import pathlib
from collections.abc import Callable
from typing import Any, NoReturn

import pytest

from zaqar.controllers import (
    subscription_expiry_and_count_records,
    subscription_records,
    subscriptions,
    trusts_to_delete,
)
from zaqar.controllers.subscription_records import SUBSCRIBER, SUBSCRIPTION
from zaqar.errors import Conflict, StoreUnavailable
from zaqar.identity import Identity
from zaqar.objects import Scope
from zaqar.tests.functional.notification.conftest import MakeRig
from zaqar.tests.functional.notification.rig import Rig, fan_out
from zaqar.tests.functional.notification.test_processes import place

SCOPE = Scope('p', 'q')
PARENT = subscription_records.parent_of(SCOPE)
HOUR = 3600


@pytest.fixture
def rig(make_rig: MakeRig) -> Rig:
    """A place that nobody delivers from."""
    return make_rig(running=False)


def counts(rig: Rig) -> list[int]:
    """Return how many records of each kind there are."""
    records = [
        rig.management.count(kind, PARENT)
        for kind in (SUBSCRIPTION, SUBSCRIBER, subscription_records.DELIVERIES)
    ]
    return [
        *records,
        rig.management.count(
            subscription_expiry_and_count_records.ENDING,
            subscription_expiry_and_count_records.PARENT,
        ),
    ]


def change(rig: Rig, one: str, ttl: int) -> None:
    """Give a subscription another life."""
    subscriptions.update(
        rig.ctx, scope=SCOPE, subscription_id=one, document={'ttl': ttl}
    )


class SlowTrusts:
    """A Keystone during whose answer other things happen.

    :ivar lasting: the trusts that there are
    """

    def __init__(self) -> None:
        self.meanwhile: Callable[[], None] = lambda: None
        self.lasting: set[str] = set()
        self.is_down = False
        self._ids = map(str, itertools.count())

    def create(
        self, identity: Identity, seconds: int
    ) -> tuple[str, datetime.datetime | None]:
        self.meanwhile()
        trust_id = next(self._ids)
        self.lasting.add(trust_id)
        return trust_id, None

    def check(
        self, identity: Identity, trust_id: str
    ) -> datetime.datetime | None:
        return None

    def delete(self, trust_id: str) -> bool:
        if not self.is_down:
            self.lasting.discard(trust_id)
        return not self.is_down


#: Takes a token, hence needs a trust.
TAKES_TOKEN = 'trust+http://a.example/'


@pytest.fixture
def trusts() -> SlowTrusts:
    """A Keystone."""
    return SlowTrusts()


@pytest.fixture
def trusting(make_rig: MakeRig, trusts: SlowTrusts) -> Rig:
    """A place whose subscriptions have trusts."""
    return make_rig(running=False, trusts=trusts)


def test_a_trust_ends_with_its_subscription(
    trusting: Rig, trusts: SlowTrusts
) -> None:
    one = trusting.subscribe(TAKES_TOKEN)
    assert trusts.lasting
    subscriptions.delete(trusting.ctx, scope=SCOPE, subscription_id=one)
    assert not trusts.lasting
    trusting.subscribe(TAKES_TOKEN)
    subscription_records.clear(trusting.ctx, SCOPE)
    assert not trusts.lasting
    assert not trusting.management.count(
        trusts_to_delete.KIND, trusts_to_delete.PARENT
    )


@pytest.mark.parametrize('ended_by', ['a deletion', 'a refusal'])
def test_a_trust_that_keystone_did_not_end_is_ended_by_a_sweep(
    trusting: Rig,
    trusts: SlowTrusts,
    monkeypatch: pytest.MonkeyPatch,
    ended_by: str,
) -> None:
    if ended_by == 'a deletion':
        one = trusting.subscribe(TAKES_TOKEN)
        trusts.is_down = True
        subscriptions.delete(trusting.ctx, scope=SCOPE, subscription_id=one)
    else:
        monkeypatch.setattr(trusts, 'meanwhile', lambda: _go_down(trusts))
        monkeypatch.setattr(subscription_records, 'enrol', _refuse)
        with pytest.raises(Conflict):
            trusting.subscribe(TAKES_TOKEN)
    subscription_records.sweep(trusting.ctx, 10)
    assert trusts.lasting
    trusts.is_down = False
    subscription_records.sweep(trusting.ctx, 10)
    assert not trusts.lasting
    assert not trusting.management.count(
        trusts_to_delete.KIND, trusts_to_delete.PARENT
    )


def test_a_trust_that_keystone_fails_at_keeps_no_other(
    trusting: Rig, trusts: SlowTrusts, monkeypatch: pytest.MonkeyPatch
) -> None:
    delete = trusts.delete
    subscribed = [trusting.subscribe(f'{TAKES_TOKEN}{n}') for n in range(3)]
    trusts.is_down = True
    for one in subscribed:
        subscriptions.delete(trusting.ctx, scope=SCOPE, subscription_id=one)
    trusts.is_down = False
    bad = min(trusts.lasting)
    monkeypatch.setattr(
        trusts, 'delete', lambda trust_id: trust_id != bad and delete(trust_id)
    )
    for _ in range(100):
        subscription_records.sweep(trusting.ctx, 10)
    assert trusts.lasting == {bad}


def _go_down(trusts: SlowTrusts) -> None:
    trusts.is_down = True


def _refuse(*_: Any) -> NoReturn:
    raise Conflict


def test_a_trust_ends_though_the_store_fails_meanwhile(
    trusting: Rig, trusts: SlowTrusts, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = trusting.subscribe(TAKES_TOKEN)
    delete = trusting.management.delete

    def fail(kind: str, *arguments: Any, **more: Any) -> Any:
        if kind != SUBSCRIPTION:
            raise StoreUnavailable
        return delete(kind, *arguments, **more)

    monkeypatch.setattr(trusting.management, 'delete', fail)
    with pytest.raises(StoreUnavailable):
        subscriptions.delete(trusting.ctx, scope=SCOPE, subscription_id=one)
    assert not trusts.lasting


class LostAnswers:
    """A store that records subscriptions, and says that it has failed.

    :ivar is_down: whether it answers nothing more then
    """

    def __init__(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_down = self.goes_down = self.refuses = False
        for name in ('create', 'replace', 'get'):
            method = self._around(getattr(rig.management, name))
            monkeypatch.setattr(rig.management, name, method)

    def _around(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def call(kind: str, *arguments: Any, **more: Any) -> Any:
            is_write = kind == SUBSCRIPTION and method.__name__ != 'get'
            if self.is_down or (is_write and self.refuses):
                raise StoreUnavailable
            result = method(kind, *arguments, **more)
            if is_write:
                self.is_down = self.goes_down
                raise StoreUnavailable
            return result

        return call


@pytest.mark.parametrize('goes_down', [False, True])
@pytest.mark.parametrize('change', ['create', 'update'])
def test_a_trust_lasts_if_its_subscription_is_recorded_after_all(
    trusting: Rig,
    trusts: SlowTrusts,
    monkeypatch: pytest.MonkeyPatch,
    change: str,
    goes_down: bool,
) -> None:
    one = trusting.subscribe(TAKES_TOKEN) if change == 'update' else ''
    with monkeypatch.context() as patch:
        LostAnswers(trusting, patch).goes_down = goes_down
        with pytest.raises(StoreUnavailable):
            if one:
                subscriptions.update(
                    trusting.ctx,
                    scope=SCOPE,
                    subscription_id=one,
                    document={'ttl': 2 * HOUR},
                )
            else:
                trusting.subscribe(TAKES_TOKEN)
    (record,) = trusting.management.list(
        SUBSCRIPTION, PARENT, after=None, limit=10
    )
    used = record.data['options']['trust_id']
    assert used in trusts.lasting
    if not goes_down:
        assert trusts.lasting == {used}


@pytest.mark.parametrize('change', ['create', 'update'])
def test_a_trust_ends_if_its_subscription_is_not_recorded(
    trusting: Rig,
    trusts: SlowTrusts,
    monkeypatch: pytest.MonkeyPatch,
    change: str,
) -> None:
    one = trusting.subscribe(TAKES_TOKEN) if change == 'update' else ''
    before = {*trusts.lasting}
    with monkeypatch.context() as patch:
        LostAnswers(trusting, patch).refuses = True
        with pytest.raises(StoreUnavailable):
            if one:
                subscriptions.update(
                    trusting.ctx,
                    scope=SCOPE,
                    subscription_id=one,
                    document={'ttl': 2 * HOUR},
                )
            else:
                trusting.subscribe(TAKES_TOKEN)
    assert trusts.lasting == before


def test_a_purge_ends_the_trust_that_a_subscription_has_by_then(
    trusting: Rig, trusts: SlowTrusts, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = trusting.subscribe(TAKES_TOKEN, ttl=HOUR)
    list_ = trusting.management.list

    def slow(*arguments: Any, **more: Any) -> Any:
        records = list_(*arguments, **more)
        monkeypatch.setattr(trusting.management, 'list', list_)
        change(trusting, one, 2 * HOUR)
        return records

    monkeypatch.setattr(trusting.management, 'list', slow)
    subscription_records.clear(trusting.ctx, SCOPE)
    assert counts(trusting) == [0, 0, 0, 0]
    assert not trusts.lasting


def test_what_is_renewed_at_its_end_is_notified(
    trusting: Rig, trusts: SlowTrusts, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = trusting
    one = rig.subscribe(TAKES_TOKEN, ttl=HOUR)
    # Ended by the clock of the notifier only, which therefore removes nothing.
    server_now = rig.now() + (HOUR - 1) * 1000
    monkeypatch.setattr(rig.management.clock, 'server_now', lambda: server_now)

    def meanwhile() -> None:
        rig.ahead = HOUR + 10
        rig.post('for nobody')
        fan_out(rig.ctx, rig.store)
        assert not rig.waiting()

    trusts.meanwhile = meanwhile
    change(rig, one, 2 * HOUR)
    rig.post('for one')
    assert len(rig.waiting()) == 1


def test_only_a_longer_life_marks_the_queue(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = rig.subscribe('http://a.example/', ttl=HOUR)
    marked: list[str] = []
    monkeypatch.setattr(
        rig.store, 'mark_subscribed', lambda qid, **_: marked.append(qid)
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
    assert len(marked) == 1


def test_what_has_ended_is_removed_and_what_lives_is_not(rig: Rig) -> None:
    rig.subscribe('http://a.example/', ttl=HOUR)
    longer = rig.subscribe('http://b.example/', ttl=HOUR)
    rig.subscribe('http://c.example/', ttl=2 * HOUR)
    change(rig, longer, 3 * HOUR)
    rig.ahead = HOUR - 10
    assert subscription_records.sweep(rig.ctx, 10) == 0
    rig.ahead = HOUR + 10
    assert subscription_records.sweep(rig.ctx, 10) == 1
    assert counts(rig) == [2, 2, 0, 2]
    rig.ahead = 2 * HOUR + 10
    assert subscription_records.sweep(rig.ctx, 10) == 1
    subscriptions.show(rig.ctx, scope=SCOPE, subscription_id=longer)
    rig.ahead = 4 * HOUR
    assert subscription_records.sweep(rig.ctx, 10) == 1
    assert counts(rig) == [0, 0, 0, 0]


def test_many_that_end_together_go_in_parts(rig: Rig) -> None:
    for number in range(5):
        rig.subscribe(f'http://a.example/{number}', ttl=HOUR)
    rig.ahead = HOUR + 10
    removed = [subscription_records.sweep(rig.ctx, 2) for _ in range(4)]
    assert removed == [2, 2, 1, 0]
    assert counts(rig) == [0, 0, 0, 0]


def test_a_note_that_was_left_over_ends_nothing(rig: Rig) -> None:
    one = rig.subscribe('http://a.example/', ttl=2 * HOUR)
    # As by a change of the life that died half way.
    subscription_expiry_and_count_records.add(
        rig.management, SCOPE, one, rig.now() + HOUR * 1000
    )
    rig.ahead = HOUR + 10
    assert subscription_records.sweep(rig.ctx, 10) == 1
    assert counts(rig) == [1, 1, 0, 1]


def test_whoever_ends_a_subscription_leaves_no_note(rig: Rig) -> None:
    one = rig.subscribe('http://a.example/')
    subscriptions.delete(rig.ctx, scope=SCOPE, subscription_id=one)
    assert counts(rig) == [0, 0, 0, 0]
    rig.subscribe('http://a.example/')
    subscription_records.clear(rig.ctx, SCOPE)
    assert counts(rig) == [0, 0, 0, 0]


def test_the_service_does_it_by_itself(
    rig: Rig, tmp_path: pathlib.Path
) -> None:
    rig.ahead = -2.0 * HOUR
    rig.subscribe('http://a.example/', ttl=HOUR)
    rig.subscribe('http://b.example/', ttl=3 * HOUR)
    server = place(tmp_path, '[gc]\ninterval = 1').start()
    rig.until(lambda: counts(rig) == [1, 1, 0, 1])
    assert server.stop() == 0
