# SPDX-License-Identifier: Apache-2.0
"""The table of what came of each fault, as the administrator guide has it."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator, Sequence

from zaqar.tests.functional.cluster.history import Verdict

#: File that it is written to, after each run.
FILE = os.environ.get('ZAQAR_TEST_CLUSTER_TABLE')

_TITLES = (
    *('Topology', 'Fault', 'Runs', 'Requests', 'Without database, s'),
    *('5xx', 'of them 500', 'Late 503', 'Lost', 'Doubled'),
    *('Skipped, repeated', 'Deletes without effect', 'Stale', 'Silenced'),
)


class Table:
    """Verdicts by topology and fault."""

    def __init__(self) -> None:
        self._verdicts: dict[tuple[str, str], list[Verdict]] = {}

    def add(self, topology: str, fault: str, verdict: Verdict) -> None:
        """Note what came of a run."""
        self._verdicts.setdefault((topology, fault), []).append(verdict)
        if FILE:
            pathlib.Path(FILE).write_text(self.text())

    def text(self) -> str:
        """Return it in reStructuredText, what must not be in comments."""
        lines = ['.. list-table::', '   :header-rows: 1', '']
        for row in (_TITLES, *self._rows()):
            first, *rest = map(str, row)
            lines += [f'   * - {first}', *(f'     - {cell}' for cell in rest)]
        for (topology, fault), some in self._verdicts.items():
            for line in (line for one in some for line in one.faults()):
                lines += ['', f'.. {topology}, {fault}: {line}']
        return '\n'.join(lines) + '\n'

    def _rows(self) -> Iterator[Sequence[object]]:
        for (topology, fault), some in self._verdicts.items():
            yield (
                topology,
                fault,
                len(some),
                sum(one.requests for one in some),
                f'{sum(one.outage for one in some):.0f}',
                sum(len(one.failures) for one in some),
                sum(len(one.errors) for one in some),
                sum(len(one.refused_late) for one in some),
                sum(len(one.lost) for one in some),
                sum(len(one.doubled) for one in some),
                sum(len(one.skipped) + len(one.repeated) for one in some),
                sum(len(one.undone) for one in some),
                sum(len(one.stale) for one in some),
                sum(len(one.silenced) for one in some),
            )
