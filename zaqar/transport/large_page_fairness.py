# SPDX-License-Identifier: Apache-2.0
"""Fairness between projects that read large pages: they take turns.

To read, encode and copy an answer of megabytes holds the interpreter for
milliseconds at a time. Its size is known only afterwards: hence a project that
had a large page lately has one page read at a time. Its other requests for
pages wait, for a few seconds at most, and hold no thread meanwhile. Beside
requests of others it pauses after each large page for as long as that took: a
client that asks again at once would keep a processor from them.

A project whose clients leave too much unread has no further turn, either; see
:mod:`.unread_answer_bytes`.
"""

import collections
import functools
import math
import threading
import time
from collections.abc import Callable
from typing import Any

from zaqar import metrics
from zaqar.api.operation_declarations import topics
from zaqar.errors import StoreUnavailable
from zaqar.transport.project_page_lengths import ProjectPageLengths
from zaqar.transport.unread_answer_bytes import UnreadAnswerBytes
from zaqar.transport.waiting_request_bytes import WaitingRequestBytes

#: Bytes from which on a page is large.
LARGE = 256 * 1024

#: Seconds for which a project is expected to get another one.
REMEMBERED_FOR = 10.0

#: Seconds of its longest pause after one.
LONGEST_PAUSE = 1.0

#: Seconds since a request of another project from which on nobody is beside.
OTHERS_FOR = 1.0

#: Projects with large pages that have a turn at a time.
MOST_AT_ONCE = 2

#: Requests of a project that may wait.
MOST_WAITING = 1000

_TOO_MANY = 'Too many requests of the project are waiting.'

_PAGES = frozenset(
    (
        *('queue_list', 'message_list', 'message_get_many'),
        *('message_delete_many', 'claim_create', 'claim_get'),
        'subscription_list',
    )
)

#: Operations whose answers may be large, by name.
PAGES = _PAGES | {
    row.name for row in topics.OPERATIONS if topics.model(row) in _PAGES
}

#: Returns what is to be done next, where it is known.
Job = Callable[[], Any]


def _after(seconds: float, work: Callable[[], None]) -> None:
    timer = threading.Timer(seconds, work)
    timer.daemon = True
    timer.start()


class Turns:
    """Who may have a page read, in one process.

    A job that is returned is to be done by the caller: its turn has come.
    Jobs of clients that have gone wait too, hence there is a limit.

    :param max_unread: bytes of a project's answers that may wait to be read
        by its clients before it has no further turn, 0 for any number
    :param later: does a job of a request that is woken, from any thread
    :param after: does work after some seconds, in any thread
    :ivar waiting_bytes: of requests that wait, for a turn or for messages
    :ivar page_lengths: of the longest pages of projects
    """

    def __init__(
        self,
        max_unread: int = 0,
        monotonic: Callable[[], float] = time.monotonic,
        later: Callable[[Job], object] = lambda job: job(),
        after: Callable[[float, Callable[[], None]], object] = _after,
    ) -> None:
        self.monotonic = monotonic
        self.later = later
        self.after = after
        self._lock = threading.Lock()
        #: When the last large page of each project was read.
        self._large: dict[str, float] = {}
        #: When a project without one had a request.
        self._others_at = -math.inf
        self._busy: set[str] = set()
        #: The project that has waited longest for its turn comes first.
        self._waiting: dict[str, collections.deque[Job]] = {}
        self._unread = UnreadAnswerBytes(max_unread)
        self.waiting_bytes = WaitingRequestBytes()
        self.page_lengths = ProjectPageLengths()

    def are_needed(self, name: str, project: str) -> bool:
        """Tell whether an operation of a project needs a turn."""
        if not self._large:
            return False
        if project not in self._large:
            self._others_at = self.monotonic()
            return False
        return name in PAGES

    def begin(self, project: str) -> bool:
        """Take a turn, unless it has to be waited for.

        :raises StoreUnavailable: too many wait
        """
        with self._lock:
            waiting = self._waiting.get(project, ())
            if len(waiting) >= MOST_WAITING:
                raise too_many()
            if waiting or not self._may_begin(project):
                return False
            self._busy.add(project)
            return True

    def wait(self, project: str, job: Job) -> Job | None:
        """Have a job wait for its turn; return one whose turn has come."""
        with self._lock:
            jobs = self._waiting.setdefault(project, collections.deque())
            jobs.append(job)
            return self._next()

    def end(self, project: str, took: float = 0.0) -> Job | None:
        """End a turn; return the job that has the next one.

        :param took: seconds that a large page took, for which the project
            pauses beside others
        """
        if took and self.monotonic() - self._others_at < OTHERS_FOR:
            resume = functools.partial(self._resume, project)
            self.after(min(took, LONGEST_PAUSE), resume)
            return None
        with self._lock:
            self._busy.discard(project)
            return self._next()

    def record(self, project: str, size: int) -> None:
        """Note the bytes of a page."""
        if size < LARGE and project not in self._large:
            return
        now = self.monotonic()
        with self._lock:
            for name, last in list(self._large.items()):
                if now - last >= REMEMBERED_FOR:
                    del self._large[name]
            if size >= LARGE:
                self._large[project] = now

    def add_unread(self, project: str, size: int) -> None:
        """Note bytes that wait to be read."""
        with self._lock:
            self._unread.add(project, size)

    def subtract_unread(self, project: str, size: int) -> Job | None:
        """Note bytes that have been; return a job whose turn has come."""
        with self._lock:
            self._unread.subtract(project, size)
            return self._next()

    def _resume(self, project: str) -> None:
        """End a pause."""
        job = self.end(project)
        if job is not None:
            self.later(job)

    def _next(self) -> Job | None:
        for project, jobs in self._waiting.items():
            if self._may_begin(project):
                self._busy.add(project)
                del self._waiting[project]
                job = jobs.popleft()
                if jobs:
                    self._waiting[project] = jobs
                return job
        return None

    def _may_begin(self, project: str) -> bool:
        if project in self._busy:
            return False
        if project not in self._large:
            return True
        return len(
            self._large.keys() & self._busy
        ) < MOST_AT_ONCE and not self._unread.are_too_many(project)


def is_large(result: Any) -> bool:
    """Tell whether the messages in the result of an operation are large."""
    messages = getattr(getattr(result, 'claim', result), 'messages', ())
    return sum(map(len, [message.body for message in messages])) >= LARGE


def too_many() -> StoreUnavailable:
    """Count a request that may not wait; return the error to be raised."""
    error = StoreUnavailable(_TOO_MANY)
    metrics.record_refusal(error.status)
    return error
