# SPDX-License-Identifier: Apache-2.0
"""Group commit: calls that arrive during a commit share the next one."""

import enum
import logging
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

from zaqar import request_deadline
from zaqar.bounded_cache import BoundedCache
from zaqar.errors import StoreUnavailable

LOG = logging.getLogger(__name__)

Item = TypeVar('Item')
Result = TypeVar('Result')

#: Items of one batch, and their size together unless it is that of one.
MAX_BATCH = 200
MAX_SIZE = 1 << 20

#: Returns the first item and those that wait of which a function says so; they
#: are then in the batch.
Board = Callable[[Callable[[Item], bool]], Sequence[Item]]

#: Seconds that a caller waits beyond the timeout, at most, and how many times
#: the usual duration of a batch.
MAX_WAIT = 0.5
PATIENCE = 3

#: The usual share of the callers for which a batch waits, while the others
#: are busy elsewhere; the part of the usual duration of a batch for which it
#: does so at most; and keys of which the number of callers is remembered.
SHARE = 0.5
GATHERING = 0.5
MAX_KEYS = 10_000

#: Seconds before its deadline from which on a call is late.
LATE = 0.2


class Sharing(enum.Enum):
    """What a batch says instead of a result.

    :cvar DO_ALONE: the item must be processed alone
    """

    DO_ALONE = enum.auto()


class _Waiter(Generic[Item, Result]):
    """A call.

    :ivar leads: whether its thread works for those that wait
    """

    __slots__ = ('_called', 'done', 'error', 'item', 'leads', 'result')

    def __init__(self, item: Item) -> None:
        self.item = item
        self.done = False
        self.leads = False
        self.result: Result | Sharing = Sharing.DO_ALONE
        self.error: BaseException | None = None

    def queue(self) -> None:
        """Prepare to wait."""
        self._called = threading.Lock()
        self._called.acquire()

    def call(self) -> None:
        self._called.release()

    def wait(self, timeout: float = -1) -> bool:
        """Wait until called; tell whether it was."""
        return self._called.acquire(timeout=timeout)


class _Gathering:
    """A thread that waits for calls to join its batch.

    :ivar count: of calls that must wait
    """

    __slots__ = ('_complete', 'count')

    def __init__(self, count: int) -> None:
        self.count = count
        self._complete = threading.Lock()
        self._complete.acquire()

    def complete(self) -> None:
        if self._complete.locked():
            self._complete.release()

    def wait(self, timeout: float) -> None:
        self._complete.acquire(timeout=timeout)


