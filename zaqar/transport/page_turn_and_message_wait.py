# SPDX-License-Identifier: Apache-2.0
"""The turn of a request to read a page, and its wait for that or messages."""

import functools
import math
from collections.abc import Callable
from typing import Any

import msgspec

from zaqar.current_request import OF_THREAD
from zaqar.transport.large_page_fairness import (
    LARGE,
    PAGES,
    Job,
    Turns,
    is_large,
    too_many,
)
from zaqar.transport.project_page_lengths import SHORT, UNKNOWN
from zaqar.waiting.waiters import Ticket

#: Times as much as to copy them costs it to decode bytes of metadata.
DECODING = 4

#: Seconds after which a request that waits is refused when its turn comes. A
#: store that does not respond would have them all wait for it, one by one.
PATIENCE = 3.0

#: Where the :class:`Turn` of a request is in its WSGI environment.
TURN = 'zaqar.turn'


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
    :ivar longest: bytes of the longest page of the project, 0 if the answer is
        none
    :ivar ticket: its place in the line of a queue, if it may wait for messages
    :ivar held: bytes that are counted for it
    :ivar deadline: after which it is refused, on the clock of the turns
    :ivar bytes_decoded: of metadata, for its answer
    :ivar holds_up_loop: whether its answer is encoded in a thread, since the
        event loop that it is in has others
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
    longest: int = 0
    ticket: Ticket | None = None
    held: int = 0
    deadline: float = math.inf
    bytes_decoded: int = 0
    holds_up_loop: bool = False
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
            raise too_many()
        if self.is_taken:
            return True
        self.project = project
        if name in PAGES:
            # Without a call, for most requests.
            try:
                self.longest = self.turns.page_lengths[project]
            except KeyError:
                self.longest = UNKNOWN
        if self.turns.are_needed(name, project):
            self.is_taken = self.turns.begin(project)
            self.begun = self.turns.monotonic()
            if not (self.is_taken or self.may_wait()):
                raise too_many()
            self.is_missed = not self.is_taken
        return not self.is_missed

    def may_wait(self) -> bool:
        """Take the room that the request needs while it waits, once."""
        if self.held:
            return True
        size, self.size = self.size(), _no_size
        has_room = self.turns.waiting_bytes.hold(self.project, size)
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
        self.holds_up_loop = (
            self.longest > 0
            and OF_THREAD.request.greenlet is not None
            and is_large(result)
        )

    def record(self, size: int) -> None:
        """Note the bytes of the answer."""
        size = max(size, DECODING * self.bytes_decoded)
        longest = self.longest
        if longest >= SHORT or (longest and size > longest):
            self.turns.page_lengths.note(self.project, size)
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
            self.turns.waiting_bytes.let_go(self.project, self.held)
            self.held = 0
        if not self.is_taken:
            return None
        return self.turns.end(self.project, self.took)
