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

import math
import sys
from bisect import insort
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest

from zaqar.bounded_cache import BoundedCache
from zaqar.controllers.outbox_notices import Notice
from zaqar.notification.due_delivery_counts import DueDeliveries
from zaqar.objects import Act, Message, Settlement
from zaqar.storage.abstract_stores import OUTBOX, MessageStore

#: Deliveries of all projects together that are due and not claimed yet, or not
#: stored and under way; and those that one fan-out should store.
MAX_DUE = 500
MAX_STORED = 250

#: Seconds for which notices stay claimed at least and at most, and how many of
#: them may return in a second: so there is always time for others.
HOLD = 60
HOLD_LONGEST = 900
RETURNING = 200

#: Notices that are given back before their time, at most.
MAX_HELD = 500_000

#: Projects whose last turns are known.
MAX_PROJECTS = 10_000

Read = tuple[Message, Notice]


@dataclass(frozen=True, slots=True, order=True)
class _Held:
    """Claimed notices of a project.

    :ivar ids: with blanks between them, which takes little memory: the first
        of them is the oldest
    :ivar weight: how many deliveries each is expected to become
    :ivar until: when they are free, in milliseconds
    """

    ids: str
    claim_id: str = field(compare=False)
    weight: float = field(compare=False)
    until: int = field(compare=False)

    @property
    def count(self) -> int:
        return self.ids.count(' ') + 1


class ProjectShares:
    """The shares of projects in the fan-out of one store.

    :param most: deliveries that may be due, and that a fan-out stores
    :param due: those that are
    """

    def __init__(
        self,
        most: int = MAX_DUE,
        stored: int = MAX_STORED,
        due: DueDeliveries | None = None,
    ) -> None:
        self._most, self._most_stored = most, stored
        self.due = due or DueDeliveries()
        #: By project, the oldest first.
        self._held: dict[str, list[_Held]] = {}
        self._held_count = 0
        self._unstored: Counter[str] = Counter()
        #: Those with anything due or held, and perhaps others: counting them
        #: anew for each project would take as long as there are many.
        self._projects: set[str] = set()
        #: The last fan-outs with a turn of a project that left something.
        self._turns: BoundedCache[str, int] = BoundedCache(MAX_PROJECTS)
        self._number = 0
        #: Of this fan-out, by project.
        self._notices: Counter[str] = Counter()
        self._made: Counter[str] = Counter()
        self._stored = 0

    @classmethod
    def unlimited(cls) -> 'ProjectShares':
        """Return shares that hold nothing back."""
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
        self._made.clear()
        self._stored = 0
        waiting: defaultdict[str, list[Read]] = defaultdict(list)
        for one in notices:
            waiting[one[1].project].append(one)
        projects = sorted(waiting, key=lambda one: self._turns.get(one, 0))
        for turn in zip_longest(*(waiting[one] for one in projects)):
            yield from filter(None, turn)

    def admit(self, notice_id: str, project: str) -> bool:
        """Tell whether a notice may be fanned out now."""
        held = self._held.get(project)
        if (
            # Those that wait already come first: ids begin with the order.
            (held and notice_id > held[0].ids)
            or self._stored >= self._most_stored
            or self._room(project) <= 0
        ):
            return False
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
        self._made[project] += count
        self._unstored[project] += weight
        self._projects.add(project)

    def store(self, project: str, host: str, *, is_due: bool) -> None:
        """Note a pending delivery that is stored."""
        self._made[project] += 1
        self._stored += 1
        if is_due:
            self.due.add(host, project)
            self._projects.add(project)

    def hold(
        self, claim_id: str, notices: Sequence[Read], now: int
    ) -> Sequence[Settlement]:
        """Return what keeps notices claimed, and remember them.

        :param now: milliseconds
        """
        by_project: defaultdict[str, list[str]] = defaultdict(list)
        for message, notice in notices:
            by_project[notice.project].append(message.id)
        count = self._held_count + len(notices)
        seconds = min(max(HOLD, count // RETURNING), HOLD_LONGEST)
        until = now + seconds * 1000
        for project, ids in by_project.items():
            held = self._held.setdefault(project, [])
            if held and held[0].until <= now:
                live = [one for one in held if one.until > now]
                self._held_count -= sum(one.count for one in held)
                self._held_count += sum(one.count for one in live)
                held[:] = live
            if self._held_count < MAX_HELD:
                # Others come back when their time is over.
                weight = self._made[project] / (self._notices[project] or 1)
                text = ' '.join(sorted(ids))
                self._add(held, _Held(text, claim_id, max(weight, 1), until))
            self._projects.add(project)
        self._note_turns(bool(notices))
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
        for project, held in list(self._held.items()):
            room = self._room(project)
            if everything:
                room = sys.maxsize
            elif room * 2 < self._share(project):
                continue
            while held and room > 0:
                one = held.pop(0)
                self._held_count -= one.count
                ids = one.ids.split()
                count = math.ceil(room / one.weight)
                room -= count * one.weight
                by_claim[one.claim_id] += ids[:count]
                if rest := ids[count:]:
                    self._add(held, replace(one, ids=' '.join(rest)))
            if not held:
                del self._held[project]
        self._note_projects()
        for claim_id, ids in by_claim.items():
            store.settle(
                OUTBOX,
                claim_id,
                [Settlement(one, Act.RELEASE, failed=False) for one in ids],
                now=store.clock.now(),
            )
        return bool(by_claim)

    def _add(self, held: list[_Held], one: _Held) -> None:
        insort(held, one)
        self._held_count += one.count

    def _note_projects(self) -> None:
        self._projects = {
            *self.due.projects,
            *self._held.keys(),
            *self._unstored.keys(),
        }

    def _share(self, project: str) -> int:
        others = len(self._projects) - (project in self._projects)
        return max(self._most // (others + 1), 1)

    def _room(self, project: str) -> float:
        """Return how many deliveries of a project may become due."""
        taken = self.due.of_project(project) + self._unstored[project]
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
