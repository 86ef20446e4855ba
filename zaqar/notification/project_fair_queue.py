# SPDX-License-Identifier: Apache-2.0
"""A queue of jobs in which projects take turns."""

from collections import Counter, OrderedDict, deque
from typing import Generic, Protocol, TypeVar


class ProjectJob(Protocol):
    """What the queue needs to know of a job."""

    @property
    def project(self) -> str: ...

    @property
    def weight(self) -> int: ...

    @property
    def is_stored(self) -> bool: ...


Job = TypeVar('Job', bound=ProjectJob)


class FairQueue(Generic[Job]):
    """Jobs of one host, in order within each project.

    Many projects may share a host, such as the mail server: a project with
    many jobs does not delay the others.
    """

    def __init__(self) -> None:
        self._projects: OrderedDict[str, deque[Job]] = OrderedDict()
        self._weights: Counter[str] = Counter()
        self._count = 0
        self.weight = 0

    def __len__(self) -> int:
        return self._count

    @property
    def next_project(self) -> str:
        """The project whose turn it is."""
        return next(iter(self._projects))

    def share(self, project: str, room: int) -> int:
        """Return what a project may add to a full queue, by weight."""
        others = len(self._projects) - (project in self._projects)
        return room // (others + 1) - self._weights[project]

    def append(self, job: Job) -> None:
        """Put a job last among those of its project."""
        self._projects.setdefault(job.project, deque()).append(job)
        self._changed(job, 1)

    def appendleft(self, job: Job) -> None:
        """Put a job first, and its project too."""
        self._projects.setdefault(job.project, deque()).appendleft(job)
        self._projects.move_to_end(job.project, last=False)
        self._changed(job, 1)

    def popleft(self) -> Job:
        """Remove and return the first job of the next project."""
        project, jobs = next(iter(self._projects.items()))
        job = jobs.popleft()
        self._projects.move_to_end(project)
        self._changed(job, -1)
        return job

    def pop(self) -> Job:
        """Remove and return the last job of the project with the most."""
        project, _ = self._weights.most_common(1)[0]
        job = self._projects[project].pop()
        self._changed(job, -1)
        return job

    def remove_unstored(self) -> list[Job]:
        """Remove and return the jobs that are not stored."""
        removed = []
        for jobs in [*self._projects.values()]:
            unstored = [job for job in jobs if not job.is_stored]
            if unstored:
                stored = [job for job in jobs if job.is_stored]
                jobs.clear()
                jobs.extend(stored)
                removed += unstored
                for job in unstored:
                    self._changed(job, -1)
        return removed

    def _changed(self, job: Job, sign: int) -> None:
        self._count += sign
        self.weight += sign * job.weight
        self._weights[job.project] += sign * job.weight
        if not self._projects.get(job.project):
            self._projects.pop(job.project, None)
            del self._weights[job.project]
