# SPDX-License-Identifier: Apache-2.0
"""Which notices are fanned out next: projects take turns.

Stores hand out notices first in, first out, and pending deliveries, too: one
project with a long backlog would stand before all others, twice. Hence each
has a share of the deliveries that may be due, or under way without being
stored, at a time. Notices that would exceed it stay claimed for a while, and
are given back, the oldest first, as soon as half of the share is free.

Everything here belongs to the thread of a store. Who dies gives nothing back:
then the notices are free when their time is over.

:source: reference/delivery, "Outbox and deliveries"
"""

import sys
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from zaqar.bounded_cache import BoundedCache
from zaqar.controllers.outbox_notices import Notice
from zaqar.models import Act, Message, Settlement
from zaqar.storage.base import OUTBOX, MessageStore

#: Deliveries of all projects together that are due and not claimed yet, or not
#: stored and under way; and those that one fan-out should store.
MAX_DUE = 500
MAX_STORED = 250

#: Seconds for which notices stay claimed at least and at most, and how many of
#: them may return in a second: so there is always time for others.
HOLD = 60
HOLD_LONGEST = 900
RETURNING = 200

#: Claims without deliveries of a project after which none are taken for due:
#: other notifiers may have claimed them.
MISSES = 20

#: Notices that are given back before their time, at most, and those of them
#: that are known when they return: other notifiers may have some. Those of a
#: project that may be more than that, and others, given back together with all
#: of a claim.
MAX_HELD = 100_000
FEW = 100
MAX_BEYOND = 1_000_000

#: Projects whose last turns are known.
MAX_PROJECTS = 10_000

Read = tuple[Message, Notice]


@dataclass(frozen=True, slots=True)
class _Held:
    """A claimed notice.

    :ivar weight: how many deliveries it is expected to become
    """

    claim_id: str
    weight: float


