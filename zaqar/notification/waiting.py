# SPDX-License-Identifier: Apache-2.0
"""Jobs for one host, of which projects take turns."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterator
from typing import Generic, Protocol, TypeVar


class HasProject(Protocol):
    """A job: all that is known of it here."""

    @property
    def project(self) -> str: ...


Job = TypeVar('Job', bound=HasProject)


class Waiting(Generic[Job]):
    """Jobs that wait: first come, first served within a project only.

    A host may be that of many projects, as the way out of all mails is: one
    that has much to say does not keep the others from speaking.
    """

    def __init__(self) -> None:
        self._projects: OrderedDict[str, deque[Job]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Job]:
        for jobs in self._projects.values():
            yield from jobs

    def share(self, project: str, room: int) -> int:
        """Return how many more a project may have of a room that is full."""
        jobs = self._projects.get(project, ())
        others = len(self._projects) - (project in self._projects)
        return room // (others + 1) - len(jobs)

    def append(self, job: Job) -> None:
        """Put a job last."""
        self._projects.setdefault(job.project, deque()).append(job)
        self._count += 1

    def appendleft(self, job: Job) -> None:
        """Put a job first."""
        self._projects.setdefault(job.project, deque()).appendleft(job)
        self._projects.move_to_end(job.project, last=False)
        self._count += 1

    def popleft(self) -> Job:
        """Take the first job of the project whose turn it is."""
        project, jobs = next(iter(self._projects.items()))
        found = jobs.popleft()
        self._projects.move_to_end(project)
        self._forget(project)
        return found

    def pop(self) -> Job:
        """Take the last job of the project that has most."""
        project = max(self._projects, key=lambda one: len(self._projects[one]))
        found = self._projects[project].pop()
        self._forget(project)
        return found

    def clear(self) -> None:
        """Forget all."""
        self._projects.clear()
        self._count = 0

    def _forget(self, project: str) -> None:
        self._count -= 1
        if not self._projects[project]:
            del self._projects[project]
