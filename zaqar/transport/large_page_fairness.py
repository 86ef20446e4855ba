# SPDX-License-Identifier: Apache-2.0
"""Fairness between projects that read large pages: they take turns.

To read, encode and copy an answer of megabytes holds the interpreter for
milliseconds at a time. Its size is known only afterwards: hence a project that
had a large page lately has one page read at a time. Its other requests for
pages wait, for a few seconds at most, and hold no thread meanwhile. Beside
requests of others it pauses after each large page for as long as that took: a
client that asks again at once would keep a processor from them.
"""

import collections
import functools
import math
import threading
import time
from collections.abc import Callable
from typing import Any

import msgspec

from zaqar import metrics
from zaqar.api.operation_declarations import topics
from zaqar.errors import StoreUnavailable
from zaqar.waiting.waiters import Ticket

#: Bytes from which on a page is large.
LARGE = 256 * 1024

#: Times as much as to copy them costs it to decode bytes of metadata.
DECODING = 4

#: Seconds for which a project is expected to get another one.
REMEMBERED_FOR = 10.0

#: Seconds of its longest pause after one.
LONGEST_PAUSE = 1.0

#: Seconds since a request of another project from which on nobody is beside.
OTHERS_FOR = 1.0

#: Projects with large pages that have a turn at a time.
MOST_AT_ONCE = 2

#: Times what one project may leave unread, for all of them.
TOTAL_UNREAD_FACTOR = 4

#: Seconds after which a request that waits is refused when its turn comes. A
#: store that does not respond would have them all wait for it, one by one.
PATIENCE = 3.0

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

#: Bytes of all requests that wait for messages or their turn, in one process,
#: and of those of one project.
MAX_POSTPONED_BYTES = 128 * 1024 * 1024
MAX_POSTPONED_PER_PROJECT = MAX_POSTPONED_BYTES // 2

#: Operations whose answers may be large, by name.
PAGES = _PAGES | {
    row.name for row in topics.OPERATIONS if topics.model(row) in _PAGES
}

#: Returns what is to be done next, where it is known.
Job = Callable[[], Any]

