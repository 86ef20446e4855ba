# SPDX-License-Identifier: Apache-2.0
"""The listener of one message store: how waiting requests learn of changes.

A thread looks at all queues that are waited for in one call: once a second
where the store reports changes by itself, so that a lost report costs a second
at most, and often where it does not.
"""

import itertools
import logging
import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from zaqar.errors import StoreUnavailable
from zaqar.objects import Scope
from zaqar.storage.abstract_stores import MessageStore
from zaqar.storage.store_watch_interface import (
    MAX_LOOKED_AT,
    Availability,
    Watch,
)
from zaqar.waiting.waiters import Waiters

LOG = logging.getLogger(__name__)

#: Seconds between looks at a store that reports changes.
WATCHED = 1.0

#: The least and the most seconds between looks at one that does not, and how
#: much longer the next pause is if nothing has changed.
POLLED = (0.1, 0.5)
SLOWER = 1.05

#: Seconds between looks at a store that does not answer, and between attempts
#: to have its changes reported.
UNAVAILABLE = 1.0
UNWATCHED = 30.0

#: The least seconds between looks for claims and delays that end.
_LEAST_DUE = 0.05

#: Seconds for which the end of the thread is waited for.
_PATIENCE = 5.0

#: Times what a look takes pass before the next one.
_IDLE_FACTOR = 4


@dataclass(slots=True, eq=False)
class _Queue:
    """A queue that is, or was lately, waited for.

    :ivar due: when a claim or delay ends next, on the monotonic clock
    """

    scope: Scope
    seen: Availability | None = None
    due: float = math.inf


