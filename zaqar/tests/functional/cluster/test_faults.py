# SPDX-License-Identifier: Apache-2.0
"""Each topology under each fault: what clients are told stays true."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest

from zaqar.tests.functional.cluster import conftest, table
from zaqar.tests.functional.cluster import topologies as faults
from zaqar.tests.functional.cluster.conftest import Site
from zaqar.tests.functional.cluster.load import Load
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
    conftest.STANDBY: (
        *(faults.STANDBY_PAUSE, faults.STANDBY_KILL),
        faults.ROLLING,
    ),
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
    make_site: Callable[[str], Site], name: str, fault: str
) -> None:
    site = make_site(name)
    loads = [site.load() for _ in range(conftest.RUNS)]
    for load in loads:
        with load:
            load.wait_for(STEP)
            site.topology.faults[fault](load)
    assert not _judge(name, fault, loads)


def test_all_nodes_may_be_written(make_site: Callable[[str], Site]) -> None:
    # Subscriptions are the slowest of what is counted.
    load = make_site(conftest.ALL).load(subscribers=6)
    with load:
        load.wait_for(conftest.CHECKS)
    assert not _judge(conftest.ALL, faults.NONE, [load])


def _judge(name: str, fault: str, loads: Sequence[Load]) -> list[str]:
    """Return what is wrong, once notifications of all had their time."""
    verdicts = [load.verdict(patient=conftest.LONG) for load in loads]
    table.write(name, fault, verdicts)
    return [line for verdict in verdicts for line in verdict.faults()]