#: Where the :class:`Turn` of a request is in its WSGI environment.
TURN = 'zaqar.turn'


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
    """

    def __init__(
        self,
        max_unread: int = 0,
        monotonic: Callable[[], float] = time.monotonic,
        later: Callable[[Job], object] = lambda job: job(),
        after: Callable[[float, Callable[[], None]], object] = _after,
    ) -> None:
        self._max_unread = max_unread
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
        self._unread: collections.Counter[str] = collections.Counter()
        self._postponed: dict[str, int] = {}
        self._postponed_total = 0

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
                raise _too_many()
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

    def hold(self, project: str, size: int) -> bool:
        """Note the bytes of a request that may wait, if there is room."""
        with self._lock:
            share = self._postponed.get(project, 0) + size
            total = self._postponed_total + size
            if share > MAX_POSTPONED_PER_PROJECT or (
                total > MAX_POSTPONED_BYTES
            ):
                return False
            if size:
                self._postponed[project] = share
            self._postponed_total = total
            return True

    def let_go(self, project: str, size: int) -> None:
        """Note that such a request has its answer."""
        with self._lock:
            self._postponed_total -= size
            self._postponed[project] -= size
            if not self._postponed[project]:
                del self._postponed[project]

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
            self._unread[project] += size

    def subtract_unread(self, project: str, size: int) -> Job | None:
        """Note bytes that have been; return a job whose turn has come."""
        with self._lock:
            self._unread[project] -= size
            if not self._unread[project]:
                del self._unread[project]
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
        most, unread = self._max_unread, self._unread[project]
        return len(self._large.keys() & self._busy) < MOST_AT_ONCE and not (
            # Whose clients read all of it does not suffer from the others.
            most
            and unread
            and (
                unread >= most
                or self._unread.total() >= TOTAL_UNREAD_FACTOR * most
            )
        )


def _too_many() -> StoreUnavailable:
    error = StoreUnavailable(_TOO_MANY)
    metrics.record_refusal(error.status)
    return error


def _no_size() -> int:
    return 0


class Turn(msgspec.Struct):
    """The turn of one request, if it needs one.

    :param size: returns the bytes that the request holds
    :ivar project: whom the answer is for, '' if that is not known
    :ivar is_taken: whether it has to be ended
    :ivar is_missed: whether the request has to wait, and has no answer
    :ivar is_postponed: whether it waits for messages, not for its turn
    :ivar is_refused: whether it may not, since too many do
    :ivar ticket: its place in the line of a queue, if it may wait for messages
    :ivar held: bytes that are counted for it
    :ivar deadline: after which it is refused, on the clock of the turns
    :ivar bytes_decoded: of metadata, for its answer
    :ivar begun: when it was taken, on the clock of the turns
    :ivar took: seconds until its answer was there, 0 if that is not large
    """

    turns: Turns
    size: Callable[[], int] = _no_size
    project: str = ''
    is_taken: bool = False
    is_missed: bool = False
    is_postponed: bool = False
    is_refused: bool = False
    ticket: Ticket | None = None
    held: int = 0
    deadline: float = math.inf
    bytes_decoded: int = 0
    begun: float = 0.0
    took: float = 0.0

    def begin(self, name: str, project: str) -> bool:
        """Take the turn if an operation needs it; tell whether it may run.

        :raises StoreUnavailable: it has come too late, or too many requests
            wait for theirs
        """
        if self.deadline != math.inf and (
            self.turns.monotonic() > self.deadline
        ):
            raise _too_many()
        if self.is_taken:
            return True
        self.project = project
        if self.turns.are_needed(name, project):
            self.is_taken = self.turns.begin(project)
            self.begun = self.turns.monotonic()
            if not (self.is_taken or self.may_wait()):
                raise _too_many()
            self.is_missed = not self.is_taken
        return not self.is_missed

    def may_wait(self) -> bool:
        """Take the room that the request needs while it waits, once."""
        if self.held:
            return True
        size, self.size = self.size(), _no_size
        has_room = self.turns.hold(self.project, size)
        if has_room:
            self.held = size
        return has_room

    def postpone(self, ticket: Ticket) -> None:
        """Have the request wait for messages."""
        self.ticket = ticket
        self.is_missed = self.is_postponed = True

    def wait(self, job: Job) -> Job | None:
        """Have a job wait for the turn; return one whose turn has come."""
        ticket = self.ticket
        if ticket is None or not self.is_postponed:
            self.deadline = self.turns.monotonic() + PATIENCE
            return self.turns.wait(self.project, job)
        # Others read pages meanwhile.
        following = self.turns.end(self.project) if self.is_taken else None
        self.deadline = math.inf
        ticket.park(functools.partial(self.turns.later, job))
        return following

    def pass_on(self) -> bool:
        """Let others have the messages that the request is woken for.

        :returns: whether it has to :meth:`come_back` when it can run
        """
        return (
            self.is_postponed
            and self.ticket is not None
            and self.ticket.pass_on()
        )

    def come_back(self, job: Job) -> bool:
        """Have a job wait again for messages, in its old place.

        :returns: whether its turn has come already
        """
        assert self.ticket is not None
        wake = functools.partial(self.turns.later, job)
        return self.ticket.come_back(wake)

    def give_up(self) -> None:
        """Have the request make no attempt any more, not even a last one."""
        if self.ticket is not None:
            self.ticket.give_up()

    def resume(self) -> None:
        """Note that it has come."""
        self.begun = self.turns.monotonic()
        self.is_taken = not self.is_postponed
        self.is_missed = self.is_postponed = False

    def weigh(self, result: Any) -> None:
        """Note what an operation has read for its result."""
        self.bytes_decoded = getattr(result, 'bytes_decoded', 0)

    def record(self, size: int) -> None:
        """Note the bytes of the answer."""
        size = max(size, DECODING * self.bytes_decoded)
        if self.is_taken or size >= LARGE:
            self.turns.record(self.project, size)
        if self.is_taken and size >= LARGE:
            self.took = self.turns.monotonic() - self.begun

    def end(self) -> Job | None:
        """End it; return the job that has the next one."""
        # What it refers to refers to this.
        self.size = _no_size
        if self.ticket is not None:
            self.ticket.leave()
        if self.held:
            self.turns.let_go(self.project, self.held)
            self.held = 0
        if not self.is_taken:
            return None
        return self.turns.end(self.project, self.took)
