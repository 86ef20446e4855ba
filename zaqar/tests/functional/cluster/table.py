# SPDX-License-Identifier: Apache-2.0
"""The table of what came of each fault, as the administrator guide has it."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Sequence

from zaqar.tests import results
from zaqar.tests.functional.cluster.history import Verdict

#: CSV file in which the rows of what was run are replaced, after each fault.
FILE = os.environ.get('ZAQAR_TEST_CLUSTER_TABLE')

HEADER = (
    *('Topology', 'Fault', 'Runs', 'Requests', 'Outage, s', 'Slowest, s'),
    *('5xx', 'of them 500', 'Late 503', 'Lost', 'Doubled', 'Misread'),
    *('Deletes undone', 'Stale reads', 'Silenced', 'Commit'),
)


def write(topology: str, fault: str, verdicts: Sequence[Verdict]) -> None:
    """Write what came of the runs of a fault, if that is wanted."""
    if FILE:
        row = (topology, fault, *_sums(verdicts), results.commit())
        results.update(pathlib.Path(FILE), HEADER, [row], keys=2)


def _sums(verdicts: Sequence[Verdict]) -> Sequence[object]:
    return (
        len(verdicts),
        sum(one.requests for one in verdicts),
        f'{sum(one.outage for one in verdicts):.0f}',
        f'{max(one.slowest for one in verdicts):.1f}',
        sum(len(one.failures) for one in verdicts),
        sum(len(one.errors) for one in verdicts),
        sum(len(one.refused_late) for one in verdicts),
        sum(len(one.lost) for one in verdicts),
        sum(len(one.doubled) for one in verdicts),
        sum(len(one.skipped) + len(one.repeated) for one in verdicts),
        _share([(one.undone, one.deletes) for one in verdicts]),
        _share([(one.stale, one.reads) for one in verdicts]),
        _share([(one.silenced, one.subscriptions) for one in verdicts]),
    )


def _share(parts: Sequence[tuple[Sequence[str], int]]) -> str:
    faults = sum(len(lines) for lines, _ in parts)
    return f'{faults} of {sum(count for _, count in parts)}'
