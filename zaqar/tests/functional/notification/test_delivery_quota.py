# SPDX-License-Identifier: Apache-2.0
"""The quota of bytes of pending deliveries."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec import structs

from zaqar.controllers import pending_byte_usage, posting
from zaqar.controllers.approximate_quota_checks import ApproximateUsage
from zaqar.controllers.configured_quotas import QuotaSettings
from zaqar.controllers.quota_checks_by_counting import Quotas
from zaqar.errors import QuotaExceeded, StoreUnavailable
from zaqar.microversion_constants import V2_1
from zaqar.notification import fanout, pending_byte_usage_writer
from zaqar.notification.fanout import Fanout
from zaqar.objects import Scope
from zaqar.tests.contract.crowd import each
from zaqar.tests.functional.notification.conftest import MakeReceiver, MakeRig
from zaqar.tests.functional.notification.rig import FEW, Rig
from zaqar.tests.servers.receivers import answer, in_turn

QUOTAS = Quotas(QuotaSettings(delivery_bytes=3000))


def _pending(rig: Rig) -> int:
    return pending_byte_usage.pending(rig.catalogue, 'p')


def _usage(quotas: Quotas, rig: Rig) -> ApproximateUsage:
    resources = [pending_byte_usage.resource(rig.catalogue)]
    return ApproximateUsage(quotas, resources)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Changes of counts that are written."""
    made: list[Any] = []
    add = pending_byte_usage.add

    def noted(*args: Any) -> None:
        made.append(args[2:])
        add(*args)

    monkeypatch.setattr(pending_byte_usage, 'add', noted)
    return made


def test_posts_that_would_wait_for_subscribers_are_refused(
    make_rig: MakeRig,
    make_receiver: MakeReceiver,
    calls: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Written at the start and at the end, however long this takes.
    monkeypatch.setattr(pending_byte_usage_writer, 'INTERVAL', 3600.0)
    fine = make_receiver()
    failing = make_receiver(in_turn(*[answer(500)] * 2, answer(200)))
    rig = make_rig(quotas=QUOTAS)
    rig.subscribe(fine.url)
    rig.subscribe(failing.url, _retry_policy=FEW)
    rig.queue('other')
    rig.post('x' * 998)
    rig.post('x' * 998)
    fine.wait(2)
    failing.wait(2)
    rig.stop()
    assert len(rig.waiting()) == 2
    assert _pending(rig) == 2000
    # None of them for a single delivery.
    assert len(calls) <= 2
    rejected: list[str] = []
    quotas = Quotas(QUOTAS.settings, rejected=rejected.append)
    rig.ctx = structs.replace(rig.ctx, usage=_usage(quotas, rig))
    with pytest.raises(QuotaExceeded, match=r'delivery_bytes.*3000.*2000'):
        rig.post('x' * 999)
    assert rejected == ['delivery_bytes']
    rig.post('x' * 999, queue='other')
    rig.post('x' * 998)
    rig.ahead += 2000
    rig.start()
    rig.rests()
    rig.stop()
    assert _pending(rig) == 0


def test_eight_posts_at_once_exceed_it_by_one_for_each_process(
    make_rig: MakeRig,
) -> None:
    rig = make_rig(running=False, quotas=QUOTAS)
    rig.subscribe('http://localhost/a')
    pending_byte_usage.add(rig.management, '', 'p', 2000)
    usages = [_usage(QUOTAS, rig) for _ in range(2)]
    body = msgspec.Raw(b'"%b"' % (b'x' * 998))

    def is_refused(number: int, queue: str = 'q') -> bool:
        ctx = structs.replace(rig.ctx, usage=usages[number % 2])
        document = posting.Post([posting.PostedMessage(body=body)])
        try:
            posting.post(ctx, scope=Scope('p', queue), document=document)
        except QuotaExceeded:
            return True
        return False

    # What is known to have no subscribers takes no room.
    rig.queue('other')
    queue = rig.catalogue.read(Scope('p', 'other'))
    assert queue is not None
    assert rig.store.unmark_subscribed(queue.qid, 1, now=rig.now())
    rig.post('x', queue='other')
    assert not any(is_refused(number, 'other') for number in range(4))
    assert each(is_refused, range(8)).count(False) == len(usages)


def test_what_a_dead_notifier_has_not_written_is_put_right(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pending_byte_usage_writer, 'INTERVAL', 0.0)
    rig = make_rig(running=False, quotas=QUOTAS)
    pending_byte_usage.add(rig.management, '', 'p', 5000)
    assert _pending(rig) == 5000
    rig.start()
    rig.until(lambda: _pending(rig) == 0)


def test_what_filters_exclude_is_not_pending(make_rig: MakeRig) -> None:
    rig = make_rig(running=False, quotas=QUOTAS, version=V2_1)
    rig.subscribe('http://localhost/a', _filter={'a': [1]})
    rig.subscribe('http://localhost/b')
    rig.post({'a': 1}, {'a': 2})
    counted: list[Any] = []
    Fanout(rig.ctx, count_bytes=lambda *args: counted.append(args)).expand(
        rig.store
    )
    assert counted == [('p', 3 * len('{"a": 1}'))]


def test_what_is_stored_before_an_error_is_counted_once(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make_rig(running=False)
    rig.subscribe('http://localhost/')
    # Long enough that the notice stays.
    rig.post('x' * 1998)
    counted: list[int] = []

    def expand() -> None:
        Fanout(
            rig.ctx, count_bytes=lambda _project, size: counted.append(size)
        ).expand(rig.store)

    def fail(*given: Any, **more: Any) -> Any:
        raise StoreUnavailable

    with monkeypatch.context() as failing:
        failing.setattr(rig.store, 'settle', fail)
        with pytest.raises(StoreUnavailable):
            expand()
    rig.ahead = fanout.NOTICE_LEASE + 1
    expand()
    assert counted == [2000]