class Batcher(Generic[Item, Result]):
    """Merges concurrent calls with the same key.

    The first thread works at once. Those that arrive meanwhile queue up; then
    the first of them does the work of all. What cannot be done together is
    done alone: one that fails does not fail the others.

    Callers that are answered at once call again at once. So that the first of
    them does not work alone while all others wait for it, a batch waits for
    a share of the callers, for a part of the time that batches take.

    :param together: processes several items of one key in one commit
    :param alone: processes one item
    :param timeout: seconds that a caller waits beyond the usual duration of
        batches before it works by itself; 0 to never merge
    :param size: returns the size of an item
    :param owner: returns whose an item is; where not all fit into a batch,
        owners take turns
    :param in_turn: processes items likewise, for a thread that leads: takes
        the first one, waits for what it needs, and only then takes the others
    :param share: that of the callers for which a batch waits
    """

    def __init__(
        self,
        together: Callable[[Sequence[Item]], Sequence[Result | Sharing]],
        alone: Callable[[Item], Result],
        timeout: float,
        size: Callable[[Item], int] = lambda _: 0,
        owner: Callable[[Item], Hashable] = lambda _: None,
        in_turn: Callable[[Item, Board[Item]], Sequence[Result | Sharing]]
        | None = None,
        share: float = SHARE,
    ) -> None:
        self._together = together
        self._in_turn = in_turn
        self._alone = alone
        self._timeout = timeout
        self._size = size
        self._owner = owner
        self._share = share
        #: Who waits, by the keys for which a thread works.
        self._waiting: dict[Hashable, list[_Waiter[Item, Result]]] = {}
        #: How many calls of a key there were at the end of its last batch.
        self._crowds: BoundedCache[Hashable, int] = BoundedCache(MAX_KEYS)
        #: The thread that gathers calls of a key.
        self._gatherings: dict[Hashable, _Gathering] = {}
        self._mutex = threading.Lock()
        self._usual = 0.0

    @property
    def pending(self) -> int:
        """How many calls work for others or wait for them."""
        with self._mutex:
            waiting = sum(len(calls) for calls in self._waiting.values())
            return len(self._waiting) + waiting

    def run(self, item: Item, key: Hashable = None) -> Result:
        """Process an item, by itself or in a batch."""
        waiter: _Waiter[Item, Result] = _Waiter(item)
        if self._timeout and (self._takes_lead(waiter, key) or waiter.leads):
            self._gather(key)
            self._lead(waiter, key)
        elif not waiter.done:
            self._run_batch([waiter], lambda: self._together([item]))
        if waiter.error is not None:
            raise waiter.error
        if isinstance(waiter.result, Sharing):
            return self._alone(item)
        return waiter.result

    def _takes_lead(
        self, waiter: _Waiter[Item, Result], key: Hashable
    ) -> bool:
        """Tell whether no thread works for this key yet, or wait.

        Afterwards a call that neither leads nor is done is in no batch.
        """
        with self._mutex:
            waiting = self._waiting.get(key)
            if waiting is None:
                self._waiting[key] = []
                return True
            waiter.queue()
            waiting.append(waiter)
            gathering = self._gatherings.get(key)
            if gathering is not None and len(waiting) >= gathering.count:
                gathering.complete()
        wait = self._timeout + min(PATIENCE * self._usual, MAX_WAIT)
        if not waiter.wait(request_deadline.left(wait)):
            with self._mutex:
                if waiter in waiting:
                    waiting.remove(waiter)
                    return False
            # Another thread works for us, within its own deadline. However
            # late: what it deletes for a pop is lost if we fail meanwhile.
            if not waiter.leads:
                waiter.wait()
        return False

    def _gather(self, key: Hashable) -> None:
        """Wait for calls that are likely to come at once."""
        if not self._crowds:
            return
        patience = min(self._usual * GATHERING, self._timeout)
        with self._mutex:
            crowd = self._crowds.get(key, 1)
            count = math.ceil(crowd * self._share) - 1
            if len(self._waiting[key]) >= count:
                return
            gathering = self._gatherings[key] = _Gathering(count)
        gathering.wait(request_deadline.left(patience))
        with self._mutex:
            del self._gatherings[key]

    def _others(
        self,
        waiter: _Waiter[Item, Result],
        key: Hashable,
        fits: Callable[[Item], bool],
    ) -> Sequence[_Waiter[Item, Result]]:
        """Return the first that wait, as many as fit beside a leader."""
        with self._mutex:
            waiting = self._waiting[key]
            if not waiting:
                return ()
            batch, size = [], self._size(waiter.item)
            able = [other for other in waiting if fits(other.item)]
            for other in self._by_turns(waiter, able)[: MAX_BATCH - 1]:
                size += self._size(other.item)
                if size > MAX_SIZE:
                    break
                batch.append(other)
            taken = set(map(id, batch))
            waiting[:] = [one for one in waiting if id(one) not in taken]
        return batch

    def _by_turns(
        self,
        first: _Waiter[Item, Result],
        waiting: Sequence[_Waiter[Item, Result]],
    ) -> Sequence[_Waiter[Item, Result]]:
        """Return calls in the order in which they join a first one."""
        counts = Counter([self._owner(first.item)])
        ranks = {}
        for one in waiting:
            owner = self._owner(one.item)
            ranks[id(one)] = counts[owner]
            counts[owner] += 1
        if len(counts) == 1:
            return waiting
        return sorted(waiting, key=lambda one: ranks[id(one)])

    def _lead(self, waiter: _Waiter[Item, Result], key: Hashable) -> None:
        """Work for a batch, and hand over to who arrived meanwhile."""
        begin = time.monotonic()
        batch = [waiter]
        is_closed = False

        def board(fits: Callable[[Item], bool]) -> Sequence[Item]:
            nonlocal is_closed
            # Once: the work may be repeated.
            if not is_closed:
                is_closed = True
                batch.extend(self._others(waiter, key, fits))
            return [each.item for each in batch]

        def work() -> Sequence[Result | Sharing]:
            if self._in_turn is not None:
                return self._in_turn(waiter.item, board)
            return self._together(board(lambda _: True))

        try:
            self._run_batch(batch, work)
        finally:
            self._usual += (time.monotonic() - begin - self._usual) / 8
            with self._mutex:
                waiting = self._waiting[key]
                if len(batch) + len(waiting) > 1:
                    self._crowds[key] = len(batch) + len(waiting)
                else:
                    self._crowds.pop(key, None)
                if waiting:
                    successor = waiting.pop(0)
                    successor.leads = True
                    successor.call()
                else:
                    del self._waiting[key]
            for other in batch[1:]:
                other.call()

    def _run_batch(
        self,
        batch: Sequence[_Waiter[Item, Result]],
        work: Callable[[], Sequence[Result | Sharing]],
    ) -> None:
        """Do the work of a batch, which may become longer meanwhile."""
        try:
            results = work()
        except StoreUnavailable as error:
            # If only the first one is late, the others have time to try.
            is_late = request_deadline.left(LATE) < LATE
            for waiter in batch[:1] if is_late else batch:
                waiter.error = StoreUnavailable(error.description)
        except Exception as error:
            # Whoever caused it will meet it again.
            LOG.debug('A batch of %d is undone: %r', len(batch), error)
        else:
            for waiter, result in zip(batch, results, strict=True):
                waiter.result = result
        finally:
            for waiter in batch:
                waiter.done = True