class ChangeListener:
    """Notifies waiting requests of the changes of one message store.

    :param gone: called when a queue is there no longer
    """

    def __init__(
        self,
        store: MessageStore,
        waiters: Waiters,
        monotonic: Callable[[], float] = time.monotonic,
        gone: Callable[[Scope], object] = lambda _: None,
    ) -> None:
        self.store = store
        self._gone = gone
        self._waiters = waiters
        self._monotonic = monotonic
        self._changed = threading.Condition()
        self._queues: dict[str, _Queue] = {}
        #: Queues to be looked at, None for all of them.
        self._hints: set[str | None] = set()
        self._next = 0.0
        self._pause = POLLED[0]
        self._watch: Watch | None = None
        self._watch_at = 0.0
        self._is_silent = False
        self._is_closed = False
        self._thread = threading.Thread(
            target=self._run, name='change-listener', daemon=True
        )

    @property
    def hears_own(self) -> bool:
        """Tell whether the store reports posts of this process, too."""
        watch = self._watch
        return watch is not None and watch.hears_own

    @property
    def is_idle(self) -> bool:
        return not self._queues

    def start(self) -> None:
        self._thread.start()

    def add(self, qid: str, scope: Scope) -> None:
        """Look at a queue now, and listen for its changes."""
        with self._changed:
            self._queues[qid] = _Queue(scope)
            watch = self._watch
        # It may look like one of the same name that is gone.
        self._waiters.renew(scope)
        if watch is not None:
            watch.add(qid)
        self.hint(qid)

    def remove(self, qid: str) -> None:
        with self._changed:
            self._queues.pop(qid, None)
            watch = self._watch
        if watch is not None:
            watch.remove(qid)

    def hint(self, qid: str | None) -> None:
        """Have a queue looked at soon, or all of them."""
        with self._changed:
            self._hints.add(qid)
            self._changed.notify()

    def hint_of_deletion(self, qid: str) -> None:
        """Do so for a queue whose messages may have waited for one."""
        queue = self._queues.get(qid)
        if queue is not None and (queue.seen is None or queue.seen.grouped):
            self.hint(qid)

    def close(self) -> None:
        """Stop; the thread ends soon."""
        with self._changed:
            self._is_closed = True
            self._changed.notify()

    def join(self) -> None:
        """Return when the thread has ended, or its store does not answer."""
        self._thread.join(_PATIENCE)

    def changed(self, qid: str | None, count: int) -> None:
        """Handle a report of the store."""
        queue = self._queues.get(qid) if qid is not None else None
        if queue is not None and count:
            self._waiters.announce(queue.scope, count)
        elif qid is None or queue is not None:
            self.hint(qid)

    def _run(self) -> None:
        while self._is_due():
            began = self._monotonic()
            try:
                self._keep_watch(began)
                self._look_at(self._chosen(began))
            except Exception:
                # A fault must not end the thread: requests would wait in vain.
                LOG.exception('Changes of a message store are not seen')
                self._next = self._monotonic() + UNAVAILABLE
            busy = self._monotonic() - began
            # Reports may come as fast as messages.
            with self._changed:
                self._changed.wait_for(
                    lambda: self._is_closed,
                    min(_IDLE_FACTOR * busy, POLLED[1]),
                )
        if self._watch is not None:
            self._watch.close()

    def _is_due(self) -> bool:
        """Wait until there is something to be looked at; False: stop."""
        with self._changed:
            while not (self._is_closed or self._hints):
                left = self._wake_at() - self._monotonic()
                if left <= 0:
                    break
                self._changed.wait(left)
            return not self._is_closed

    def _wake_at(self) -> float:
        dues = (queue.due for queue in self._queues.values())
        return min(self._next, *dues, math.inf)

    def _chosen(self, now: float) -> dict[str, _Queue]:
        """Return the queues whose turn it is to be looked at."""
        with self._changed:
            hints, self._hints = self._hints, set()
            is_all = None in hints or now >= self._next
            if is_all:
                self._next = now + (
                    WATCHED if self._watch is not None else self._pause
                )
            chosen = {}
            for qid, queue in self._queues.items():
                if is_all or qid in hints or queue.due <= now:
                    if self._waiters.has(queue.scope):
                        chosen[qid] = queue
                    else:
                        # Until somebody waits for it again.
                        queue.due = math.inf
            return chosen

    def _look_at(self, queues: dict[str, _Queue]) -> None:
        try:
            has_changed = False
            names = iter(queues)
            while chunk := list(itertools.islice(names, MAX_LOOKED_AT)):
                has_changed |= self._look(chunk, queues)
        except StoreUnavailable:
            self._silent()
            return
        least, most = POLLED
        if has_changed:
            self._pause = least
        elif queues:
            self._pause = min(most, self._pause * SLOWER)
        self._is_silent = False

    def _look(self, qids: list[str], queues: dict[str, _Queue]) -> bool:
        """Look at some queues; tell whether one has changed."""
        clock = self.store.clock
        seen = self.store.availability(qids, now=clock.now())
        now, moment = clock.now(), self._monotonic()
        has_changed = False
        for qid, availability in zip(qids, seen, strict=True):
            queue = queues[qid]
            has_changed |= availability != queue.seen
            if queue.seen and queue.seen.end and not availability.end:
                self._gone(queue.scope)
            if self._queues.get(qid) is not queue:
                # It has been removed meanwhile.
                continue
            queue.seen = availability
            queue.due = math.inf
            if availability.due is not None:
                left = (availability.due - now) / 1000
                queue.due = moment + max(left, _LEAST_DUE)
            self._waiters.look(queue.scope, availability)
        return has_changed

    def _silent(self) -> None:
        """Handle that the store does not answer."""
        if not self._is_silent:
            LOG.warning(
                'A message store does not answer; requests that wait for its '
                'messages are served when it does.'
            )
        self._is_silent = True
        now = self._monotonic()
        with self._changed:
            self._next = now + UNAVAILABLE
            for queue in self._queues.values():
                queue.due = math.inf

    def _keep_watch(self, now: float) -> None:
        """Have changes reported, if the store can and does not yet."""
        if self._watch is not None or now < self._watch_at:
            return
        self._watch_at = now + UNWATCHED
        try:
            watch = self.store.watch(self.changed)
        except StoreUnavailable as error:
            LOG.warning(
                'Changes of a message store cannot be listened for, it is '
                'polled: %s',
                error,
            )
            return
        if watch is None:
            self._watch_at = math.inf
            return
        with self._changed:
            self._watch = watch
            qids = list(self._queues)
        for qid in qids:
            watch.add(qid)
