# SPDX-License-Identifier: Apache-2.0
"""What clients saw of a database of several nodes, and what is wrong in it."""

from __future__ import annotations

import collections
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from benchmarks import ledger

#: Seconds for which answers may be refusals after a node is writable again.
GRACE = 5.0

#: Seconds after which nobody should wait for an answer: while a database
#: hangs, a request waits for a thread that waits for it, and then for it.
SLOW = 10.0


@dataclass(frozen=True)
class Answer:
    """What came of a request.

    :ivar status: of HTTP; 0 where no answer came
    """

    begin: float
    end: float
    call: str
    status: int


@dataclass
class History:
    """All that happened in a run.

    :ivar posts: to the queue from which nobody deletes
    :ivar followed: bodies that a reader came by in it, page after page
    :ivar posted: acknowledged bodies of the queue that is consumed
    :ivar claimed: bodies that were handed out there
    :ivar deleted: bodies whose deletes were answered 204
    :ivar undone: bodies that were there after their delete
    :ivar reads: reads of what had been acknowledged before
    :ivar stale: those that did not show it
    :ivar subscriptions: queues of those that were acknowledged
    :ivar silenced: those that were notified of nothing posted afterwards
    :ivar outages: times in which no node took a write
    """

    answers: list[Answer] = field(default_factory=list)
    posts: list[ledger.Post] = field(default_factory=list)
    followed: list[str] = field(default_factory=list)
    posted: list[str] = field(default_factory=list)
    claimed: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    undone: list[str] = field(default_factory=list)
    reads: int = 0
    stale: list[str] = field(default_factory=list)
    subscriptions: list[str] = field(default_factory=list)
    silenced: list[str] = field(default_factory=list)
    outages: list[tuple[float, float]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, begin: float, call: str, status: int) -> None:
        """Note an answer."""
        answer = Answer(begin, time.monotonic(), call, status)
        with self.lock:
            self.answers.append(answer)

    def note_read(self, line: str, is_stale: bool) -> None:
        """Note a read of what had been acknowledged."""
        with self.lock:
            self.reads += 1
            if is_stale:
                self.stale.append(line)

    def judge(
        self, listing: Sequence[ledger.Listed], rest: Sequence[str]
    ) -> Verdict:
        """Compare everything.

        :param listing: all of the queue from which nobody deletes
        :param rest: bodies in the other queue, claimed or not
        """
        violations = ledger.violations(self.posts, listing)
        acknowledged = {
            body
            for post in self.posts
            if post.outcome is ledger.Outcome.ACKNOWLEDGED
            for body in post.bodies
        }
        came = collections.Counter(self.followed)
        taken = collections.Counter(self.claimed)
        there = set(rest) | set(self.deleted)
        gone = [body for body in self.posted if body not in there]
        return Verdict(
            requests=len(self.answers),
            deletes=len(self.deleted),
            reads=self.reads,
            subscriptions=len(self.subscriptions),
            slowest=max((a.end - a.begin for a in self.answers), default=0.0),
            failures=[a for a in self.answers if not 0 < a.status < 500],
            refused_late=[
                answer
                for answer in self.answers
                if answer.status in {0, 503} and not self._is_excused(answer)
            ],
            slow=[a for a in self.answers if a.end - a.begin > SLOW],
            lost=[
                *(line for line in violations if line.endswith('is lost')),
                *gone,
            ],
            doubled=[
                *(line for line in violations if not line.endswith('is lost')),
                *_several(taken),
            ],
            skipped=sorted(acknowledged - came.keys()),
            repeated=_several(came),
            undone=self.undone,
            stale=self.stale,
            silenced=self.silenced,
            outage=sum(end - begin for begin, end in self.outages),
        )

    def _is_excused(self, answer: Answer) -> bool:
        return any(
            begin <= answer.end <= end + GRACE for begin, end in self.outages
        )


@dataclass(frozen=True)
class Verdict:
    """What is wrong in a history.

    :ivar deletes: how many were answered 204
    :ivar reads: how many were to show what had been acknowledged
    :ivar subscriptions: how many were to be notified
    :ivar slowest: seconds that the slowest answer took
    :ivar failures: requests without an answer, or answered with 5xx
    :ivar refused_late: those refused though a node had long been writable
    :ivar outage: seconds in which no node took a write
    """

    requests: int
    deletes: int
    reads: int
    subscriptions: int
    slowest: float
    failures: Sequence[Answer]
    refused_late: Sequence[Answer]
    slow: Sequence[Answer]
    lost: Sequence[str]
    doubled: Sequence[str]
    skipped: Sequence[str]
    repeated: Sequence[str]
    undone: Sequence[str]
    stale: Sequence[str]
    silenced: Sequence[str]
    outage: float

    @property
    def errors(self) -> list[Answer]:
        """Answers that say that we are wrong: 5xx but 503."""
        return [a for a in self.failures if a.status not in {0, 503}]

    def faults(self) -> list[str]:
        """Return what must not be, as a line each."""
        kinds = {
            'answered 500': self.errors,
            'refused though a node is writable': self.refused_late,
            'slow': self.slow,
            'lost': self.lost,
            'doubled': self.doubled,
            'skipped': self.skipped,
            'repeated': self.repeated,
            'there after its delete': self.undone,
            'stale': self.stale,
            'silenced': self.silenced,
        }
        return [
            f'{len(some)} {kind}: {some[0]}, {some[-1]}'
            for kind, some in kinds.items()
            if some
        ]


def _several(counts: collections.Counter[str]) -> list[str]:
    return sorted(body for body, count in counts.items() if count > 1)
