# SPDX-License-Identifier: Apache-2.0
"""A queue of jobs in which projects take turns."""

from collections import OrderedDict, deque
from typing import Generic, Protocol, TypeVar


class ProjectJob(Protocol):
    """What the queue needs to know of a job."""

    @property
    def project(self) -> str: ...


Job = TypeVar('Job', bound=ProjectJob)


class FairQueue(Generic[Job]):
    """Jobs of one host, in order within each project.

    Many projects may share a host, such as the mail server: a project with
    many jobs does not delay the others.
    """

    def __init__(self) -> None:
        self._projects: OrderedDict[str, deque[Job]] = OrderedDict()
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def share(self, project: str, room: int) -> int:
        """Return how many jobs a project may add to a full queue."""
        jobs = self._projects.get(project, ())
        others = len(self._projects) - (project in self._projects)
        return room // (others + 1) - len(jobs)

    def append(self, job: Job) -> None:
        """Put a job last among those of its project."""
        self._projects.setdefault(job.project, deque()).append(job)
        self._count += 1

    def appendleft(self, job: Job) -> None:
        """Put a job first, and its project too."""
        self._projects.setdefault(job.project, deque()).appendleft(job)
        self._projects.move_to_end(job.project, last=False)
        self._count += 1

    def popleft(self) -> Job:
        """Remove and return the first job of the next project."""
        project, jobs = next(iter(self._projects.items()))
        job = jobs.popleft()
        self._projects.move_to_end(project)
        self._removed(project)
        return job

    def pop(self) -> Job:
        """Remove and return the last job of the project with the most."""
        project = max(self._projects, key=lambda p: len(self._projects[p]))
        job = self._projects[project].pop()
        self._removed(project)
        return job

    def _removed(self, project: str) -> None:
        self._count -= 1
        if not self._projects[project]:
            del self._projects[project]
