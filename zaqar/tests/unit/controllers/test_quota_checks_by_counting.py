# SPDX-License-Identifier: Apache-2.0
"""Limits of projects: cached, and kept while they cannot be read."""

from __future__ import annotations

import logging
import threading
from typing import Any

import pytest
from oslo_config import cfg

from zaqar.controllers.configured_quotas import Limits, QuotaSettings
from zaqar.controllers.quota_checks_by_counting import Quotas
from zaqar.controllers.quota_limit_sources import LimitsUnavailable
from zaqar.controllers.quota_limits_cache import AGAIN, FRESH
from zaqar.errors import QuotaExceeded, StoreUnavailable


class Source:
    """Limits that tests set; counts how often it is asked."""

    def __init__(self) -> None:
        self.own: Limits | None = {'queues': 5}
        self.count = 0
        self.was_asked = threading.Semaphore(0)

    def limits(self, project: str) -> Limits:
        self.count += 1
        try:
            if self.own is None:
                raise LimitsUnavailable('nobody answers')
            return self.own
        finally:
            self.was_asked.release()


class Rig:
    """Quotas with a source and a time of ours."""

    def __init__(self, **settings: int | bool) -> None:
        self.now = 0.0
        self.source = Source()
        self.quotas = Quotas(
            QuotaSettings(use_unified_limits=True, **settings),  # type: ignore[arg-type]
            self.source,
            lambda: self.now,
        )

    def reread(self) -> Limits:
        """Let a minute pass and limits be read again."""
        while self.source.was_asked.acquire(blocking=False):
            pass
        self.now += FRESH
        stale = self.quotas.limits('p')
        assert self.source.was_asked.acquire(timeout=60)
        # Closed when what was begun is done.
        self.quotas.close()
        return stale


def test_limits_are_asked_for_once_a_minute_behind_the_back() -> None:
    rig = Rig(queues=3, topics=2)
    for _ in range(3):
        assert rig.quotas.limits('p') == {'queues': 5, 'topics': 2}
    assert rig.source.count == 1
    rig.source.own = {'queues': 7, 'topics': -1}
    assert rig.reread() == {'queues': 5, 'topics': 2}
    assert rig.quotas.limits('p') == {'queues': 7}


def test_the_last_known_limits_hold_with_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rig = Rig(queues=3)
    assert rig.quotas.limits('p') == {'queues': 5}
    rig.source.own = None
    with caplog.at_level(logging.INFO):
        assert rig.quotas.limits('new') == {'queues': 3}
        rig.reread()
        assert rig.quotas.limits('p') == {'queues': 5}
    (warning,) = caplog.records
    assert warning.levelname == 'WARNING'
    assert 'nobody answers' in warning.getMessage()


def test_nothing_is_asked_where_nothing_is_limited() -> None:
    source = Source()
    quotas = Quotas(QuotaSettings(queues=0, topics=-1), source)
    assert quotas.limits('p') == {}
    with quotas.room('p', 'queues', lambda: 1 // 0):
        pass
    assert source.count == 0


def test_a_failure_to_create_gives_its_room_back() -> None:
    quotas = Quotas(QuotaSettings(queues=1))
    with (
        pytest.raises(StoreUnavailable),
        quotas.room('p', 'queues', lambda: 0),
    ):
        raise StoreUnavailable
    with quotas.room('p', 'queues', lambda: 0):
        pass
    with (
        pytest.raises(QuotaExceeded),
        quotas.room('p', 'queues', lambda: 1),
    ):
        pass


def test_nobody_else_waits_for_a_keystone_that_does_not_respond(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    unified_limits = pytest.importorskip('zaqar.keystone.unified_limits')
    calls: list[Any] = []

    class Keystone:
        """It does not know projects, later."""

        def __init__(self, *_: Any, **more: Any) -> None:
            self.get_registered_limits(None)

        def get_registered_limits(self, _: Any) -> dict[str, int]:
            if len(calls) < 2:
                calls.append('')
                raise OSError('no route')
            return {'queues': 5}

        def get_project_limits(self, *given: Any) -> None:
            calls.append(given)
            raise OSError('no route')

    monkeypatch.setattr(unified_limits.limit, 'Enforcer', Keystone)
    now = 0.0
    source = unified_limits.KeystoneLimits(cfg.ConfigOpts(), lambda: now)
    settings = QuotaSettings(use_unified_limits=True, queues=9)
    quotas = Quotas(settings, source, lambda: now)
    for now, count, most in (
        *((0.0, 1, 9), (AGAIN - 1, 1, 9), (AGAIN, 2, 9)),
        # What is registered for all is known then.
        *((2 * AGAIN, 3, 5), (3 * AGAIN - 1, 3, 5)),
    ):
        assert quotas.limits(f'p{now}') == {'queues': most}
        assert len(calls) == count