class ProjectTurns:
    """The shares of projects in the fan-out of one store.

    :param most: deliveries that may be due, and that a fan-out stores
    """

    def __init__(
        self,
        most: int = MAX_DUE,
        stored: int = MAX_STORED,
    ) -> None:
        self._most, self._most_stored = most, stored
        self._due: Counter[str] = Counter()
        self._misses: Counter[str] = Counter()
        #: By project, the oldest first.
        self._held: defaultdict[str, OrderedDict[str, _Held]] = defaultdict(
            OrderedDict
        )
        self._returned: BoundedCache[str, None] = BoundedCache(MAX_HELD)
        #: By claim those that are too many, by project, the oldest first.
        self._beyond: OrderedDict[str, Mapping[str, str]] = OrderedDict()
        self._beyond_count = 0
        self._unstored: Counter[str] = Counter()
        #: Those with anything due or held, and perhaps others: counting them
        #: anew for each project would take as long as there are many.
        self._projects: set[str] = set()
        #: The last fan-outs with a turn of a project that left something.
        self._turns: BoundedCache[str, int] = BoundedCache(MAX_PROJECTS)
        self._number = 0
        #: Of this fan-out, by project.
        self._notices: Counter[str] = Counter()
        self._stored: Counter[str] = Counter()
        self._count = 0

    @classmethod
    def unlimited(cls) -> 'ProjectTurns':
        """Return turns that hold nothing back."""
        return cls(sys.maxsize, sys.maxsize)

    def note_unstored(self, weights: Counter[str]) -> None:
        """Note the weights of what is under way without being stored."""
        self._unstored = weights
        self._note_projects()

    def begin(self, notices: Iterable[Read]) -> Iterator[Read]:
        """Yield the notices of a fan-out, of one project after the other.

        That comes first which has waited longest: a fan-out may be over after
        the first notice.
        """
        self._notices.clear()
        self._stored.clear()
        self._count = 0
        waiting: OrderedDict[str, list[Read]] = OrderedDict()
        for one in notices:
            waiting.setdefault(one[1].project, []).append(one)
        projects = sorted(waiting, key=lambda one: self._turns.get(one, 0))
        turns = [iter(waiting[one]) for one in projects]
        while turns:
            going = []
            for turn in turns:
                if (first := next(turn, None)) is not None:
                    yield first
                    going.append(turn)
            turns = going

    def admit(self, notice_id: str, project: str) -> bool:
        """Tell whether a notice may be fanned out now."""
        held = self._held.get(project)
        if held and held.pop(notice_id, None) is not None:
            # Its time was over.
            self._returned[notice_id] = None
        if (
            # Those that wait already come first.
            (held and notice_id not in self._returned)
            or self._count >= self._most_stored
            or self._room(project) <= 0
        ):
            return False
        self._returned.pop(notice_id, None)
        self._notices[project] += 1
        return True

    @property
    def has_room(self) -> bool:
        """Whether there is room for deliveries that are not stored.

        Not for those of all projects: those of others are stored then.
        """
        return self._unstored.total() < self._most

    def begin_unstored(self, project: str, count: int, weight: int) -> None:
        """Note deliveries of a notice that are not stored."""
        self._stored[project] += count
        self._unstored[project] += weight
        self._projects.add(project)

    def store(self, project: str, *, is_due: bool) -> None:
        """Note a pending delivery that is stored."""
        self._stored[project] += 1
        self._count += 1
        if is_due:
            self._due[project] += 1
            self._projects.add(project)

    def claim(self, projects: Sequence[str], *, is_all: bool) -> None:
        """Note pending deliveries that are claimed.

        :param is_all: no more are due
        """
        self._due.subtract(projects)
        self._misses.update(self._due.keys())
        for project in projects:
            self._misses.pop(project, None)
        for project, count in list(self._due.items()):
            if is_all or count <= 0 or self._misses[project] >= MISSES:
                self._misses.pop(project, None)
                del self._due[project]
        self._note_projects()

    def hold(
        self, claim_id: str, notices: Sequence[Read]
    ) -> Sequence[Settlement]:
        """Return what keeps notices claimed, and remember them."""
        total = sum(map(len, self._held.values()))
        again = []
        beyond: defaultdict[str, list[str]] = defaultdict(list)
        for message, notice in notices:
            project = notice.project
            if total >= MAX_HELD and len(self._held.get(project, ())) >= FEW:
                beyond[project].append(message.id)
                continue
            total += 1
            count = self._notices[project] or 1
            weight = max(self._stored[project] / count, 1)
            self._held[project][message.id] = _Held(claim_id, weight)
            self._projects.add(project)
            if message.id in self._returned:
                again.append((project, message.id))
        for project, notice_id in reversed(again):
            # It stays before those that came later.
            self._held[project].move_to_end(notice_id, last=False)
            self._returned.pop(notice_id, None)
        if beyond and self._beyond_count < MAX_BEYOND:
            # As texts, which take little memory.
            self._beyond[claim_id] = {
                project: ' '.join(ids) for project, ids in beyond.items()
            }
            self._beyond_count += sum(map(len, beyond.values()))
        self._note_turns(bool(notices))
        total += self._beyond_count
        seconds = min(max(HOLD, total // RETURNING), HOLD_LONGEST)
        return [
            Settlement(message.id, Act.EXTEND, seconds)
            for message, _ in notices
        ]

    def give_back(
        self, store: MessageStore, *, everything: bool = False
    ) -> bool:
        """Release notices that there is room for; return whether to look.

        :raises StoreUnavailable: the others are free when their time is over
        """
        by_claim: defaultdict[str, list[str]] = defaultdict(list)
        for project in list(self._held):
            held = self._held[project]
            room = self._room(project)
            if everything:
                room = sys.maxsize
            elif room * 2 < self._share(project):
                continue
            while held and room > 0:
                notice_id, one = held.popitem(last=False)
                room -= one.weight
                by_claim[one.claim_id].append(notice_id)
                self._returned[notice_id] = None
            if not held:
                del self._held[project]
        self._note_projects()
        if self._beyond:
            self._give_back_beyond(by_claim, everything=everything)
        if not (self._held or self._beyond):
            # Whatever comes is in its place.
            self._returned.clear()
        for claim_id, ids in by_claim.items():
            store.settle(
                OUTBOX,
                claim_id,
                [Settlement(one, Act.RELEASE, failed=False) for one in ids],
                now=store.clock.now(),
            )
        return bool(by_claim)

    def _give_back_beyond(
        self, by_claim: defaultdict[str, list[str]], *, everything: bool
    ) -> None:
        """Add those that were too many and are so no more, to be held anew."""
        total = sum(map(len, self._held.values()))
        held = {*self._held}
        for claim_id, beyond in [*self._beyond.items()]:
            is_next = not beyond.keys() <= held
            if everything or is_next or total <= MAX_HELD // 2:
                ids = ' '.join(beyond.values()).split()
                by_claim[claim_id].extend(ids)
                total += len(ids)
                held.update(beyond)
                self._beyond_count -= len(ids)
                del self._beyond[claim_id]

    def _note_projects(self) -> None:
        self._projects = {
            *self._due.keys(),
            *self._held.keys(),
            *self._unstored.keys(),
        }

    def _share(self, project: str) -> int:
        others = len(self._projects) - (project in self._projects)
        return max(self._most // (others + 1), 1)

    def _room(self, project: str) -> float:
        """Return how many deliveries of a project may become due."""
        taken = self._due[project] + self._unstored[project]
        return self._share(project) - taken

    def _note_turns(self, is_any_left: bool) -> None:
        if not is_any_left:
            # Notices come in their order: then what another notifier stored
            # before it died is recognized.
            self._turns.clear()
            return
        self._number += 1
        for project in self._notices:
            self._turns.pop(project, None)
            self._turns[project] = self._number
