# SPDX-License-Identifier: Apache-2.0
"""Each topology under each fault: what clients are told stays true."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from zaqar.tests.functional.cluster import conftest
from zaqar.tests.functional.cluster import topologies as faults
from zaqar.tests.functional.cluster.conftest import Site
from zaqar.tests.functional.cluster.table import Table
from zaqar.tests.functional.cluster.topologies import STEP

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]

#: What happens in the short form, and what only in the long one.
_SHORT: dict[str, Sequence[str]] = {
    conftest.SINGLE: (faults.KILL, faults.PAUSE, faults.ROLLING),
    conftest.ALL: (faults.ISOLATION, faults.DESYNC),
    conftest.TRANSACTION: (faults.KILL, faults.POOLER_KILL),
    conftest.SESSION: (faults.ROLLING,),
    conftest.STANDBY: (faults.KILL, faults.PAUSE),
}
_LONG: dict[str, Sequence[str]] = {
    conftest.SINGLE: (faults.ISOLATION, faults.QUORUM, faults.DESYNC),
    conftest.ALL: (
        *(faults.KILL, faults.PAUSE),
        *(faults.QUORUM, faults.ROLLING),
    ),
    conftest.TRANSACTION: (faults.PAUSE, faults.POOLER_PAUSE, faults.ROLLING),
    conftest.SESSION: (
        *(faults.KILL, faults.PAUSE),
        *(faults.POOLER_KILL, faults.POOLER_PAUSE),
    ),
    conftest.STANDBY: (faults.STANDBY_PAUSE, faults.ROLLING),
}

FAULTS = [
    (name, fault)
    for name, short in _SHORT.items()
    for fault in (*short, *(_LONG[name] if conftest.LONG else ()))
]


@pytest.mark.parametrize(
    ('name', 'fault'),
    FAULTS,
    ids=[f'{name}: {fault}' for name, fault in FAULTS],
)
def test_a_fault_harms_nothing(
    make_site: Callable[[str], Site], results: Table, name: str, fault: str
) -> None:
    site = make_site(name)
    wrong = []
    for _ in range(conftest.RUNS):
        load = site.load()
        with load:
            load.wait_for(STEP)
            site.topology.faults[fault](load)
        verdict = load.verdict(patient=conftest.LONG)
        results.add(name, fault, verdict)
        wrong += verdict.faults()
    assert not wrong


def test_all_nodes_may_be_written(
    make_site: Callable[[str], Site], results: Table
) -> None:
    load = make_site(conftest.ALL).load()
    with load:
        load.wait_for(conftest.CHECKS)
    verdict = load.verdict(patient=conftest.LONG)
    results.add(conftest.ALL, faults.NONE, verdict)
    assert not verdict.faults()
