# SPDX-License-Identifier: Apache-2.0
"""What a load needs follows from what its operations cost."""

from __future__ import annotations

import pytest

from benchmarks import costs, forecasts, needs
from benchmarks.costs import Cost
from benchmarks.deployment import (
    API,
    CLIENT,
    NOTIFIER,
    SOCKETS,
    STORE,
    Slice,
)
from benchmarks.needs import Load

_KNOWN = {
    name: Cost({API: 300e-6, STORE: 50e-6}, 1, 500, 700)
    for name in costs.OPERATIONS
} | {
    costs.DELIVERY: Cost({NOTIFIER: 400e-6, STORE: 100e-6}),
    costs.PUSH: Cost({NOTIFIER: 100e-6, STORE: 20e-6, SOCKETS: 20e-6}),
}


def _counts(load: Load, store_cores: float = 1) -> dict[str, int]:
    found = needs.of_load(_KNOWN, load, store_cores)
    return {need.part: need.count for need in found}


def test_parts_are_added_until_none_is_too_busy() -> None:
    counts = _counts(Load(10_000))

    # A post, and 1.2 requests to claim and delete, for each message.
    assert counts[API] == 10  # 6.6 cores at 70 %
    assert counts[STORE] == 2  # 1.1
    assert counts[NOTIFIER] == counts[SOCKETS] == 1


def test_ten_at_once_cost_less() -> None:
    assert _counts(Load(10_000, 'ten'))[API] == 2


def test_the_part_that_saturates_first_comes_first() -> None:
    load = Load(1, deliveries=10_000)

    first, *_ = needs.of_load(_KNOWN, load, 16)

    assert first.part == NOTIFIER
    assert first.count == 6


def test_connections_need_servers() -> None:
    assert _counts(Load(1, sockets=1_000_000))[SOCKETS] == 100


def test_records_are_looked_up_once_in_a_while() -> None:
    # 100 queues on 10 workers: each worker each queue every five seconds.
    few = needs.record_reads(100_000, 100, 10)
    many = needs.record_reads(100_000, 10_000_000, 10)

    assert few == pytest.approx(200, rel=0.01)
    assert many == pytest.approx(100_000, rel=0.01)


@pytest.mark.parametrize(
    ('workers', 'stores', 'cores', 'rate'),
    [
        pytest.param(2, 1, 16, 6000, id='workers'),
        pytest.param(9, 1, 16, 10_000, id='store'),
        pytest.param(9, 3, 16, 20_000, id='client'),
        pytest.param(2, 1, 2, 4167, id='cores'),
    ],
)
def test_a_forecast_is_that_of_the_part_with_the_least_room(
    workers: int,
    stores: int,
    cores: int,
    rate: float,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr('os.cpu_count', lambda: cores)
    one = Slice(3000, {API: 330e-6, STORE: 100e-6, CLIENT: 50e-6}, 0)

    expected = forecasts.forecast(one, workers, stores, 0.0)

    assert expected == pytest.approx(rate, rel=0.02)


def test_a_worker_with_a_share_of_a_core_gets_no_more() -> None:
    one = Slice(600, {API: 330e-6, STORE: 100e-6, CLIENT: 50e-6}, 0)

    limits = forecasts.limits(one, 2, 1, 0.0, is_whole=False)

    assert limits[API] == pytest.approx(1200)
