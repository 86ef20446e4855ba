# SPDX-License-Identifier: Apache-2.0
"""The projects that do most, named in the log and in metrics once a minute.

Their number is bounded everywhere: in memory, in a log entry, and among the
labels of metrics, which last as long as the process.
"""

import collections
import logging
import threading
import time
from collections.abc import Callable, Mapping

LOG = logging.getLogger(__name__)

#: What projects are compared by.
REQUESTS, BYTES, REJECTIONS = 'requests', 'bytes', 'rejections'

#: Seconds between two reports.
INTERVAL = 60.0

#: Projects that are counted; of twice as many the rest is forgotten.
COUNTED = 1000

#: Projects that metrics of a process name, at most.
NAMED = 50

#: Statuses of what a project may not have, or not so fast.
_REJECTED = ('403', '429')

#: Sets a gauge: takes a name, a value, and labels.
Record = Callable[..., None]


class TopProjects:
    """Counts what projects do.

    :param most: how many a report names
    :param record: sets gauges
    :param timer: seconds by a clock that never goes back
    """

    def __init__(
        self,
        most: int,
        record: Record | None = None,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._most = most
        self._record = record
        self._timer = timer
        self._lock = threading.Lock()
        self._counts = _counters()
        self._began = timer()
        self._last: Mapping[str, list[tuple[str, int]]] = {}
        self._named: set[str] = set()

    def add(self, project: str, size: int, status: str) -> None:
        """Count a request.

        :param size: bytes of its body
        :param status: that of an error, else anything
        """
        counts, now = self._counts, self._timer()
        with self._lock:
            requests = counts[REQUESTS]
            requests[project] += 1
            if size:
                counts[BYTES][project] += size
            if status in _REJECTED:
                counts[REJECTIONS][project] += 1
            if len(requests) > 2 * COUNTED:
                self._forget_most()
            is_due = now - self._began >= INTERVAL
            if is_due:
                seconds, self._began = now - self._began, now
                self._counts = _counters()
        if is_due:
            self._report(counts, seconds)

    def facts(self) -> Mapping[str, str]:
        """Return the last report."""
        return {kind: _listed(tops) for kind, tops in self._last.items()}

    def _forget_most(self) -> None:
        for kind, counter in self._counts.items():
            self._counts[kind] = collections.Counter(
                dict(counter.most_common(COUNTED))
            )

    def _report(
        self, counts: Mapping[str, collections.Counter[str]], seconds: float
    ) -> None:
        self._last = {
            kind: counter.most_common(self._most)
            for kind, counter in counts.items()
        }
        for kind, tops in self._last.items():
            if tops:
                LOG.info(
                    'Projects with most %s in %d s: %s',
                    kind,
                    seconds,
                    _listed(tops),
                )
        if self._record is None:
            return
        for tops in self._last.values():
            for project, _ in tops:
                if len(self._named) < NAMED:
                    self._named.add(project)
        for kind, tops in self._last.items():
            values = dict(tops)
            for project in self._named:
                self._record(
                    'top_projects', values.get(project, 0), kind, project
                )


def _counters() -> dict[str, collections.Counter[str]]:
    return {
        kind: collections.Counter() for kind in (REQUESTS, BYTES, REJECTIONS)
    }


def _listed(tops: list[tuple[str, int]]) -> str:
    return ', '.join(f'{project} {count}' for project, count in tops)
