# SPDX-License-Identifier: Apache-2.0
"""Counts of the stored deliveries of a store that are due and not claimed."""

from collections import Counter
from collections.abc import Iterable, Mapping, Set

from zaqar.notification.host_queue_and_health import HostJob

#: Claims without deliveries of a project after which none are taken for due:
#: other notifiers may have claimed them.
MISSES = 20


class DueDeliveries:
    """How many are due for each host and project, as far as it is known."""

    def __init__(self) -> None:
        self._of_hosts: dict[str, Counter[str]] = {}
        self._of_projects: Counter[str] = Counter()
        self._misses: Counter[str] = Counter()

    @property
    def projects(self) -> Set[str]:
        """Those that have any."""
        return self._of_projects.keys()

    def of_project(self, project: str) -> int:
        return self._of_projects[project]

    def of_host(self, host: str) -> Mapping[str, int]:
        """Return how many there are for a host, by project."""
        return self._of_hosts.get(host, {})

    def add(self, host: str, project: str) -> None:
        """Note one that is stored."""
        self._of_hosts.setdefault(host, Counter())[project] += 1
        self._of_projects[project] += 1

    def claim(self, jobs: Iterable[HostJob], *, is_all: bool) -> None:
        """Note those that are claimed.

        :param is_all: no more are due
        """
        if is_all:
            for known in (self._of_hosts, self._of_projects, self._misses):
                known.clear()
            return
        self._misses.update(self._of_projects.keys())
        for job in jobs:
            self._misses.pop(job.project, None)
            self._remove(job.host, job.project, 1)
        for project, misses in list(self._misses.items()):
            if misses >= MISSES:
                del self._misses[project]
                for host, counts in list(self._of_hosts.items()):
                    self._remove(host, project, counts[project])

    def _remove(self, host: str, project: str, count: int) -> None:
        counts = self._of_hosts.get(host)
        if counts and counts[project]:
            counts -= Counter({project: count})
            self._of_projects -= Counter({project: count})
            if not counts:
                del self._of_hosts[host]
